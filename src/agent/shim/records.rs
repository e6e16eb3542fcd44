//! The files that agent and shim leave each other in a task's directory.
//!
//! | file | by | says |
//! |---|---|---|
//! | `launch` | agent | what to run |
//! | `lock` | shim | held while a shim has the task |
//! | `run` | shim | it runs, and as which processes |
//! | `exit` | shim | it ended, or never began, and how |
//! | `stdout`, `stderr` | shim | what the task wrote; the part before in `.1` |
//! | `sandbox/` | task | its working directory |
//!
//! The task's user may write into the sandbox only, so none of these can be forged by it.

use std::collections::BTreeMap;
use std::io;
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

/// Writes a record so that a crash leaves all of it or nothing.
pub(crate) fn write<T: Serialize>(dir: &Path, name: &str, record: &T) -> io::Result<()> {
    world::fs::write_atomic(&dir.join(name), &serde_json::to_vec(record)?)
}
