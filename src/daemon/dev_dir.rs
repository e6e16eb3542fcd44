//! The directory of `platformd dev`: held by one process at a time, and on request emptied of what
//! dev made there, and of nothing else.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::timeout;

use super::dev_told::say;
use crate::agent::driver::{DriverError, TaskDriver, TaskHandle};
use crate::cli::{ExitError, disk_advice, exit_code};
use crate::settings::AGENTS_MAX;

/// Locked as long as a dev cluster uses the directory.
const LOCK: &str = "dev.lock";

/// Where masters and agents have their numbered directories, and files of which each one that has
/// begun there has at least one.
const MASTERS_AT: Part = Part { name: "masters", marks: ["identity.json", "lock"] };
const AGENTS_AT: Part = Part { name: "agents", marks: ["agent.state", "agent.lock"] };

/// From TERM to KILL for tasks that an earlier run left behind.
const GRACE: Duration = Duration::from_secs(3);

/// Longest wait for the end of one of them.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// How many masters and agents there are unless somebody says otherwise.
const MASTERS: u8 = 1;
const AGENTS: u16 = 1;

/// Directory of master `n`, counted from 1.
pub(super) fn of_master(dir: &Path, n: usize) -> PathBuf {
    dir.join(MASTERS_AT.name).join(n.to_string())
}

/// Directory of agent `n`, counted from 1.
pub(super) fn of_agent(dir: &Path, n: u16) -> PathBuf {
    dir.join(AGENTS_AT.name).join(n.to_string())
}

/// Proof that this process has the directory.
pub(super) struct DevDir {
    path: PathBuf,
    _lock: File,
}

/// Takes the directory, before anything in it is touched. One that is to be emptied (`fresh`) must be
/// empty already, or have been taken so before: it is easily mistyped.
pub(super) fn take(path: &Path, fresh: bool) -> Result<DevDir, ExitError> {
    let refused = |error: &io::Error| {
        let message = format!("cannot use {}: {error}; {}", path.display(), disk_advice(error));
        ExitError::new(exit_code::DATA, message)
    };
    std::fs::create_dir_all(path).map_err(|error| refused(&error))?;
    if fresh && !path.join(LOCK).exists() && holds_anything(path).map_err(|error| refused(&error))? {
        let message = format!(
            "--fresh would empty {}, which platformd dev has never used and which is not empty: nothing was \
             removed; give it another --data-dir, or leave --fresh away",
            path.display()
        );
        return Err(ExitError::new(exit_code::DATA, message));
    }
    let lock = File::options().create(true).append(true).open(path.join(LOCK));
    let lock = lock.map_err(|error| refused(&error))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DevDir { path: path.to_owned(), _lock: lock }),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let advice = "stop that one, or give this one another --data-dir";
            let message =
                format!("data directory in use: another platformd dev has {}; {advice}", path.display());
            Err(ExitError::new(exit_code::DATA, message))
        }
        Err(errno) => Err(refused(&errno.into())),
    }
}

impl DevDir {
    /// Directories of the agents that an earlier run had.
    pub(super) fn agents(&self) -> Vec<PathBuf> {
        self.numbered(&AGENTS_AT).into_iter().map(|(_, path)| path).collect()
    }

