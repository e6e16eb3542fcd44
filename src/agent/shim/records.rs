//! The files that agent and shim leave each other in a task's directory.
//!
//! | file | by | says |
//! |---|---|---|
//! | `launch` | agent | what to run |
//! | `lock` | shim | held while a shim has the task |
//! | `run` | shim | it runs, and as which processes |
//! | `exit` | shim | it ended, or never began, and how |
//! | `.room` | shim | nothing; it becomes `exit` when the disk is full |
//! | `stdout`, `stderr` | shim | what the task wrote; the part before in `.1` |
//! | `sandbox/` | task | its working directory |
//!
//! The task's user may write into the sandbox only, so none of these can be forged by it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::agent::driver::Ended;
use crate::agent::driver::cgroup::TaskCgroups;
use crate::agent::known_process::KnownProcess;
use crate::domain::TaskId;
use crate::world;

/// File name of [`Launch`].
pub(crate) const LAUNCH: &str = "launch";
/// File that a shim holds locked.
pub(crate) const LOCK: &str = "lock";
/// File name of [`Run`].
pub(crate) const RUN: &str = "run";
/// File name of [`Exit`].
pub(crate) const EXIT: &str = "exit";

/// What the shim is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Which task.
    pub(crate) task: TaskId,
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Complete environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Who runs it; absent: whoever runs the agent.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Groups that keep its limits.
    #[serde(default)]
    pub(crate) cgroups: TaskCgroups,
    /// Size at which an output file is put aside.
    pub(crate) output_bytes_max: u64,
}

/// Who runs a started task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The shim.
    pub(crate) shim: KnownProcess,
    /// The task's first process, leader of its session.
    pub(crate) task: KnownProcess,
}

/// The end of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Whether it ever ran.
    pub(crate) started: bool,
    /// How it ended.
    pub(crate) ended: Ended,
}

/// Reads a record; nothing when it is not there or not whole.
pub(crate) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&std::fs::read(dir.join(name)).ok()?).ok()
}

/// Room for the record of a task's end, taken before the task can fill the disk.
const ROOM: &str = ".room";
/// What such a record takes at most: a line of the task's output and some numbers.
const ROOM_BYTES: usize = 4 << 10;

/// Takes room in `dir` for [`write_end`]. Without any the task runs all the same.
pub(crate) fn take_room(dir: &Path) {
    let _none = std::fs::write(dir.join(ROOM), [b' '; ROOM_BYTES]);
}

/// Writes how a task ended, on a full disk into the room that was taken for it.
pub(crate) fn write_end(dir: &Path, end: &Exit) -> io::Result<()> {
    let bytes = serde_json::to_vec(end)?;
    let room = dir.join(ROOM);
    match world::fs::write_atomic(&dir.join(EXIT), &bytes) {
        Ok(()) => {
            let _may_not_be_there = std::fs::remove_file(room);
            Ok(())
        }
        Err(_) if bytes.len() <= ROOM_BYTES && room.exists() => {
            // In place: room that was given back first could go to whoever fills the disk.
            let mut file = std::fs::File::options().write(true).open(&room)?;
            file.write_all(&bytes)?;
            file.set_len(bytes.len() as u64)?;
            file.sync_all()?;
            std::fs::rename(&room, dir.join(EXIT))?;
            world::fs::sync_dir(dir)
        }
        failed => failed,
    }
}

/// Writes a record so that a crash leaves all of it or nothing.
pub(crate) fn write<T: Serialize>(dir: &Path, name: &str, record: &T) -> io::Result<()> {
    world::fs::write_atomic(&dir.join(name), &serde_json::to_vec(record)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;

    #[test]
    fn an_end_finds_room_where_nothing_new_can_be_written() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        take_room(dir.path());
        let room = std::fs::metadata(dir.path().join(ROOM)).unwrap();
        // Stands in for a full disk: the usual way fails.
        std::fs::create_dir(dir.path().join(".exit.tmp")).unwrap();
        let ended = Ended { exit: domain::Exit::default(), at: None, message: "told to".to_owned() };
        let end = Exit { started: true, ended };
        write_end(dir.path(), &end).unwrap();
        assert_eq!(read::<Exit>(dir.path(), EXIT), Some(end.clone()));
        assert_eq!(std::fs::metadata(dir.path().join(EXIT)).unwrap().ino(), room.ino());
        std::fs::remove_dir(dir.path().join(".exit.tmp")).unwrap();
        take_room(dir.path());
        write_end(dir.path(), &end).unwrap();
        assert!(!dir.path().join(ROOM).exists());
    }
}
