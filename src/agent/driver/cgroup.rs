//! Control groups of process tasks: cpu, memory and number of processes, by plain file writes.
//!
//! Way in: [`Cgroups::detect`], then [`Cgroups::make`] per task. Version 1 keeps a tree per
//! controller, version 2 one for all. Where nothing is writable tasks run without limits
//! and one warning says so. Knows no processes but by number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::agent::known_process;
use crate::domain::TaskId;

/// Our directory in each tree.
const OURS: &str = "platformd";
/// Sub-group that we move into ourselves: version 2 wants inner groups empty of processes.
const OWN_LEAF: &str = "agent";
/// Tries until the kernel lets go of a group whose last member was just killed: half a second.
const REMOVE_TRIES_MAX: usize = 100;
/// Between two tries.
const REMOVE_PAUSE: Duration = Duration::from_millis(5);
/// Rounds of killing the members of a version 1 group, as members may fork meanwhile.
const KILL_ROUNDS_MAX: usize = 16;

/// Where this machine lets us make groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// One directory per controller.
    V1 { cpu: Option<PathBuf>, memory: Option<PathBuf>, pids: Option<PathBuf> },
    /// One directory below which the controllers are switched on.
    V2 { base: PathBuf },
    /// Nothing writable.
    None,
}

/// The groups of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCgroups {
    /// Directories, one per tree.
    dirs: Vec<PathBuf>,
}

impl Cgroups {
    /// Looks at the mounted trees. Logs one warning when some limit cannot be kept.
    pub fn detect() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let found = Self::among(&mounts, &own);
        let missing = match &found.kind {
            Kind::V2 { .. } => Vec::new(),
            Kind::None => vec!["cpu", "memory", "pids"],
            Kind::V1 { cpu, memory, pids } => [("cpu", cpu), ("memory", memory), ("pids", pids)]
                .into_iter()
                .filter_map(|(name, dir)| dir.is_none().then_some(name))
                .collect(),
        };
        if !missing.is_empty() {
            tracing::warn!(
                limits = missing.join(","),
                "plain processes run without these limits: no writable cgroup; run the agent as root or with Delegate=yes"
            );
        }
        found
    }

    /// Limits nothing.
    pub fn none() -> Self {
        Self { kind: Kind::None }
    }

    /// Whether memory limits are kept here.
    pub fn limits_memory(&self) -> bool {
        match &self.kind {
            Kind::V1 { memory, .. } => memory.is_some(),
            Kind::V2 { .. } => true,
            Kind::None => false,
        }
    }

    fn among(mounts: &str, own: &str) -> Self {
        let v1 = |controller| writable_v1(mounts, controller);
        let (cpu, memory, pids) = (v1("cpu"), v1("memory"), v1("pids"));
        if cpu.is_some() || memory.is_some() || pids.is_some() {
            return Self { kind: Kind::V1 { cpu, memory, pids } };
        }
        match v2_mount(mounts).and_then(|mount| delegated_v2(&mount, own)) {
            Some(base) => Self { kind: Kind::V2 { base } },
            None => Self::none(),
        }
    }

    /// Makes the groups of a task and writes its limits; a repeat finds them.
    ///
    /// # Errors
    /// What the kernel answers to the first write that it refuses.
    pub fn make(&self, task: &TaskId, limits: &Limits) -> io::Result<TaskCgroups> {
        let mut made = TaskCgroups::default();
        match &self.kind {
            Kind::None => {}
            Kind::V1 { cpu, memory, pids } => {
                if let Some(root) = cpu {
                    made.add(root, task, &[("cpu.shares", Some(limits.cpu_shares))])?;
                }
                if let Some(root) = memory {
                    made.add(root, task, &[("memory.limit_in_bytes", limits.memory_bytes)])?;
                }
                if let Some(root) = pids {
                    made.add(root, task, &[("pids.max", Some(limits.pids))])?;
                }
            }
            Kind::V2 { base } => {
                let files = [
                    ("cpu.weight", Some(weight_of(limits.cpu_shares))),
                    ("memory.max", limits.memory_bytes),
                    ("pids.max", Some(limits.pids)),
                ];
                made.add(base, task, &files)?;
            }
        }
        Ok(made)
    }
}

impl TaskCgroups {
    fn add(&mut self, root: &Path, task: &TaskId, files: &[(&str, Option<u64>)]) -> io::Result<()> {
        let dir = root.join(task.as_str());
        make_dir(&dir)?;
        for (name, value) in files {
            if let Some(value) = value {
                fs::write(dir.join(name), value.to_string())?;
            }
        }
        self.dirs.push(dir);
        Ok(())
    }

    /// The files into which a process writes `0` to enter.
    pub(crate) fn entrances(&self) -> io::Result<Vec<fs::File>> {
        let open = |dir: &PathBuf| fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"));
        self.dirs.iter().map(open).collect()
    }

    /// Puts a process in, by number.
    pub(crate) fn admit(&self, pid: u32) {
        for dir in &self.dirs {
            if let Err(error) = fs::write(dir.join("cgroup.procs"), pid.to_string()) {
                tracing::debug!(%error, dir = %dir.display(), pid, "process not put into its cgroup");
            }
        }
    }

