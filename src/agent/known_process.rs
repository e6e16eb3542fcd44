//! A process that is not mistaken for another one with the same number.
//!
//! Way in: [`KnownProcess`]. Numbers are reused; number, kernel start time and boot
//! together are not. Knows nothing of tasks.

use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Names one process of one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownProcess {
    /// Its number.
    pub(crate) pid: i32,
    /// When the kernel started it, in clock ticks since boot.
    pub(crate) started: u64,
    /// Which boot of the machine.
    pub(crate) boot: String,
}

/// The fields of `/proc/<pid>/stat` that we use.
struct Stat {
    parent: i32,
    session: i32,
    started: u64,
}

impl KnownProcess {
    /// Looks at the process that has this number now.
    pub(crate) fn look(pid: i32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.started, boot: boot_id() })
    }

    /// Whether it still exists, be it as a zombie.
    pub(crate) fn is_there(&self) -> bool {
        stat(self.pid).is_some_and(|now| now.started == self.started) && self.boot == boot_id()
    }

    /// Its number as the kernel interface wants it.
    pub(crate) fn raw(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// Waits until it has ended; at once when it is not there.
    #[expect(unsafe_code, reason = "tokio cannot know that a descriptor stays what it is")]
    pub(crate) async fn end(&self) -> io::Result<()> {
        let Some(pid) = self.raw() else { return Ok(()) };
        let descriptor = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Looked at after opening: from here on the number cannot come to mean another process.
        if !self.is_there() {
            return Ok(());
        }
        // SAFETY: an owned descriptor stays open and the same until the watch drops it.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        watched.map_err(|error| error.into_parts().1)?.readable().await.map(drop)
    }

    /// Kills every process of the session that this process leads or led, itself included.
    ///
    /// A session's number is not given away while a member lives, so members found
    /// under it are ours unless a stranger has the number of the leader by now.
    pub(crate) fn kill_session(&self) {
        if self.boot != boot_id() || stat(self.pid).is_some_and(|now| now.started != self.started) {
            return;
        }
        let members = all_pids().filter(|pid| {
            stat(*pid).is_some_and(|now| now.session == self.pid && now.started >= self.started)
        });
        for pid in members {
            kill(pid);
        }
    }
}

/// Kills one process; one that is gone by now is no error.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _gone = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Numbers of the processes whose parent is `parent`.
pub(crate) fn children_of(parent: i32) -> Vec<i32> {
    all_pids().filter(|pid| stat(*pid).is_some_and(|now| now.parent == parent)).collect()
}

/// The kernel's id of this boot; empty where it does not tell.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything, so fields are counted from the last `)`.
/// Source: proc_pid_stat(5).
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_fields() {
        let text = "7 (a) b) S 1 7 6 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.parent, stat.session, stat.started), (1, 6, 4242));
    }

    #[test]
    fn a_reused_number_is_another_process() {
        let me = KnownProcess::look(std::process::id().cast_signed()).unwrap();
        assert!(me.is_there());
        assert!(!KnownProcess { started: me.started + 1, ..me.clone() }.is_there());
        assert!(!KnownProcess { boot: "another".to_owned(), ..me }.is_there());
    }
}
