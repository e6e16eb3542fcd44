//! The replicated truth: tables, and ways to read them.
//!
//! Written by `apply` only. A clone is a snapshot and costs next to nothing.

use serde::{Deserialize, Serialize};

use super::rows::{AgentRow, AppRow, DeploymentRow, InstanceRow, RequestRow, TaskRow};
use super::table::Table;
use crate::domain::{
    AgentId, AppId, AppVersion, ClusterId, DeploymentId, InstanceId, SpecVersion, TaskId, Timestamp,
};

/// Everything that the masters agree on, at one index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterState {
    /// Position of the latest applied log entry.
    pub index: u64,
    /// Time of the latest applied entry; never runs backwards.
    pub now: Timestamp,
    /// Identity; absent until the first leader founds the cluster.
    pub cluster: Option<ClusterId>,
    /// Life of the cluster.
    pub epoch: u64,
    /// Latest version ever given; versions only grow.
    pub last_version: SpecVersion,
    /// Agents by id.
    pub agents: Table<AgentId, AgentRow>,
    /// Apps by path.
    pub apps: Table<AppId, AppRow>,
    /// Contents of apps, current and past.
    pub versions: Table<(AppId, SpecVersion), AppVersion>,
    /// Instances by id, hidden ones included.
    pub instances: Table<InstanceId, InstanceRow>,
    /// Deployments under way.
    pub deployments: Table<DeploymentId, DeploymentRow>,
    /// Answers given to requests with an idempotency key.
    pub requests: Table<String, RequestRow>,
    /// Index: instances of an app. Derived from `instances`.
    pub(super) by_app: Table<(AppId, InstanceId), ()>,
    /// Index: instances whose latest attempt is on an agent and has not ended. Derived.
    pub(super) by_agent: Table<(AgentId, InstanceId), ()>,
}

impl ClusterState {
    /// Current content of an app.
    pub fn current(&self, app: &AppId) -> Option<&AppVersion> {
        let row = self.apps.get(app)?;
        self.versions.get(&(app.clone(), row.version)).map(|version| &**version)
    }

    /// Content that an instance runs.
    pub fn content_of(&self, instance: &InstanceRow) -> Option<&AppVersion> {
        self.versions.get(&(instance.app.clone(), instance.version)).map(|version| &**version)
    }

    /// Every instance of an app, hidden ones included, in id order.
    pub fn instances_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = &'a InstanceRow> {
        let keys = self.by_app.range_from(&(app.clone(), InstanceId::new(""))).map(|(key, _)| key);
        let own = keys.take_while(move |(owner, _)| owner == app);
        own.filter_map(|(_, id)| self.instances.get(id).map(|row| &**row))
    }

    /// Every instance whose latest attempt is on `agent` and has not ended, in id order.
    pub fn live_on<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a InstanceRow> {
        let keys = self.by_agent.range_from(&(agent.clone(), InstanceId::new(""))).map(|(key, _)| key);
        let own = keys.take_while(move |(owner, _)| owner == agent);
        own.filter_map(|(_, id)| self.instances.get(id).map(|row| &**row))
    }

    /// The latest attempt of an instance, if it has this task id.
    pub fn task(&self, id: &TaskId) -> Option<(&InstanceRow, &TaskRow)> {
        let (instance, _) = id.parts()?;
        let row = self.instances.get(&instance)?;
        let task = row.task.as_ref().filter(|task| task.id == *id)?;
        Some((row, task))
    }

    /// Deployments that touch an app.
    pub fn deployments_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = &'a DeploymentRow> {
        self.deployments.values().map(|row| &**row).filter(move |row| row.touches(app))
    }

    /// Whether an instance runs content from before the app's latest configuration change.
    pub fn is_outdated(&self, instance: &InstanceRow) -> bool {
        self.current(&instance.app).is_none_or(|current| instance.version < current.last_config_change)
    }

    /// Every content of an app that is kept, oldest first.
    pub fn versions_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = (SpecVersion, &'a AppVersion)> {
        let rows = self.versions.range_from(&(app.clone(), SpecVersion::default()));
        let own = rows.take_while(move |((owner, _), _)| owner == app);
        own.map(|((_, version), content)| (*version, &**content))
    }
}

impl DeploymentRow {
    /// Whether an action names the app.
    pub fn touches(&self, app: &AppId) -> bool {
        self.plan.steps.iter().flat_map(|step| &step.actions).any(|action| action.app == *app)
    }
}