    /// Kills every member.
    pub(crate) fn kill_all(&self) {
        for dir in &self.dirs {
            if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            for _ in 0..KILL_ROUNDS_MAX {
                let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
                if members.trim().is_empty() {
                    break;
                }
                members.lines().filter_map(|pid| pid.trim().parse().ok()).for_each(known_process::kill);
            }
        }
    }

    /// How often the kernel killed a member for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let files =
            self.dirs.iter().flat_map(|dir| [dir.join("memory.oom_control"), dir.join("memory.events")]);
        files.filter_map(|file| oom_kills_in(&fs::read_to_string(file).ok()?)).sum()
    }

    /// Removes the emptied groups; waits a moment for the kernel to notice that they are.
    pub(crate) fn remove(&self) {
        for dir in &self.dirs {
            for _ in 0..REMOVE_TRIES_MAX {
                match fs::remove_dir(dir) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => thread::sleep(REMOVE_PAUSE),
                    _ => break,
                }
            }
        }
    }
}

/// `oom_kill 3`, a line in both versions' files.
fn oom_kills_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Shares 2..=262144 to weight 1..=10000. Source: the OCI runtime's conversion.
fn weight_of(shares: u64) -> u64 {
    (1 + (shares.saturating_sub(2).saturating_mul(9999)) / 262_142).clamp(1, 10_000)
}

/// The mount of a version 1 controller, when we can make groups in it.
fn writable_v1(mounts: &str, controller: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, point, "cgroup", options, ..] = fields.as_slice() else { return None };
        options.split(',').any(|option| option == controller).then(|| PathBuf::from(point))
    })?;
    let dir = mount.join(OURS);
    make_dir(&dir).ok()?;
    fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs")).ok().map(|_| dir)
}

fn v2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, point, "cgroup2", ..] = fields.as_slice() else { return None };
        Some(PathBuf::from(point))
    })
}

/// A directory below our own group whose children have the three controllers.
///
/// Our own process moves into a leaf first, since a group with processes may not hand
/// controllers down; after a restart we may find ourselves in that leaf already.
fn delegated_v2(mount: &Path, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = path.trim_end_matches('/');
    let group = match path.strip_suffix(OWN_LEAF) {
        Some(above) if above.is_empty() || above.ends_with('/') => mount.join(above),
        _ => mount.join(path),
    };
    if !path.is_empty() {
        let leaf = group.join(OWN_LEAF);
        make_dir(&leaf).ok()?;
        fs::write(leaf.join("cgroup.procs"), std::process::id().to_string()).ok()?;
    }
    let base = group.join(OURS);
    make_dir(&base).ok()?;
    for dir in [&group, &base] {
        fs::write(dir.join("cgroup.subtree_control"), "+cpu +memory +pids").ok()?;
    }
    Some(base)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Resources, Scalar};

    fn limits() -> Limits {
        let half = Scalar::from_thousandths(500);
        Limits::of(&Resources { cpus: half, mem: Scalar::from_thousandths(64_000), ..Resources::default() })
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn version_1_gets_a_directory_per_controller() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mut mounts = String::new();
        for controller in ["cpu", "memory"] {
            fs::create_dir_all(at(controller).join(OURS)).unwrap();
            fs::write(at(controller).join(OURS).join("cgroup.procs"), "").unwrap();
            mounts += &format!("cgroup {} cgroup rw,relatime,{controller} 0 0\n", at(controller).display());
        }
        let cgroups = Cgroups::among(&mounts, "");
        assert!(cgroups.limits_memory());
        let task = TaskId::new("web.instance-1._app.1");
        let made = cgroups.make(&task, &limits()).unwrap();
        assert_eq!(made.dirs.len(), 2, "no pids tree is mounted");
        assert_eq!(read(at("cpu").join(OURS).join(task.as_str()).join("cpu.shares")), "512");
        let memory = at("memory").join(OURS).join(task.as_str());
        assert_eq!(read(memory.join("memory.limit_in_bytes")), (64u64 << 20).to_string());
        assert_eq!(cgroups.make(&task, &limits()).unwrap(), made, "a repeat finds them");
    }

    #[test]
    fn version_2_hands_controllers_down_to_a_group_of_ours() {
        let root = tempfile::tempdir().unwrap();
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
        let unit = root.path().join("system.slice/platformd.service");
        fs::create_dir_all(&unit).unwrap();
        let cgroups = Cgroups::among(&mounts, "0::/system.slice/platformd.service\n");
        let made = cgroups.make(&TaskId::new("t"), &limits()).unwrap();
        assert_eq!(made.dirs, [unit.join("platformd/t")]);
        assert_eq!(read(unit.join("platformd/t/memory.max")), (64u64 << 20).to_string());
        assert_eq!(read(unit.join("agent/cgroup.procs")), std::process::id().to_string());
        let again = Cgroups::among(&mounts, "0::/system.slice/platformd.service/agent\n");
        assert_eq!(again, cgroups, "a restarted agent in its leaf finds the same place");
    }

    #[test]
    fn nothing_mounted_limits_nothing() {
        assert_eq!(Cgroups::among("proc /proc proc rw 0 0\n", "0::/\n"), Cgroups::none());
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!([2, 1024, 262_144].map(weight_of), [1, 39, 10_000]);
    }

    #[test]
    fn kills_for_memory_are_read_from_both_versions() {
        assert_eq!(oom_kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(oom_kills_in("low 0\noom 5\noom_kill 3\noom_group_kill 0\n"), Some(3));
    }
}
