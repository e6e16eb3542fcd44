//! Rows of the replicated state: what is recorded of agents, apps, instances and deployments.
//!
//! Field docs say which command writes the field. Lasting bytes: a field is only ever
//! added, with a default (docs/state-machine.md).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{
    AgentId, AgentInfo, AppId, DeploymentId, Goal, Hindrances, InstanceId, Plan, Pools, PortRanges, Reserved,
    Resources, SpecVersion, TaskId, TaskState, TaskStatus, Timestamp,
};

/// A machine that runs tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// As it last described itself (`RegisterAgent`). Shared by all rows of the agent until it describes
    /// itself anew, since rows are written with every task.
    pub info: Arc<AgentInfo>,
    /// When it first registered.
    pub registered_at: Timestamp,
    /// Whether it can be reached, as far as is recorded.
    pub presence: Presence,
    /// Digest of what only this agent knows, once it said it (`RegisterAgent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Ports of its ranges that strangers hold (`RegisterAgent`, `SetHeldPorts`).
    #[serde(default)]
    pub held_ports: PortRanges,
    /// What keeps it from starting tasks, as it says itself (`SetHindrances`).
    #[serde(default, skip_serializing_if = "Hindrances::is_empty")]
    pub hindrances: Hindrances,
    /// Sum over its tasks that have not ended (`LaunchTasks`, `RecordStatuses`).
    #[serde(default)]
    pub used: Resources,
    /// What of that was given out of reservations (`LaunchTasks`, `RecordStatuses`).
    #[serde(default, skip_serializing_if = "Reserved::is_empty")]
    pub drawn: Reserved,
}

impl AgentRow {
    /// Whether it may be given tasks, as far as is recorded: it is there, and can start some.
    pub fn takes_tasks(&self) -> bool {
        self.presence == Presence::Registered && self.hindrances.tasks.is_none()
    }

    /// Whether it can start containers.
    pub fn takes_containers(&self) -> bool {
        self.info.has_docker && self.hindrances.containers.is_none()
    }

    /// What is left to offer: totals without used and without ports that strangers hold.
    pub fn spare(&self) -> Resources {
        let mut ports = self.info.totals.ports.minus(&self.used.ports);
        if !self.held_ports.ranges().is_empty() {
            ports = ports.minus(&self.held_ports);
        }
        Resources { ports, ..self.spare_amounts() }
    }

    /// The same but for ports, of which there are none: they cost most of all that is left to work out.
    pub fn spare_amounts(&self) -> Resources {
        let (totals, used) = (&self.info.totals, &self.used);
        Resources {
            cpus: totals.cpus.minus(used.cpus),
            mem: totals.mem.minus(used.mem),
            disk: totals.disk.minus(used.disk),
            gpus: totals.gpus.minus(used.gpus),
            ports: PortRanges::default(),
        }
    }

    /// The same by role; nothing where the agent keeps nothing for roles: then all is unreserved.
    pub fn pools(&self) -> Option<Pools> {
        let info = &self.info;
        let pools = || Pools::of(&info.totals, &info.reserved, &self.used, &self.drawn, &self.held_ports);
        (!info.reserved.is_empty()).then(pools)
    }
}

/// Whether an agent can be reached; transitions only, heartbeats are not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// Registered and not known to be away.
    Registered,
    /// Away for too long (`MarkAgentUnreachable`).
    Unreachable {
        /// Since when.
        since: Timestamp,
    },
}

/// A named thing to keep running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRow {
    /// Its path.
    pub id: AppId,
    /// Current content; key into the versions table.
    pub version: SpecVersion,
    /// Pause before the next launch (`RecordStatuses`, `ResetDelay`).
    #[serde(default)]
    pub delay: Option<LaunchDelay>,
    /// Latest failure (`RecordStatuses`).
    #[serde(default)]
    pub last_failure: Option<TaskFailure>,
}

/// Backoff of one app. Source: spec 5.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchDelay {
    /// Current pause.
    pub pause: Duration,
    /// What the pause counts from.
    pub reference: Timestamp,
}

impl LaunchDelay {
    /// No launch before this moment.
    pub fn until(&self) -> Timestamp {
        self.reference.plus(self.pause)
    }
}

/// The latest failure of an app, for `lastTaskFailure`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFailure {
    /// Which attempt.
    pub task: TaskId,
    /// Where.
    pub agent: AgentId,
    /// Name of that machine.
    pub hostname: String,
    /// How it ended.
    pub state: TaskState,
    /// For people.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// Version it ran.
    pub version: SpecVersion,
}

