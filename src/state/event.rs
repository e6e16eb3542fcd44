//! What did change, in the past tense. Wakes and informs; nothing depends on having seen one.

use crate::domain::{AgentId, AppId, DeploymentId, InstanceId, TaskId, TaskState};

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The cluster has its identity.
    ClusterFounded,
    /// An agent joined, came back or changed.
    AgentRegistered(AgentId),
    /// An agent has been away too long.
    AgentUnreachable(AgentId),
    /// Ports of an agent became held or free.
    HeldPortsChanged(AgentId),
    /// Something keeps an agent from starting tasks, or does no longer.
    HindrancesChanged(AgentId),
    /// A plan is being carried out.
    DeploymentStarted(DeploymentId),
    /// One step of it is done.
    StepFinished(DeploymentId),
    /// All steps are done.
    DeploymentFinished(DeploymentId),
    /// It was ended where it was.
    DeploymentCancelled(DeploymentId),
    /// An app has new content, or is gone.
    AppChanged(AppId),
    /// Instances wait to be launched.
    InstancesCreated(AppId),
    /// Something else is wanted of an instance.
    GoalChanged(InstanceId),
    /// An attempt was placed.
    TaskLaunched(TaskId),
    /// Somebody asked for an attempt to stop.
    TaskStopAsked(TaskId),
    /// An agent had news of a task.
    TaskStatusChanged {
        /// Which.
        task: TaskId,
        /// State before.
        from: TaskState,
        /// State now.
        to: TaskState,
    },
    /// An instance is gone for good.
    InstanceForgotten(InstanceId),
    /// An instance was given up or hidden.
    InstanceGivenUp(InstanceId),
    /// The pause before the next launch is over by request.
    DelayReset(AppId),
}
