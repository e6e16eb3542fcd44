//! A recorded plan being carried out.

use serde::{Deserialize, Serialize};

use super::{AppId, InstanceId};

/// Steps in order. Source: spec 5.3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// One after another.
    pub steps: Vec<Step>,
}

/// Actions side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Each concerns one app.
    pub actions: Vec<Action>,
}

/// What happens to one app in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Which app.
    pub app: AppId,
    /// What happens.
    pub kind: ActionKind,
    /// Instances that must be among the victims of a scale down.
    #[serde(default)]
    pub sentenced: Vec<InstanceId>,
}

/// Marathon's four kinds of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    /// `StartApplication`: does nothing by itself, kept for clients.
    Start,
    /// `StopApplication`: all instances go.
    Stop,
    /// `ScaleApplication`: to the spec's number of instances.
    Scale,
    /// `RestartApplication`: all instances are replaced within the upgrade bounds.
    Restart,
}

impl ActionKind {
    /// Marathon's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "StartApplication",
            Self::Stop => "StopApplication",
            Self::Scale => "ScaleApplication",
            Self::Restart => "RestartApplication",
        }
    }
}

impl Plan {
    /// Every app that an action names, once, sorted.
    pub fn affected_apps(&self) -> Vec<AppId> {
        let mut apps: Vec<AppId> =
            self.steps.iter().flat_map(|step| &step.actions).map(|action| action.app.clone()).collect();
        apps.sort();
        apps.dedup();
        apps
    }
}
