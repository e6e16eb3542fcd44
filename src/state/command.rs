//! What may be recorded: one command per fact, imperative. Who proposes it, what it assumes.
//!
//! Lasting bytes: a changed meaning is a new variant; a variant only gains fields, with defaults.

use serde::{Deserialize, Serialize};

use crate::domain::{
    AgentId, AgentInfo, AppId, AppVersion, ClusterId, DeploymentId, Goal, Hindrances, InstanceId, Plan,
    PortRanges, Reserved, Resources, SpecVersion, TaskId, TaskStatus, Timestamp,
};

/// One entry of the log: commands that are recorded together, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The leader's clock at the proposal; `apply` never lets time run backwards.
    pub at: Timestamp,
    /// In order; a refused one does not stop the others.
    pub commands: Vec<Command>,
}

/// One fact to be recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Gives the cluster its identity. Proposed by `leader::scope` when there is none;
    /// a second one changes nothing.
    FoundCluster {
        /// Minted by the proposer.
        cluster: ClusterId,
        /// Life of the cluster.
        epoch: u64,
    },
    /// Admits an agent, or records that it came back or changed.
    /// Proposed by `dispatcher::registration`; nothing changes when all is known already.
    /// Refused while another boot or machine with the same id is live, and to whoever cannot
    /// show the proof that came with the id.
    RegisterAgent {
        /// What it says of itself.
        info: Box<AgentInfo>,
        /// Ports of its ranges that strangers hold.
        held_ports: PortRanges,
        /// Digest of what only this agent knows, where it knows something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
    },
    /// Records which ports strangers hold. Proposed by `dispatcher::sessions`.
    SetHeldPorts {
        /// Whose ports.
        agent: AgentId,
        /// The whole list.
        ports: PortRanges,
    },
    /// Records what keeps an agent from starting tasks. Proposed by `dispatcher::sessions`.
    SetHindrances {
        /// Whose.
        agent: AgentId,
        /// All of it.
        hindrances: Hindrances,
    },
    /// Records that an agent has been away too long. Proposed by `leader::agent_liveness`.
    /// Refused when the agent has registered again since `seen`.
    MarkAgentUnreachable {
        /// Which.
        agent: AgentId,
        /// Run counter of the incarnation that was judged.
        run: u64,
        /// Away since.
        since: Timestamp,
    },
    /// Starts carrying out a plan and makes its content current.
    /// Proposed by `control`. Refused when a version moved, a service port was taken, or
    /// an app is under another deployment and `force` is off.
    StartDeployment(Box<StartDeployment>),
    /// Records that the current step is done; after the last one the deployment ends.
    /// Proposed by `leader::deployments`. Refused when another step is current.
    FinishStep {
        /// Which deployment.
        deployment: DeploymentId,
        /// Steps done before this one.
        step: u32,
    },
    /// Ends a deployment where it is. Proposed by `control`.
    CancelDeployment {
        /// Which.
        deployment: DeploymentId,
    },
    /// Creates instances that wait to be launched. Proposed by `leader`.
    /// Refused when `version` is not the app's current one.
    CreateInstances {
        /// Whose.
        app: AppId,
        /// Content they run.
        version: SpecVersion,
        /// Minted by the proposer.
        ids: Vec<InstanceId>,
    },
    /// Says what is wanted of instances. Proposed by `leader`. Unknown ones are passed over.
    SetGoal {
        /// Which.
        instances: Vec<InstanceId>,
        /// What is wanted. Never goes back from decommissioned.
        goal: Goal,
        /// For people.
        reason: String,
    },
    /// Asks single attempts to stop; their instances are launched again. Proposed by `control`.
    StopTasks {
        /// Which.
        tasks: Vec<TaskId>,
        /// For people.
        reason: String,
    },
    /// Launches waiting instances. Proposed by `leader::scheduling`. Each placement is
    /// refused by itself when its instance no longer waits or its agent no longer has room.
    LaunchTasks {
        /// Decisions of one cycle.
        placements: Vec<Placement>,
        /// State index the cycle looked at.
        seen_at: u64,
    },
    /// Records what an agent said about tasks. Proposed by `dispatcher::status_updates`.
    /// Assumes nothing: repeats and late words change nothing.
    RecordStatuses {
        /// Who says it; words about tasks of others are refused.
        agent: AgentId,
        /// Oldest first.
        statuses: Vec<(TaskId, TaskStatus)>,
    },
    /// Gives unreachable instances up: a replacement counts from now on.
    /// Proposed by `leader::instances`. Passed over when they are reachable again.
    MarkInactive {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// Hides unreachable instances from people and wants them stopped should they return.
    /// Proposed by `leader::instances`. Passed over when they are reachable again.
    Expunge {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// Shows hidden instances again, whose agent came back and that are needed.
    /// Proposed by `leader::instances`. Passed over when they are unreachable again.
    Readmit {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// Asks for instances to be replaced by others elsewhere; each runs until its replacement
    /// serves. Proposed by `control`. Passed over when nothing of it runs within reach, it is to
    /// go anyway, or it moves already.
    MoveInstances {
        /// Which, and for people why.
        instances: Vec<(InstanceId, String)>,
    },
    /// Takes such a wish back. Proposed by `control`. Unknown ones are passed over.
    KeepInstances {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// Forgets the pause before the next launch. Proposed by `control`.
    ResetDelay {
        /// Whose.
        app: AppId,
    },
    /// Drops old answers and versions that nothing refers to. Proposed by `leader::reaper`.
    Reap {
        /// Answers older than this go.
        requests_before: Timestamp,
    },
}

/// Content of [`Command::StartDeployment`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartDeployment {
    /// Minted by the proposer.
    pub id: DeploymentId,
    /// Version that changed apps get; later than every earlier one.
    pub version: SpecVersion,
    /// What happens.
    pub plan: Plan,
    /// New content, one entry per app.
    pub changes: Vec<AppChange>,
    /// Service ports that were chosen, not asked for; refused when another app has one now.
    #[serde(default)]
    pub assigned_ports: Vec<u16>,
    /// Cancels deployments that touch the same apps, instead of being refused.
    pub force: bool,
    /// Remembers the answer under this key.
    #[serde(default)]
    pub request: Option<RequestKey>,
}

/// New definition of one app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppChange {
    /// Which.
    pub app: AppId,
    /// Version the planner saw; nothing when the app did not exist.
    #[serde(default)]
    pub expected: Option<SpecVersion>,
    /// New content; nothing when the app goes.
    #[serde(default)]
    pub content: Option<Box<AppVersion>>,
}

/// A client's name for its request, so that a repeat does nothing twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// Value of the `Idempotency-Key` header.
    pub key: String,
    /// Digest of method, path and body.
    pub digest: String,
}

