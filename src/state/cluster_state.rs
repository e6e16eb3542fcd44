//! The replicated truth: tables, and ways to read them.
//!
//! Written by `apply` only. A clone is a snapshot and costs next to nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::by_agent::ByAgent;
use super::rows::{AgentRow, AppRow, DeploymentRow, InstanceRow, RequestRow, TaskRow};
use super::table::Table;
use crate::domain::{
    AgentId, AppId, AppVersion, ClusterId, DeploymentId, InstanceId, SpecVersion, TaskId, Timestamp,
};

/// Everything that the masters agree on, at one index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, remote = "Self")]
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
    /// Index: instances whose latest attempt is on an agent and has not ended. Derived from
    /// `instances`, and not written with them.
    #[serde(skip)]
    pub(super) by_agent: ByAgent,
    /// Index of the latest entry that changed who an agent is. Derived, and not written: a state that was
    /// read from bytes counts as changed there.
    #[serde(skip)]
    pub(super) introduced_at: Derived,
}

/// An index that differs between masters that agree, since one of them may have read its state from bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Derived(pub(super) u64);

impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Serialize for ClusterState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ClusterState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer).map(Self::with_shared_ids)
    }
}

impl ClusterState {
    /// A state that was just read from bytes, with each id once in memory. Bytes name an id
    /// wherever it stands; a million tasks would take half as much again.
    fn with_shared_ids(mut self) -> Self {
        let instances = std::mem::take(&mut self.instances);
        let mut live: Vec<(AgentId, InstanceId)> = Vec::new();
        for (id, mut row) in instances.into_rows() {
            row.id = id.clone();
            if let Some(app) = self.apps.get(&row.app) {
                row.app = app.id.clone();
            }
            if let Some(task) = &mut row.task {
                if let Some(agent) = self.agents.get(&task.agent) {
                    task.agent = agent.info.id.clone();
                }
                if task.is_live() {
                    live.push((task.agent.clone(), id.clone()));
                }
            }
            self.instances.insert(id, row);
        }
        self.by_agent = ByAgent::of(live);
        self.introduced_at = Derived(self.index);
        self
    }

    /// Whether every agent is, in all but what it was given, who it was at the earlier `index`: no
    /// registration was recorded in between. May say no for want of knowledge.
    pub fn knows_agents_as_of(&self, index: u64) -> bool {
        self.introduced_at.0 <= index
    }

    /// Current content of an app.
    pub fn current(&self, app: &AppId) -> Option<&AppVersion> {
        let row = self.apps.get(app)?;
        self.versions.get(&(app.clone(), row.version)).map(|version| &**version)
    }

    /// Content that an instance runs.
    pub fn content_of(&self, instance: &InstanceRow) -> Option<&AppVersion> {
        self.versions.get(&(instance.app.clone(), instance.version)).map(|version| &**version)
    }

    /// How many health checks the content of an instance has.
    pub fn checks_of(&self, instance: &InstanceRow) -> usize {
        self.content_of(instance).map_or(0, |content| content.spec.health_checks.len())
    }

    /// Every instance of an app, hidden ones included, in id order.
    pub fn instances_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = &'a InstanceRow> {
        // They lie side by side, in the order of their ids.
        let start = InstanceId::start_of(app);
        let near = self.instances.range_from(&start);
        let near = near.take_while(move |(id, _)| id.as_str().starts_with(start.as_str()));
        near.map(|(_, row)| &**row).filter(move |row| row.app == *app)
    }

    /// Every instance whose latest attempt is on `agent` and has not ended, in id order.
    pub fn live_on<'a>(&'a self, agent: &'a AgentId) -> impl Iterator<Item = &'a InstanceRow> {
        self.by_agent.of_agent(agent).iter().filter_map(|id| self.instances.get(id).map(|row| &**row))
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
