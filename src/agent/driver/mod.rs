//! Runs one task by some means: a Docker engine, or plain processes.
//!
//! Way in: [`TaskDriver`]. A driver knows launches and handles; no task states,
//! no masters, no checkpoints. Names of outside things derive from the task id, so
//! a repeated start finds what the first one made. All drivers pass one suite
//! (`tests/it/drivers/suite.rs`).

pub mod any;
#[cfg(not(feature = "sim"))]
pub mod cgroup;
#[cfg(not(feature = "sim"))]
pub mod docker;
#[cfg(any(test, feature = "testkit", feature = "sim"))]
pub mod fake;
#[cfg(not(feature = "sim"))]
mod kill_times;
pub mod limits;
#[cfg(not(feature = "sim"))]
pub mod ports;
#[cfg(not(feature = "sim"))]
pub mod process;
#[cfg(not(feature = "sim"))]
mod sock_diag;
#[cfg(not(feature = "sim"))]
pub(crate) mod task_dir;

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::domain::{Exit, TaskId, TaskLaunch, Timestamp};

/// Means to run tasks.
pub trait TaskDriver: Send + Sync + 'static {
    /// Name for logs and metrics: `docker`, `process`.
    fn name(&self) -> &'static str;

    /// Whether the engine of containers answers; an error says why none can be started now. Means
    /// without an engine are always there.
    fn is_there(&self) -> BoxFuture<'_, Result<(), DriverError>> {
        std::future::ready(Ok(())).boxed()
    }

    /// Starts the task, or finds it when an earlier call already did. Ends early once
    /// `given_up`, where nothing is half made then: with [`DriverError::Unavailable`], since an
    /// earlier call may have made the task.
    fn start<'a>(
        &'a self,
        launch: &'a TaskLaunch,
        given_up: CancellationToken,
    ) -> BoxFuture<'a, Result<Started, DriverError>>;

    /// Waits until the task has ended and says how; may be called again after a restart of the agent.
    fn wait<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<Ended, DriverError>>;

    /// Asks the task to end, and after `grace` makes it. Returns once that is under way or
    /// done; [`TaskDriver::wait`] tells the end. Stopping what has ended is no error.
    fn stop<'a>(&'a self, handle: &'a TaskHandle, grace: Duration) -> BoxFuture<'a, Result<(), DriverError>>;

    /// Runs a shell command beside the task and gives its exit code; for COMMAND checks.
    fn run_check<'a>(
        &'a self,
        handle: &'a TaskHandle,
        command: &'a str,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<i32, DriverError>>;

    /// Removes what the task left behind, once its end is acknowledged.
    fn remove<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<(), DriverError>>;

    /// Every task of this agent that the means know of, running or ended, whatever the agent remembers.
    fn list(&self) -> BoxFuture<'_, Result<Vec<TaskHandle>, DriverError>>;
}

/// How to find a started task again. Kept on the agent's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskHandle {
    /// Which task.
    pub task: TaskId,
    /// Container id; absent for processes. Empty for a container of which only the task's
    /// name is known; [`any::AnyDriver`] hands that on as absent.
    #[serde(default)]
    pub container: Option<String>,
    /// Process id of the task itself, where known.
    #[serde(default)]
    pub pid: Option<i32>,
    /// Kernel start time of that process, so that a reused number is not mistaken for it.
    #[serde(default)]
    pub pid_started: Option<u64>,
}

/// What a start gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// How to find it again.
    pub handle: TaskHandle,
    /// Addresses of its own, without the host's.
    pub ip_addresses: Vec<String>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Code, signal, memory.
    pub exit: Exit,
    /// When, where the means know.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The launch itself cannot work, on this agent or anywhere: a missing image or command,
    /// an option that the agent does not allow. Says which and what to do.
    #[error("{0}")]
    Refused(String),
    /// The means are away; what runs may still run. Try again later.
    #[error("{means} does not answer: {reason}")]
    Unavailable {
        /// Which means.
        means: &'static str,
        /// What they said.
        reason: String,
        /// This very call certainly made nothing, such as when nobody was there to hear it. Earlier
        /// calls may have. When in doubt it is false.
        made_nothing: bool,
    },
    /// The task is not there and nothing tells how it ended.
    #[error("task is not there")]
    Missing,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