/// Demand + offer = placement: one attempt to be launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Which instance.
    pub instance: InstanceId,
    /// Number of the attempt.
    pub attempt: u32,
    /// Where.
    pub agent: AgentId,
    /// Host ports, in the order of the spec's port demands.
    pub ports: Vec<u16>,
    /// What it takes, ports included.
    pub resources: Resources,
    /// What of that is given out of reservations.
    #[serde(default, skip_serializing_if = "Reserved::is_empty")]
    pub drawn: Reserved,
}

impl Command {
    /// Name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FoundCluster { .. } => "found_cluster",
            Self::RegisterAgent { .. } => "register_agent",
            Self::SetHeldPorts { .. } => "set_held_ports",
            Self::SetHindrances { .. } => "set_hindrances",
            Self::MarkAgentUnreachable { .. } => "mark_agent_unreachable",
            Self::StartDeployment(_) => "start_deployment",
            Self::FinishStep { .. } => "finish_step",
            Self::CancelDeployment { .. } => "cancel_deployment",
            Self::CreateInstances { .. } => "create_instances",
            Self::SetGoal { .. } => "set_goal",
            Self::StopTasks { .. } => "stop_tasks",
            Self::LaunchTasks { .. } => "launch_tasks",
            Self::RecordStatuses { .. } => "record_statuses",
            Self::MarkInactive { .. } => "mark_inactive",
            Self::Expunge { .. } => "expunge",
            Self::Readmit { .. } => "readmit",
            Self::MoveInstances { .. } => "move_instances",
            Self::KeepInstances { .. } => "keep_instances",
            Self::ResetDelay { .. } => "reset_delay",
            Self::Reap { .. } => "reap",
        }
    }
}
