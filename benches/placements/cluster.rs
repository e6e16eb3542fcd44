//! Clusters to place in.

use platformd::domain::{
    AgentId, AppId, DeploymentId, Goal, InstanceId, Scalar, TaskState, TaskStatus, Timestamp,
};
use platformd::scheduler::CycleReport;
use platformd::state::{ClusterState, Command, LogEntry, apply};
use platformd::testkit::{AppBuilder, an_agent};

/// Racks that agents are in.
const RACKS: usize = 40;

/// A state, and hands to change it.
#[derive(Clone)]
pub struct Cluster {
    pub state: ClusterState,
    minted: u128,
    dice: u64,
}

impl Cluster {
    /// Agents of 32 or 64 cpus, 30 to 70 % taken, in 40 racks and 4 zones, of 120 kinds.
    pub fn of(agents: usize) -> Self {
        let mut cluster = Self { state: ClusterState::default(), minted: 0, dice: 7 };
        let one = |at: usize| {
            let cpus = if at.is_multiple_of(2) { 32.0 } else { 64.0 };
            let agent = an_agent(&format!(
                "{:032x}",
                (at as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            ));
            let agent = agent.cpus(cpus).mem(cpus * 4_096.0).attribute("zone", &format!("z{}", at % 4));
            agent
                .attribute("rack", &format!("r{}", at % RACKS))
                .attribute("kind", &format!("k{}", at / RACKS % 120))
                .register()
        };
        let commands: Vec<Command> = (0..agents).map(one).collect();
        cluster.record(commands);
        let ids: Vec<AgentId> = cluster.state.agents.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            let (cpus, mem) = (30 + cluster.roll(40), 30 + cluster.roll(40));
            let row = cluster.state.agents.get_mut(&id).unwrap();
            let part =
                |total: Scalar, percent: u64| Scalar::from_thousandths(total.thousandths() * percent / 100);
            row.used.cpus = part(row.info.totals.cpus, cpus);
            row.used.mem = part(row.info.totals.mem, mem);
        }
        cluster
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % below
    }

    pub fn record(&mut self, commands: Vec<Command>) {
        let index = self.state.index + 1;
        let at = Timestamp::from_millis(i64::try_from(index).unwrap());
        let applied = apply(&mut self.state, index, &LogEntry { at, commands });
        assert_eq!(applied.refusals, []);
    }

    pub fn put(&mut self, app: &AppBuilder) {
        self.minted += 1;
        let deployment = DeploymentId::new(format!("d{}", self.minted));
        let put = app.put(&self.state, deployment.clone());
        self.record(vec![put]);
        self.record(vec![Command::CancelDeployment { deployment }]);
    }

    pub fn create(&mut self, app: &AppId, count: usize) {
        let version = self.state.apps.get(app).unwrap().version;
        let mut mint = || {
            self.minted += 1;
            let scattered = self.minted.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            InstanceId::mint(app, uuid::Uuid::from_u128(scattered))
        };
        let ids = (0..count).map(|_| mint()).collect();
        self.record(vec![Command::CreateInstances { app: app.clone(), version, ids }]);
    }

    pub fn launch(&mut self, report: CycleReport) {
        let seen_at = self.state.index;
        self.record(vec![Command::LaunchTasks { placements: report.placements, seen_at }]);
    }

    /// A task ends for good, and its agent has more room than before.
    pub fn end_one(&mut self, app: &AppId) {
        let row = self.state.instances_of(app).find(|row| row.is_live()).unwrap().clone();
        let task = row.task.unwrap();
        let goal = Goal::Decommissioned;
        let status = TaskStatus::new(TaskState::Finished, self.state.now, "");
        self.record(vec![
            Command::SetGoal { instances: vec![row.id], goal, reason: String::new() },
            Command::RecordStatuses { agent: task.agent, statuses: vec![(task.id, status)] },
        ]);
    }
}
