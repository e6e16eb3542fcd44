//! One attempt to run an instance, and what is known of it.

use serde::{Deserialize, Serialize};

use super::{TaskId, Timestamp};

/// The agent's word on a task. Only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Placed; the agent has not spoken yet, or prepares it.
    Staging,
    /// The agent is starting it.
    Starting,
    /// It runs.
    Running,
    /// It was told to stop and has not ended.
    Killing,
    /// Ended by itself with exit code 0.
    Finished,
    /// Ended by itself in another way.
    Failed,
    /// Ended because we stopped it.
    Killed,
    /// Could not be started for a reason that a repeat will not mend.
    Error,
    /// The agent lost it: it ran once and is there no more.
    Lost,
    /// Its machine is gone for good.
    Gone,
    /// It never reached its agent.
    Dropped,
}

impl TaskState {
    /// Every state, in order.
    pub const ALL: [Self; 11] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Error,
        Self::Lost,
        Self::Gone,
        Self::Dropped,
    ];

    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        self > Self::Killing
    }

    /// Whether a task in `from` may come to be in this state: forward only, never out of an end.
    pub fn may_follow(self, from: Self) -> bool {
        !from.is_terminal() && self > from
    }

    /// Mesos' name. Source: spec 5.11.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Lost => "TASK_LOST",
            Self::Gone => "TASK_GONE",
            Self::Dropped => "TASK_DROPPED",
        }
    }

    /// Whether an end in this state delays the next launch. Source: spec 5.8.
    pub fn delays_launch(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Error | Self::Gone | Self::Lost | Self::Dropped)
    }
}

/// What an agent says about a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// State reached.
    pub state: TaskState,
    /// When, by the agent's clock.
    pub at: Timestamp,
    /// For people: what happened and why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How it ended, when it ended by itself or was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Results of its health checks, one per check that has produced one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthResult>,
    /// Addresses of the task, without the host's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<String>,
}

impl TaskStatus {
    /// A status that says only its state.
    pub fn new(state: TaskState, at: Timestamp, message: impl Into<String>) -> Self {
        Self { state, at, message: message.into(), exit: None, health: Vec::new(), ip_addresses: Vec::new() }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exit {
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal, when one ended it.
    pub signal: Option<i32>,
    /// Whether the kernel ended it for using more memory than it may.
    pub out_of_memory: bool,
}

/// Standing of one health check of a task. Source: spec 6.4.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthResult {
    /// Which check of the spec, counted from 0.
    pub check: u32,
    /// Last known answer.
    pub alive: bool,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// First success.
    pub first_success: Option<Timestamp>,
    /// Latest success.
    pub last_success: Option<Timestamp>,
    /// Latest failure.
    pub last_failure: Option<Timestamp>,
    /// What the latest failure was.
    pub last_failure_cause: Option<String>,
}

/// Names one status update of one task, so that it can be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UpdateId {
    /// Whose.
    pub task: TaskId,
    /// Counts up from 1 per task.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_only_move_forward_and_never_out_of_an_end() {
        for from in TaskState::ALL {
            assert!(!from.may_follow(from));
            for to in TaskState::ALL {
                if from.is_terminal() {
                    assert!(!to.may_follow(from), "{to:?} after {from:?}");
                }
                assert!(!(to.may_follow(from) && from.may_follow(to)));
            }
        }
        assert!(TaskState::Failed.may_follow(TaskState::Staging));
        assert!(!TaskState::Starting.may_follow(TaskState::Running));
    }
}
