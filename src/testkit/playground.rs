//! A cluster without machines: state, time, and hands to play the agents.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{AppBuilder, an_agent, obedient_news};
use crate::domain::{
    AgentId, AppId, DeploymentId, HealthResult, InstanceId, Resources, TaskId, TaskState, TaskStatus,
    Timestamp,
};
use crate::planner::{advance, reconcile};
use crate::scheduler::{Book, CycleReport, SchedulingView, run_cycle};
use crate::state::invariants::broken_invariants;
use crate::state::{Applied, ClusterState, Command, InstanceRow, LogEntry, Placement, apply};

/// Rounds that [`Playground::settle`] plays at most; more means that it never comes to rest.
const ROUNDS_MAX: usize = 1_000;

/// State and time of a cluster that a test plays.
#[derive(Clone, Debug, Default)]
pub struct Playground {
    /// What is recorded.
    pub state: ClusterState,
    minted: u128,
    now: Timestamp,
    book: Book,
}

impl Playground {
    /// With agents `a1` to `a<count>`.
    pub fn with_agents(count: usize) -> Self {
        let mut ground = Self::default();
        (1..=count).for_each(|at| ground.register(&format!("a{at}")));
        ground
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time pass.
    pub fn pass(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    /// Records commands, a millisecond after the last ones.
    pub fn record(&mut self, commands: Vec<Command>) -> Applied {
        self.pass(Duration::from_millis(1));
        let index = self.state.index + 1;
        let applied = apply(&mut self.state, index, &LogEntry { at: self.now, commands });
        assert_eq!(broken_invariants(&self.state), Vec::<String>::new());
        applied
    }

    fn number(&mut self) -> u128 {
        self.minted += 1;
        self.minted
    }

    /// Makes an id.
    pub fn mint(&mut self, app: &AppId) -> InstanceId {
        InstanceId::mint(app, uuid::Uuid::from_u128(self.number()))
    }

    /// Registers an agent as [`an_agent`] makes it.
    pub fn register(&mut self, id: &str) {
        self.record(vec![an_agent(id).register()]);
    }

    /// Starts a deployment that makes this the app's content.
    pub fn deploy(&mut self, app: &AppBuilder) -> DeploymentId {
        self.deploy_together(std::slice::from_ref(app))
    }

    /// Starts one deployment of several apps.
    pub fn deploy_together(&mut self, apps: &[AppBuilder]) -> DeploymentId {
        let id = DeploymentId::new(format!("d{}", self.number()));
        let command = AppBuilder::put_together(&self.state, id.clone(), apps);
        assert_eq!(self.record(vec![command]).refusals, []);
        id
    }

    /// Records content without deploying it.
    pub fn put(&mut self, app: &AppBuilder) {
        let deployment = self.deploy(app);
        self.record(vec![Command::CancelDeployment { deployment }]);
    }

    /// Starts a deployment that removes the app.
    pub fn remove(&mut self, app: &AppBuilder) -> DeploymentId {
        let id = DeploymentId::new(format!("d{}", self.number()));
        let command = app.remove(&self.state, id.clone());
        assert_eq!(self.record(vec![command]).refusals, []);
        id
    }

    /// Creates waiting instances.
    pub fn create(&mut self, app: &str, count: usize) -> Vec<InstanceId> {
        let app = AppId::parse(app).unwrap();
        let ids: Vec<InstanceId> = (0..count).map(|_| self.mint(&app)).collect();
        let version = self.state.apps.get(&app).unwrap().version;
        self.record(vec![Command::CreateInstances { app, version, ids: ids.clone() }]);
        ids
    }

    /// One scheduling cycle, recorded. A book that saw all of the playground's life and one that
    /// saw nothing decide alike.
    pub fn place(&mut self) -> CycleReport {
        let view = SchedulingView::of(&self.state, BTreeSet::new());
        let report = run_cycle(&view, self.now);
        let mut uncounted = report.clone();
        uncounted.waiting.values_mut().for_each(|waiting| waiting.rejections.clear());
        assert_eq!(self.book.cycle(&self.state, &view.excluded, self.now), uncounted);
        if !report.placements.is_empty() {
            let placements = report.placements.clone();
            let applied = self.record(vec![Command::LaunchTasks { placements, seen_at: self.state.index }]);
            assert_eq!(applied.refusals, [], "placements on an unmoved state are all accepted");
        }
        report
    }

    /// Places waiting instances on one agent, whatever the scheduler would say.
    pub fn put_on(&mut self, agent: &str, ids: &[InstanceId]) {
        let placement = |id: &InstanceId| {
            let spec = &self.state.content_of(self.row(id)).unwrap().spec;
            let resources = Resources { cpus: spec.cpus, mem: spec.mem, ..Resources::default() };
            Placement {
                instance: id.clone(),
                attempt: 1,
                agent: AgentId::new(agent),
                ports: Vec::new(),
                resources,
                drawn: Default::default(),
            }
        };
        let placements = ids.iter().map(placement).collect();
        let applied = self.record(vec![Command::LaunchTasks { placements, seen_at: self.state.index }]);
        assert_eq!(applied.refusals, [], "there is room");
    }

    /// Creates one instance and places it together with all that wait.
    pub fn stage_one(&mut self, app: &str) -> InstanceId {
        let id = self.create(app, 1).remove(0);
        self.place();
        assert!(self.row(&id).is_live(), "{id} could not be placed");
        id
    }

    /// Creates, places and runs one instance.
    pub fn run_one(&mut self, app: &str) -> InstanceId {
        let id = self.stage_one(app);
        self.say(&id, TaskState::Running);
        id
    }

    /// The row of an instance.
    pub fn row(&self, id: &InstanceId) -> &InstanceRow {
        self.state.instances.get(id).unwrap()
    }

    fn task(&self, id: &InstanceId) -> (AgentId, TaskId, TaskStatus) {
        let task = self.row(id).task.as_ref().unwrap();
        (task.agent.clone(), task.id.clone(), task.status.clone())
    }

    /// The agent of an instance says that its task is in this state.
    pub fn say(&mut self, id: &InstanceId, state: TaskState) -> Applied {
        let (agent, task, _) = self.task(id);
        let status = TaskStatus::new(state, self.now, "");
        self.record(vec![Command::RecordStatuses { agent, statuses: vec![(task, status)] }])
    }

    /// The agent of an instance says how its first check went.
    pub fn say_health(&mut self, id: &InstanceId, alive: bool) {
        let (agent, task, mut status) = self.task(id);
        status.health = vec![HealthResult { alive, ..HealthResult::default() }];
        self.record(vec![Command::RecordStatuses { agent, statuses: vec![(task, status)] }]);
    }

    /// The agent of an instance says that its first check failed, and how.
    pub fn fail_check(&mut self, id: &InstanceId, cause: &str) {
        let (agent, task, mut status) = self.task(id);
        let cause = Some(cause.to_owned());
        let last_failure = Some(self.now);
        status.health =
            vec![HealthResult { last_failure, last_failure_cause: cause, ..HealthResult::default() }];
        self.record(vec![Command::RecordStatuses { agent, statuses: vec![(task, status)] }]);
    }

    /// An agent has been away too long.
    pub fn agent_lost(&mut self, id: &str) {
        let agent = AgentId::new(id);
        let run = self.state.agents.get(&agent).unwrap().info.incarnation.run;
        self.record(vec![Command::MarkAgentUnreachable { agent, run, since: self.now }]);
    }

    /// Instances of an app that count, in id order.
    pub fn counted(&self, app: &str) -> Vec<InstanceId> {
        let app = AppId::parse(app).unwrap();
        self.state.instances_of(&app).filter(|row| row.is_counted()).map(|row| row.id.clone()).collect()
    }

    /// What the planner wants now: of every deployment, and of apps outside them. Records
    /// it, and says how many wishes there were.
    pub fn plan(&mut self) -> usize {
        let mut minted = self.minted;
        let mut mint = |app: &AppId| {
            minted += 1;
            InstanceId::mint(app, uuid::Uuid::from_u128(minted))
        };
        let mut commands: Vec<Command> = Vec::new();
        for deployment in self.state.deployments.values() {
            commands.extend(advance(&self.state, deployment, &mut mint).into_iter().map(Command::from));
        }
        let reconciliation = reconcile(&self.state, self.now, &mut mint);
        commands.extend(reconciliation.intents.into_iter().map(Command::from));
        self.minted = minted;
        let wishes = commands.len();
        if wishes > 0 {
            self.record(commands);
        }
        wishes
    }

    /// Agents within reach obey. Says how much news there was.
    pub fn obey(&mut self) -> usize {
        let news = obedient_news(&self.state, self.now, |_| true);
        let count = news.len();
        if count > 0 {
            self.record(news);
        }
        count
    }

    /// Plays planner, scheduler and obedient agents until nothing happens any more.
    pub fn settle(&mut self) {
        self.settle_watching(|_| {});
    }

    /// As [`Playground::settle`], and shows the state after every round.
    pub fn settle_watching(&mut self, mut watch: impl FnMut(&ClusterState)) {
        let mut rounds = 0;
        loop {
            let happened = self.plan() + self.place().placements.len() + self.obey();
            watch(&self.state);
            if happened == 0 {
                return;
            }
            rounds += 1;
            assert!(rounds < ROUNDS_MAX, "did not come to rest in {ROUNDS_MAX} rounds");
        }
    }
}
