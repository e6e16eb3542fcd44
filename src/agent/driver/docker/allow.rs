//! What a container may ask of the machine beyond its share: the agent decides, not the app.
//!
//! Way in: [`Allow::check`] for flags and [`Allow::host_path`] for volumes. Everything is
//! refused unless the agent was started with `--allow`.

use std::path::{Component, Path, PathBuf};

use crate::agent::driver::DriverError;
use crate::domain::LaunchContainer;

/// What `--allow` permits on this agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Privileged containers.
    pub privileged: bool,
    /// Raw `docker run` options.
    pub parameters: bool,
    /// Directories that may be mounted, they and what lies below.
    pub host_volumes: Vec<PathBuf>,
}

impl Allow {
    /// Refuses what needs a permission that this agent does not give.
    ///
    /// # Errors
    /// [`DriverError::Refused`] with the flag that would permit it.
    pub fn check(&self, container: &LaunchContainer) -> Result<(), DriverError> {
        if container.privileged && !self.privileged {
            return Err(refused("privileged containers", "privileged"));
        }
        if !container.parameters.is_empty() && !self.parameters {
            return Err(refused("docker parameters", "parameters"));
        }
        Ok(())
    }

    /// The directory of the host that a volume means: below the sandbox when relative,
    /// otherwise below an allowed one. Made when absent.
    ///
    /// # Errors
    /// [`DriverError::Refused`] when the path leads elsewhere.
    pub fn host_path(&self, wanted: &str, sandbox: &Path) -> Result<PathBuf, DriverError> {
        let wanted = Path::new(wanted);
        let is_plain =
            wanted.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
        if wanted.as_os_str().is_empty() || !is_plain {
            let text =
                format!("volume path '{}' must name a directory without '.' or '..'", wanted.display());
            return Err(DriverError::Refused(text));
        }
        if wanted.is_relative() {
            return made(&sandbox.join(wanted));
        }
        let root = self.host_volumes.iter().find(|root| wanted.starts_with(root));
        let Some(root) = root else {
            return Err(refused(
                &format!("mounts of {}", wanted.display()),
                &format!("host-volumes={}", wanted.display()),
            ));
        };
        // Judged before anything is made: a link on the way could lead out of the allowed directory.
        let existing = wanted.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(wanted);
        let real = existing.canonicalize().map_err(|error| unusable(wanted, &error))?;
        if real != existing || !existing.starts_with(root) {
            let text = format!(
                "volume path '{}' leads to '{}'; name that path itself, below {}",
                existing.display(),
                real.display(),
                root.display()
            );
            return Err(DriverError::Refused(text));
        }
        made(wanted)
    }
}

fn made(path: &Path) -> Result<PathBuf, DriverError> {
    if path.symlink_metadata().is_err() {
        std::fs::create_dir_all(path).map_err(|error| unusable(path, &error))?;
    }
    Ok(path.to_owned())
}

fn unusable(path: &Path, error: &std::io::Error) -> DriverError {
    DriverError::Refused(format!("volume path '{}' cannot be used: {error}", path.display()))
}

fn refused(what: &str, flag: &str) -> DriverError {
    DriverError::Refused(format!("this agent does not allow {what}; start it with --allow {flag}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::a_container;

    fn container() -> LaunchContainer {
        a_container("web:1")
    }

    #[track_caller]
    fn says<T: std::fmt::Debug>(result: Result<T, DriverError>, part: &str) {
        let Err(DriverError::Refused(text)) = result else { panic!("not refused: {result:?}") };
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn nothing_special_needs_no_permission() {
        Allow::default().check(&container()).unwrap();
    }

    #[test]
    fn refusals_name_the_flag() {
        let nothing = Allow::default();
        says(nothing.check(&LaunchContainer { privileged: true, ..container() }), "--allow privileged");
        let parameters = vec![("ipc".to_owned(), "host".to_owned())];
        says(nothing.check(&LaunchContainer { parameters, ..container() }), "--allow parameters");
        says(nothing.host_path("/srv/data", Path::new("/none")), "--allow host-volumes=/srv/data");
    }

    #[test]
    fn volumes_stay_below_what_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (root, outside) = (base.join("srv"), base.join("outside"));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        let allow = Allow { host_volumes: vec![root.clone()], ..Allow::default() };
        let ask = |path: PathBuf| allow.host_path(path.to_str().unwrap(), &base.join("sandbox"));

        assert_eq!(ask(root.join("new/deep")).unwrap(), root.join("new/deep"));
        assert!(root.join("new/deep").is_dir());
        says(ask(root.join("../outside")), "..");
        says(ask(root.join("link")), "leads to");
        says(ask(root.join("link/new")), "leads to");
        assert!(!outside.join("new").exists(), "nothing is made beyond a link");
        says(ask(base.join("srv-other")), "--allow");
        says(ask(PathBuf::from("/")), "--allow");
    }

    #[test]
    fn relative_volumes_lie_in_the_sandbox() {
        let dir = tempfile::tempdir().unwrap();
        let allow = Allow::default();
        assert_eq!(allow.host_path("cache/a", dir.path()).unwrap(), dir.path().join("cache/a"));
        says(allow.host_path("../other", dir.path()), "..");
        says(allow.host_path("", dir.path()), "must name");
    }
}
