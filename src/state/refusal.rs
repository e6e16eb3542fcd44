//! Why the state said no. The same on every master; reaches people as 404 or 409.

use crate::domain::{AgentId, AppId, DeploymentId, InstanceId, SpecVersion, TaskId};

/// The state's no, with ids and numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The app's content is not the one that the proposer saw; look again.
    #[error("app '{app}' is at version {found:?}, not {expected:?}")]
    VersionMoved {
        /// Which app.
        app: AppId,
        /// What the proposer saw.
        expected: Option<SpecVersion>,
        /// What is recorded.
        found: Option<SpecVersion>,
    },
    /// Apps are under deployment and `force` is off.
    #[error("locked by deployments {0:?}")]
    Locked(Vec<DeploymentId>),
    /// Another app took a service port in the meantime; look again.
    #[error("service port {port} was taken by '{by}'")]
    ServicePortTaken {
        /// Which port.
        port: u16,
        /// Who has it.
        by: AppId,
    },
    /// The idempotency key was used for another request.
    #[error("idempotency key was used for another request")]
    KeyReused,
    /// No such deployment.
    #[error("deployment {0} does not exist")]
    UnknownDeployment(DeploymentId),
    /// Another step is current.
    #[error("deployment {0} is at another step")]
    StepMoved(DeploymentId),
    /// No such app.
    #[error("app '{0}' does not exist")]
    UnknownApp(AppId),
    /// No such agent.
    #[error("agent {0} does not exist")]
    UnknownAgent(AgentId),
    /// The agent has registered again in the meantime.
    #[error("agent {0} is back")]
    AgentIsBack(AgentId),
    /// A later run of the agent has registered.
    #[error("agent {0} was started again since: this run of it is over")]
    AgentRunIsOver(AgentId),
    /// Another machine knows the secret proof of this id.
    #[error("agent {0} is known by another proof")]
    AgentIsAnother(AgentId),
    /// The instance no longer waits, or waits for another attempt.
    #[error("instance {0} does not wait for this attempt")]
    NotWaiting(InstanceId),
    /// The agent no longer has what the placement takes; tried again next cycle.
    #[error("agent {agent} no longer has room for {instance}")]
    OfferStale {
        /// Where.
        agent: AgentId,
        /// What was to run there.
        instance: InstanceId,
    },
    /// Nothing is recorded of the task.
    #[error("task {0} is not known")]
    UnknownTask(TaskId),
    /// The task belongs to another agent.
    #[error("task {task} does not belong to agent {agent}")]
    NotYourTask {
        /// Which.
        task: TaskId,
        /// Who spoke.
        agent: AgentId,
    },
}