    /// Directories that dev made for masters or agents, with their numbers.
    fn numbered(&self, part: &Part) -> Vec<(u16, PathBuf)> {
        let entries = std::fs::read_dir(self.path.join(part.name)).into_iter().flatten().flatten();
        let numbered = entries.filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse::<u16>().ok()?;
            Some((number, entry.path()))
        });
        numbered.filter(|(_, path)| part.is_ours(path)).collect()
    }

    /// How many masters to run: as many as made the state, since a majority of them has to be
    /// there. Without state, or when it is to be forgotten (`fresh`), it is what was `said`.
    pub(super) fn masters(&self, said: Option<u8>, fresh: bool) -> Result<u8, ExitError> {
        let numbers = self.numbered(&MASTERS_AT).into_iter().filter_map(|(n, _)| u8::try_from(n).ok());
        let dir = self.path.display();
        match (numbers.max().filter(|_| !fresh), said) {
            (None, _) => Ok(said.unwrap_or(MASTERS)),
            (Some(made), Some(said)) if made != said => {
                let message = format!(
                    "--masters {said}: the state in {dir} belongs to a cluster with {}; leave --masters away to \
                     go on with it, or begin anew with --fresh",
                    of_them(made)
                );
                Err(ExitError::new(exit_code::USAGE, message))
            }
            (Some(made), None) if made != MASTERS => {
                say(&format!("Masters  {made}, as in the state in {dir}"));
                Ok(made)
            }
            (Some(made), _) => Ok(made),
        }
    }

    /// How many agents to run: as many as are in the state, since their tasks come back to them, unless
    /// another number was `said`. Without state, or when it is to be forgotten (`fresh`), that or one.
    pub(super) fn agents_wanted(&self, said: Option<u16>, fresh: bool) -> u16 {
        let numbers = self.numbered(&AGENTS_AT).into_iter().map(|(n, _)| n);
        let made = numbers.filter(|n| *n <= AGENTS_MAX).max().filter(|_| !fresh);
        let (Some(made), dir) = (made, self.path.display()) else { return said.unwrap_or(AGENTS) };
        match said {
            None if made != AGENTS => say(&format!("Agents   {made}, as in the state in {dir}")),
            Some(said) if said < made => say(&format!(
                "Agents   {said} of {made} in the state in {dir}: the others count as lost, and what ran there \
                 starts elsewhere where there is room"
            )),
            _ => {}
        }
        said.unwrap_or(made)
    }

    /// Makes the directories of masters, which from then on tell how many there are. The highest
    /// number comes first: whoever is killed in between has said how many.
    pub(super) fn make_masters(&self, count: u8) -> Result<(), ExitError> {
        for n in (1..=count).rev() {
            let dir = of_master(&self.path, usize::from(n));
            std::fs::create_dir_all(&dir).map_err(|error| {
                let message = format!("cannot make {}: {error}; {}", dir.display(), disk_advice(&error));
                ExitError::new(exit_code::DATA, message)
            })?;
        }
        Ok(())
    }

    /// Removes the state of masters and agents, and nothing that others may have put beside it. Tasks
    /// must have been stopped: nobody finds them afterwards.
    pub(super) fn forget(&self) -> Result<(), ExitError> {
        for (_, dir) in [MASTERS_AT, AGENTS_AT].iter().flat_map(|part| self.numbered(part)) {
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let message = format!("cannot remove {}: {error}; remove it by hand", dir.display());
                    return Err(ExitError::new(exit_code::DATA, message));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A directory of numbered directories.
struct Part {
    name: &'static str,
    marks: [&'static str; 2],
}

impl Part {
    /// Whether a master or an agent has begun there, or was about to.
    fn is_ours(&self, path: &Path) -> bool {
        path.is_dir()
            && (self.marks.iter().any(|mark| path.join(mark).exists())
                || matches!(holds_file(path), Ok(false)))
    }
}

fn holds_anything(dir: &Path) -> io::Result<bool> {
    Ok(std::fs::read_dir(dir)?.next().is_some())
}

/// Whether there is anything but directories below `dir`, which dev makes before their files.
fn holds_file(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || holds_file(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn of_them(masters: u8) -> String {
    if masters == 1 { "1 master".to_owned() } else { format!("{masters} masters") }
}

/// Stops and removes every task that the runtimes know of.
pub(super) async fn stop_all(driver: &Arc<dyn TaskDriver>) -> Result<(), ExitError> {
    let failed = |what: String, error: &DriverError| {
        ExitError::new(exit_code::FAILED, format!("cannot {what}: {error}; stop it by hand, then try again"))
    };
    let left =
        driver.list().await.map_err(|error| failed("list tasks of an earlier run".to_owned(), &error))?;
    let stopping = left.iter().map(|handle| async move {
        stop_one(driver, handle).await.map_err(|error| failed(format!("stop task {}", handle.task), &error))
    });
    futures_util::future::try_join_all(stopping).await.map(drop)
}

async fn stop_one(driver: &Arc<dyn TaskDriver>, handle: &TaskHandle) -> Result<(), DriverError> {
    driver.stop(handle, GRACE).await?;
    match timeout(END_TIMEOUT, driver.wait(handle)).await {
        Ok(Ok(_) | Err(DriverError::Missing)) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(DriverError::Failed("it has not ended in time".to_owned())),
    }
    driver.remove(handle).await
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    #[test]
    fn a_directory_that_dev_never_used_is_not_emptied() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("thesis.txt"), "precious").unwrap();
        let refused = take(dir.path(), true).err().unwrap();
        assert_eq!(refused.code, exit_code::DATA);
        assert!(refused.message.contains("--data-dir"), "{refused}");
        assert!(take(dir.path(), true).is_err(), "the refusal left nothing that would make it dev's");
        let started_beside = take(dir.path(), false).unwrap();
        drop(started_beside);
        assert!(take(dir.path(), true).is_ok(), "dev used it since");
        assert!(take(&dir.path().join("new"), true).is_ok(), "there is nothing to lose");
    }

    #[test]
    fn what_others_put_beside_the_state_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |path: &str| temporary.path().join(path);
        for (path, file) in [
            ("masters/1", "identity.json"),
            ("masters/2", "lock"),
            ("agents/1", "agent.state"),
            ("agents/x", "photo"),
            ("masters/4", "photo"),
        ] {
            create_dir_all(at(path)).unwrap();
            write(at(path).join(file), "").unwrap();
        }
        create_dir_all(at("masters/3/log")).unwrap(); // Killed before it had a name.
        write(at("masters/photo"), "").unwrap();
        let dir = take(temporary.path(), false).unwrap();
        assert_eq!(dir.masters(None, false).unwrap(), 3);
        assert_eq!(dir.masters(Some(1), true).unwrap(), 1);
        assert_eq!(dir.agents(), [at("agents/1")]);
        assert_eq!((dir.agents_wanted(None, false), dir.agents_wanted(Some(3), false)), (1, 3));
        dir.forget().unwrap();
        assert_eq!(dir.masters(None, false).unwrap(), 1, "nothing is left of the three");
        for gone in ["masters/1", "masters/2", "masters/3", "agents/1"] {
            assert!(!at(gone).exists(), "{gone}");
        }
        for kept in ["agents/x/photo", "masters/4/photo", "masters/photo"] {
            assert!(at(kept).exists(), "{kept}");
        }
    }
}