/// One wanted copy of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// Its name.
    pub id: InstanceId,
    /// Whose copy.
    pub app: AppId,
    /// Content it runs; key into the versions table.
    pub version: SpecVersion,
    /// What is wanted (`SetGoal`).
    pub goal: Goal,
    /// When it was created (`CreateInstances`).
    pub created_at: Timestamp,
    /// Since when it waits for a launch; meaningful while it waits.
    pub waiting_since: Timestamp,
    /// Latest attempt, running or ended (`LaunchTasks`).
    #[serde(default)]
    pub task: Option<TaskRow>,
    /// Hidden from people: its agent is away and its replacement counts (`Expunge`).
    #[serde(default)]
    pub expunged: bool,
    /// Why another instance elsewhere shall take its place (`MoveInstances`); it runs until that
    /// one serves, and the wish ends with its attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shall_move: Option<String>,
}

/// The latest attempt of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Its name.
    pub id: TaskId,
    /// From 1.
    pub attempt: u32,
    /// Where.
    pub agent: AgentId,
    /// Name of that machine at launch.
    pub hostname: String,
    /// Host ports, in the order of the spec's port demands.
    pub ports: Vec<u16>,
    /// What it holds on its agent until it ends.
    pub resources: Resources,
    /// What of that was given out of reservations.
    #[serde(default, skip_serializing_if = "Reserved::is_empty")]
    pub drawn: Reserved,
    /// When it was placed.
    pub staged_at: Timestamp,
    /// When it first ran.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// The agent's latest word.
    pub status: TaskStatus,
    /// Set when somebody asked for this attempt to stop (`StopTasks`), with why.
    #[serde(default)]
    pub stop: Option<String>,
    /// Since when its agent is unreachable (`MarkAgentUnreachable`), while it is.
    #[serde(default)]
    pub unreachable_since: Option<Timestamp>,
    /// Unreachable for so long that a replacement counts (`MarkInactive`).
    #[serde(default)]
    pub inactive: bool,
}

impl InstanceRow {
    /// Whether it waits to be launched: wanted, and no attempt is alive.
    pub fn is_waiting(&self) -> bool {
        self.goal == Goal::Running
            && !self.expunged
            && self.task.as_ref().is_none_or(|task| task.status.state.is_terminal())
    }

    /// Whether an attempt holds resources: placed and not ended.
    pub fn is_live(&self) -> bool {
        self.task.as_ref().is_some_and(TaskRow::is_live)
    }

    /// Whether it holds its place only until another one elsewhere has taken over.
    pub fn is_moving(&self) -> bool {
        self.shall_move.is_some() && self.is_live()
    }

    /// Whether it counts as one of the app's copies: wanted and not given up as inactive.
    pub fn is_counted(&self) -> bool {
        let is_given_up = self.task.as_ref().is_some_and(|task| task.inactive && task.is_live());
        self.goal == Goal::Running && !self.expunged && !is_given_up
    }

    /// Whether the attempt runs, can be reached, was not asked to stop, and each of its
    /// `checks` health checks has passed.
    pub fn is_serving(&self, checks: usize) -> bool {
        self.task.as_ref().is_some_and(|task| {
            task.status.state == TaskState::Running
                && task.unreachable_since.is_none()
                && task.stop.is_none()
                && (checks == 0 || (task.status.health.len() >= checks && task.is_healthy() == Some(true)))
        })
    }
}

impl TaskRow {
    /// Not ended, as far as is recorded.
    pub fn is_live(&self) -> bool {
        !self.status.state.is_terminal()
    }

    /// Whether its checks pass; nothing before the first result. Source: spec 2.6.
    pub fn is_healthy(&self) -> Option<bool> {
        let results = &self.status.health;
        (!results.is_empty()).then(|| results.iter().all(|result| result.alive))
    }
}

/// A plan being carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRow {
    /// Its name.
    pub id: DeploymentId,
    /// When it was accepted; the version that its apps got.
    pub version: SpecVersion,
    /// What happens.
    pub plan: Plan,
    /// Steps done so far; the current step has this position.
    pub steps_done: u32,
    /// What it changed, for its rollback.
    pub changes: Vec<AppChangeRecord>,
}

/// What a deployment did to the definition of one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppChangeRecord {
    /// Which app.
    pub app: AppId,
    /// Content before; nothing when the app was new.
    #[serde(default)]
    pub before: Option<SpecVersion>,
    /// Content after; nothing when the app was removed.
    #[serde(default)]
    pub after: Option<SpecVersion>,
}

/// The answer once given to a request with an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Digest of method, path and body: the same key with another request is refused.
    pub digest: String,
    /// Deployment that the request started.
    pub deployment: DeploymentId,
    /// Version that its apps got.
    pub version: SpecVersion,
    /// Whether the request created its app.
    pub created: bool,
    /// State index of the answer.
    pub index: u64,
    /// When; rows are dropped after a day.
    pub at: Timestamp,
}
