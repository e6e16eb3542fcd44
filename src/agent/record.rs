//! What the agent remembers of one task; kept on disk by `checkpoint`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::driver::TaskHandle;
use crate::domain::{Process, Resources, TaskId, TaskLaunch, TaskState, TaskStatus, Timestamp, UpdateId};
use crate::protocol::{StatusUpdate, TaskReport};

/// From TERM to KILL for a task whose launch is not known any more. Marathon's default.
const UNKNOWN_KILL_GRACE: Duration = Duration::from_secs(3);

/// One task, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// What was asked for.
    pub launch: TaskLaunch,
    /// Boot of the machine in which it was accepted.
    pub boot_id: String,
    /// How to find it; absent until its start succeeded.
    #[serde(default)]
    pub handle: Option<TaskHandle>,
    /// Latest status, told or not.
    pub status: TaskStatus,
    /// When it came to run.
    #[serde(default)]
    pub running_since: Option<Timestamp>,
    /// Number of the latest update.
    #[serde(default)]
    pub seq: u64,
    /// Updates that no leader has acknowledged, oldest first; at most one per state.
    #[serde(default)]
    pub unacknowledged: VecDeque<StatusUpdate>,
    /// Set once it was told to stop.
    #[serde(default)]
    pub stop: Option<StopAsked>,
}

/// Why a task was told to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopAsked {
    /// A leader, or the agent's own end, wants it.
    Wanted {
        /// For people.
        reason: String,
    },
    /// A health check failed too often.
    Unhealthy {
        /// The last failure.
        cause: String,
    },
}

impl StopAsked {
    /// For people: why the task ended.
    pub fn message(&self) -> String {
        match self {
            Self::Wanted { reason } => reason.clone(),
            // Source: spec, lastTaskFailure.
            Self::Unhealthy { cause } => {
                format!("Task was killed since health check failed. Reason: {cause}")
            }
        }
    }
}

impl TaskRecord {
    /// A task that was just accepted.
    pub fn accepted(launch: TaskLaunch, boot_id: &str, now: Timestamp) -> Self {
        Self {
            launch,
            boot_id: boot_id.to_owned(),
            handle: None,
            status: TaskStatus::new(TaskState::Staging, now, ""),
            running_since: None,
            seq: 0,
            unacknowledged: VecDeque::new(),
            stop: None,
        }
    }

    /// A task of which only the name is known.
    pub fn nameless(task: &TaskId, boot_id: &str, now: Timestamp) -> Self {
        let launch = TaskLaunch {
            task: task.clone(),
            app: String::new(),
            process: Process::Image,
            container: None,
            env: BTreeMap::new(),
            user: None,
            resources: Resources::default(),
            ports: Vec::new(),
            health_checks: Vec::new(),
            kill_grace: UNKNOWN_KILL_GRACE,
        };
        Self::accepted(launch, boot_id, now)
    }

    /// Which task.
    pub fn task(&self) -> &TaskId {
        &self.launch.task
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.status.state.is_terminal()
    }

    /// The handle, or one that holds the name alone: outside names derive from it.
    pub fn handle_or_name(&self) -> TaskHandle {
        self.handle.clone().unwrap_or_else(|| TaskHandle {
            task: self.task().clone(),
            container: self.launch.container.as_ref().map(|_| String::new()),
            pid: None,
            pid_started: None,
        })
    }

    /// Makes `status` the latest one and the next thing to tell. An untold update of
    /// the same state is replaced, which bounds the queue while masters are away.
    pub fn tell(&mut self, status: TaskStatus) -> StatusUpdate {
        if self.unacknowledged.back().is_some_and(|last| last.status.state == status.state) {
            self.unacknowledged.pop_back();
        }
        self.seq += 1;
        self.status = status.clone();
        let update = StatusUpdate { id: UpdateId { task: self.task().clone(), seq: self.seq }, status };
        self.unacknowledged.push_back(update.clone());
        update
    }

    /// Takes an acknowledgement. An update and all before it are known to the leader.
    pub fn acknowledge(&mut self, seq: u64) {
        self.unacknowledged.retain(|update| update.id.seq > seq);
    }

    /// For an introduction.
    pub fn report(&self) -> TaskReport {
        TaskReport { task: self.task().clone(), status: self.status.clone() }
    }
}
