//! Why a request of people's was not carried out.

use crate::domain::{AppId, DeploymentId, Violation};
use crate::state::Refusal;
use crate::store::{ProposeError, ReadError};

/// The no that people get; the API gives it a status code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Fields have the wrong type or break a bound.
    #[error("fields have the wrong type: {0:?}")]
    InvalidJson(Vec<Violation>),
    /// The definition breaks rules.
    #[error("definition breaks rules: {0:?}")]
    Violations(Vec<Violation>),
    /// The request itself makes no sense.
    #[error("{0}")]
    Bad(String),
    /// What it names does not exist; a whole sentence.
    #[error("{0}")]
    NotFound(String),
    /// The app is there already.
    #[error("app '{0}' exists")]
    AppExists(AppId),
    /// Apps are under deployment and `force` is off.
    #[error("locked by deployments {0:?}")]
    Locked(Vec<DeploymentId>),
    /// So many deployments run already.
    #[error("{0} deployments run already")]
    TooManyDeployments(usize),
    /// The idempotency key was used for another request.
    #[error("idempotency key was used for another request")]
    KeyReused,
    /// No service port is left to choose.
    #[error("all service ports from {from} to {to} are in use")]
    PortsExhausted {
        /// First.
        from: u16,
        /// Last.
        to: u16,
    },
    /// Another master leads, or none does. Nothing was recorded.
    #[error("this master does not lead")]
    NotLeader,
    /// Cannot be done now; a repeat may succeed. Nothing was recorded.
    #[error("{0}")]
    Unavailable(String),
    /// It may or may not have been recorded. Repeat with the same idempotency key.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
}

impl From<ProposeError> for ControlError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader | ProposeError::TermEnded => Self::NotLeader,
            ProposeError::Busy => Self::Unavailable(error.to_string()),
            ProposeError::OutcomeUnknown(why) => Self::OutcomeUnknown(why),
        }
    }
}

impl From<ReadError> for ControlError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotLeader => Self::NotLeader,
            ReadError::NoQuorum => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Locked(ids) => Self::Locked(ids),
            Refusal::KeyReused => Self::KeyReused,
            Refusal::UnknownDeployment(id) => Self::NotFound(format!("DeploymentPlan {id} does not exist")),
            Refusal::UnknownApp(app) => Self::NotFound(format!("App '{app}' does not exist")),
            Refusal::UnknownTask(task) => Self::NotFound(format!("Task '{task}' does not exist")),
            other => Self::Unavailable(format!("the state moved while the request was planned: {other}")),
        }
    }
}
