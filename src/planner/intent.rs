//! What the planner wants next, and the command that records it.

use crate::domain::{AppId, DeploymentId, Goal, InstanceId, SpecVersion};
use crate::state::Command;

/// One wish of the planner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// More instances of an app's current content.
    Create {
        /// Whose.
        app: AppId,
        /// Content they run; the wish is void when the app moves on.
        version: SpecVersion,
        /// Fresh ids.
        ids: Vec<InstanceId>,
    },
    /// Instances that shall go for good.
    Decommission {
        /// Which.
        ids: Vec<InstanceId>,
        /// For people.
        reason: &'static str,
    },
    /// The current step of a deployment is done.
    FinishStep {
        /// Whose.
        deployment: DeploymentId,
        /// Steps done before this one.
        step: u32,
    },
    /// Unreachable instances that count no longer; replacements may start.
    GiveUp(Vec<InstanceId>),
    /// Unreachable instances that people shall see no longer.
    Expunge(Vec<InstanceId>),
    /// Hidden instances that came back and are needed.
    Readmit(Vec<InstanceId>),
}

impl From<Intent> for Command {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Create { app, version, ids } => Self::CreateInstances { app, version, ids },
            Intent::Decommission { ids, reason } => {
                Self::SetGoal { instances: ids, goal: Goal::Decommissioned, reason: reason.to_owned() }
            }
            Intent::FinishStep { deployment, step } => Self::FinishStep { deployment, step },
            Intent::GiveUp(instances) => Self::MarkInactive { instances },
            Intent::Expunge(instances) => Self::Expunge { instances },
            Intent::Readmit(instances) => Self::Readmit { instances },
        }
    }
}
