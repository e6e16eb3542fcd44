//! The whole leader over an in-memory store, with agents played by hand and time moved by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::dispatcher::Contact;
use crate::domain::{AgentId, AppId, DeploymentId, InstanceId, TaskState, TaskStatus, Timestamp};
use crate::scheduler::Suspicion;
use crate::state::invariants::broken_invariants;
use crate::state::{ClusterState, Command, Presence, TaskRow};
use crate::store::StateStore;
use crate::store::in_memory::InMemoryStore;
use crate::telemetry::Registry;
use crate::testkit::{AppBuilder, an_agent, an_app, obedient_news};
use crate::world::{Clock, ManualClock, spawn};

/// How an agent behaves.
#[derive(Clone, Copy)]
enum Line {
    Talking,
    Silent(Instant),
    Closed(Instant),
}

/// Agents that a test plays; one that it never mentioned has never called.
struct Played {
    lines: Mutex<BTreeMap<AgentId, Line>>,
    changes: watch::Sender<u64>,
}

impl Played {
    fn set(&self, agent: &str, line: Line) {
        self.lines.lock().unwrap().insert(AgentId::new(agent), line);
        self.changes.send_modify(|count| *count += 1);
    }

    fn talks(&self, agent: &AgentId) -> bool {
        matches!(self.lines.lock().unwrap().get(agent), Some(Line::Talking))
    }

    fn contact(&self, agent: &AgentId) -> Contact {
        match self.lines.lock().unwrap().get(agent) {
            None => Contact::Never,
            Some(Line::Talking) => Contact::Connected { last_heard: Instant::now() },
            Some(Line::Silent(since)) => Contact::Connected { last_heard: *since },
            Some(Line::Closed(since)) => Contact::Closed { since: *since, last_heard: *since },
        }
    }
}

impl Contacts for Played {
    fn visit(&self, visit: &mut dyn FnMut(&AgentId, Contact)) {
        let known: Vec<AgentId> = self.lines.lock().unwrap().keys().cloned().collect();
        known.iter().for_each(|agent| visit(agent, self.contact(agent)));
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

const STEP: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

struct Cluster {
    store: Arc<InMemoryStore>,
    clock: Arc<ManualClock>,
    played: Arc<Played>,
    stats: Arc<LeaderStats>,
    resilience: watch::Receiver<Option<Arc<crate::forecast::Resilience>>>,
    shutdown: CancellationToken,
    leader: Option<JoinHandle<()>>,
    deployments: u32,
}

impl Cluster {
    /// A leader with agents `a1` to `a<agents>` that talk and obey.
    async fn with_agents(agents: usize) -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let store = Arc::new(InMemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let played = Arc::new(Played { lines: Mutex::default(), changes: watch::channel(0).0 });
        let stats = Arc::new(LeaderStats::default());
        let shutdown = CancellationToken::new();
        let (board, resilience) = watch::channel(None);
        let scope = LeaderScope {
            store: Arc::clone(&store) as Arc<dyn StateStore>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            contacts: Arc::clone(&played) as Arc<dyn Contacts>,
            limits: LivenessLimits::default(),
            stats: Arc::clone(&stats),
            metrics: Registry::master().scheduling(),
            resilience: Arc::new(board),
            strategy: Default::default(),
        };
        let leader = Some(spawn(scope.run(shutdown.clone())));
        let mut cluster = Self { store, clock, played, stats, resilience, shutdown, leader, deployments: 0 };
        (1..=agents).for_each(|at| cluster.join(&format!("a{at}")));
        cluster.pass(SECOND).await;
        cluster
    }

    fn state(&self) -> Arc<ClusterState> {
        self.store.snapshot()
    }

    /// Waits for what is worked out on a thread of its own, to which time does not stand still.
    async fn shows<T: PartialEq + std::fmt::Debug>(&mut self, what: impl Fn(&Self) -> T, wanted: T) {
        for _ in 0..5_000 {
            if what(self) == wanted {
                return;
            }
            self.pass(Duration::from_millis(1)).await;
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(what(self), wanted);
    }

    fn join(&mut self, agent: &str) {
        self.store.record(vec![an_agent(agent).register()]);
        self.played.set(agent, Line::Talking);
    }

    fn silence(&self, agent: &str) {
        self.played.set(agent, Line::Silent(Instant::now()));
    }

    fn close(&self, agent: &str) {
        self.played.set(agent, Line::Closed(Instant::now()));
    }

    fn presence(&self, agent: &str) -> Presence {
        self.state().agents.get(&AgentId::new(agent)).unwrap().presence
    }

    fn is_present(&self, agent: &str) -> bool {
        self.presence(agent) == Presence::Registered
    }

    fn deploy(&mut self, app: &AppBuilder) {
        self.deployments += 1;
        let id = DeploymentId::new(format!("d{}", self.deployments));
        let applied = self.store.record(vec![app.put(&self.state(), id)]);
        assert_eq!(applied.refusals, []);
    }

    fn remove(&mut self, app: &AppBuilder) {
        self.deployments += 1;
        let id = DeploymentId::new(format!("d{}", self.deployments));
        self.store.record(vec![app.remove(&self.state(), id)]);
    }

    /// Lets both clocks run, step by step, while agents within reach obey.
    async fn pass(&mut self, time: Duration) {
        self.pass_with(time, true).await;
    }

    async fn pass_with(&mut self, time: Duration, obey: bool) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            left -= step;
            self.clock.advance(step);
            advance(step).await;
            // The leader's tasks take their turns before the agents speak.
            for _ in 0..30 {
                tokio::task::yield_now().await;
            }
            let now = Timestamp::from_millis(self.clock.now_millis());
            let news = obedient_news(&self.state(), now, |agent| self.played.talks(agent));
            if obey && !news.is_empty() {
                self.store.record(news);
            }
            assert_eq!(broken_invariants(&self.state()), Vec::<String>::new());
        }
    }

    fn tasks(&self, app: &str) -> Vec<(InstanceId, TaskRow)> {
        let app = AppId::parse(app).unwrap();
        let state = self.state();
        let rows = state.instances_of(&app).filter(|row| row.is_counted() && row.is_serving(0));
        rows.map(|row| (row.id.clone(), row.task.clone().unwrap())).collect()
    }

    fn running(&self, app: &str) -> usize {
        self.tasks(app).len()
    }

    fn say(&self, task: &TaskRow, state: TaskState) {
        let now = Timestamp::from_millis(self.clock.now_millis());
        let statuses = vec![(task.id.clone(), TaskStatus::new(state, now, ""))];
        self.store.record(vec![Command::RecordStatuses { agent: task.agent.clone(), statuses }]);
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        self.leader.take().unwrap().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_cluster_is_founded_once() {
    let mut cluster = Cluster::with_agents(0).await;
    let founded = cluster.state().cluster.clone();
    assert!(founded.is_some());
    cluster.store.set_leads(2, false);
    cluster.pass(SECOND).await;
    cluster.store.set_leads(3, true);
    cluster.pass(SECOND).await;
    assert_eq!(cluster.state().cluster, founded);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_app_scales_up_down_and_away() {
    let mut cluster = Cluster::with_agents(2).await;
    for instances in [1, 5, 2] {
        cluster.deploy(&an_app("/web").instances(instances));
        cluster.pass(SECOND).await;
        assert_eq!(cluster.running("/web"), usize::try_from(instances).unwrap());
        assert!(cluster.state().deployments.is_empty());
    }
    cluster.remove(&an_app("/web"));
    cluster.pass(SECOND).await;
    assert!(cluster.state().instances.is_empty() && cluster.state().deployments.is_empty());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn changed_content_replaces_every_instance() {
    let mut cluster = Cluster::with_agents(2).await;
    let app = an_app("/web").instances(4).upgrade(0.5, 0.0).check();
    cluster.deploy(&app);
    cluster.pass(SECOND).await;
    let before = cluster.tasks("/web");
    cluster.deploy(&app.cmd("new"));
    cluster.pass(2 * SECOND).await;
    let after = cluster.tasks("/web");
    assert_eq!(after.len(), 4);
    assert!(before.iter().all(|(id, _)| after.iter().all(|(other, _)| other != id)));
    assert!(cluster.state().deployments.is_empty());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_is_launched_again_after_its_pause_as_the_next_attempt() {
    let mut cluster = Cluster::with_agents(1).await;
    cluster.deploy(&an_app("/web").backoff(10 * SECOND));
    cluster.pass(SECOND).await;
    let (id, task) = cluster.tasks("/web").remove(0);
    cluster.say(&task, TaskState::Failed);
    cluster.pass(9 * SECOND).await;
    assert_eq!(cluster.running("/web"), 0);
    cluster.pass(2 * SECOND).await;
    let (again, task) = cluster.tasks("/web").remove(0);
    assert_eq!((again, task.attempt), (id, 2));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_gets_nothing_after_three_seconds_and_is_lost_after_ten() {
    let mut cluster = Cluster::with_agents(2).await;
    cluster.silence("a1");
    cluster.pass(4 * SECOND).await;
    assert!(cluster.is_present("a1"));
    cluster.deploy(&an_app("/web").instances(4));
    cluster.pass(SECOND).await;
    assert!(cluster.tasks("/web").iter().all(|(_, task)| task.agent == AgentId::new("a2")));
    assert_eq!(cluster.running("/web"), 4);
    cluster.pass(4 * SECOND).await;
    assert!(cluster.is_present("a1"));
    cluster.pass(2 * SECOND).await;
    assert!(!cluster.is_present("a1"));
    cluster.stop().await;
}

/// What whoever asks is told of an agent now.
fn suspicion(cluster: &Cluster, agent: &str) -> Option<Suspicion> {
    let contacts = Arc::clone(&cluster.played) as Arc<dyn Contacts>;
    let roll_call = RollCall::new(contacts, LivenessLimits::default());
    roll_call.suspects(&cluster.state()).get(&AgentId::new(agent)).copied()
}

#[tokio::test(start_paused = true)]
async fn who_asks_hears_of_the_same_suspects_as_the_cycle_avoids() {
    let mut cluster = Cluster::with_agents(1).await;
    cluster.silence("a1");
    cluster.pass(2 * SECOND).await;
    assert_eq!(suspicion(&cluster, "a1"), None);
    cluster.pass(2 * SECOND).await;
    let limits = LivenessLimits::default();
    let silent = Suspicion::Silent { lasts: 4 * SECOND, limit: limits.agent_timeout };
    assert_eq!(suspicion(&cluster, "a1"), Some(silent));
    let app = an_app("/web");
    cluster.deploy(&app);
    cluster.pass(SECOND).await;
    let state = cluster.state();
    assert!(state.instances_of(&app.id()).all(|row| row.task.is_none()), "the cycle avoids it, too");
    cluster.close("a1");
    cluster.pass(SECOND).await;
    let closed = Suspicion::Closed { lasts: SECOND, limit: limits.restart_grace };
    assert_eq!(suspicion(&cluster, "a1"), Some(closed));
    // One that is recorded as unreachable is no suspect any more.
    cluster.silence("a1");
    cluster.pass(11 * SECOND).await;
    assert!(!cluster.is_present("a1"));
    assert_eq!(suspicion(&cluster, "a1"), None);
    cluster.join("a2");
    cluster.played.lines.lock().unwrap().remove(&AgentId::new("a2"));
    assert_eq!(suspicion(&cluster, "a2"), Some(Suspicion::NotYetBack));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_restarted_has_a_minute() {
    let mut cluster = Cluster::with_agents(1).await;
    cluster.close("a1");
    cluster.pass(59 * SECOND).await;
    assert!(cluster.is_present("a1"));
    cluster.pass(2 * SECOND).await;
    assert!(!cluster.is_present("a1"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_agents_tasks_run_elsewhere_and_exactly_one_copy_is_kept_on_return() {
    let mut cluster = Cluster::with_agents(2).await;
    cluster.deploy(&an_app("/web"));
    cluster.pass(SECOND).await;
    let (lost, task) = cluster.tasks("/web").remove(0);
    let agent = task.agent.to_string();
    cluster.silence(&agent);
    cluster.pass(12 * SECOND).await;
    let (replacement, elsewhere) = cluster.tasks("/web").remove(0);
    assert!(replacement != lost && elsewhere.agent != task.agent);
    assert_eq!(cluster.state().instances.len(), 2, "the lost one is hidden, not forgotten");
    cluster.join(&agent);
    cluster.pass(SECOND).await;
    assert_eq!(cluster.state().instances.len(), 1);
    assert_eq!(cluster.running("/web"), 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn back_before_its_replacement_runs_the_original_is_kept() {
    let mut cluster = Cluster::with_agents(1).await;
    cluster.deploy(&an_app("/web"));
    cluster.pass(SECOND).await;
    let (lost, task) = cluster.tasks("/web").remove(0);
    cluster.silence("a1");
    cluster.pass(12 * SECOND).await;
    assert_eq!((cluster.running("/web"), cluster.state().instances.len()), (0, 2));
    cluster.join("a1");
    cluster.pass(SECOND).await;
    let (kept, same) = cluster.tasks("/web").remove(0);
    assert_eq!((kept, same.id), (lost, task.id));
    assert_eq!(cluster.state().instances.len(), 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_words_were_late_comes_back_without_a_new_connection() {
    let mut cluster = Cluster::with_agents(2).await;
    cluster.silence("a1");
    cluster.pass(12 * SECOND).await;
    assert!(!cluster.is_present("a1"));
    cluster.played.set("a1", Line::Talking);
    cluster.pass(SECOND).await;
    assert!(cluster.is_present("a1"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_judges_nobody_before_most_agents_are_back_or_thirty_seconds_have_passed() {
    let mut cluster = Cluster::with_agents(3).await;
    cluster.store.set_leads(2, false);
    cluster.pass(SECOND).await;
    ["a1", "a2"].into_iter().for_each(|agent| cluster.silence(agent));
    cluster.store.set_leads(3, true);
    cluster.pass(29 * SECOND).await;
    assert!(cluster.is_present("a1") && cluster.is_present("a2"));
    cluster.pass(2 * SECOND).await;
    assert!(!cluster.is_present("a1") && !cluster.is_present("a2") && cluster.is_present("a3"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stalled_starts_every_clock_afresh() {
    let mut cluster = Cluster::with_agents(2).await;
    cluster.silence("a1");
    cluster.silence("a2");
    cluster.pass(5 * SECOND).await;
    // The whole process stands still; nobody could be heard meanwhile.
    cluster.clock.advance(20 * SECOND);
    advance(20 * SECOND).await;
    cluster.pass(SECOND).await;
    assert!(cluster.is_present("a1") && cluster.is_present("a2"));
    assert_eq!(cluster.stats.stalls.load(std::sync::atomic::Ordering::Relaxed), 1);
    cluster.played.set("a1", Line::Talking);
    cluster.pass(40 * SECOND).await;
    assert!(cluster.is_present("a1") && !cluster.is_present("a2"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_without_leading_and_all_goes_on_afterwards() {
    let mut cluster = Cluster::with_agents(1).await;
    cluster.store.set_leads(1, false);
    cluster.pass(SECOND).await;
    cluster.deploy(&an_app("/web").instances(2));
    cluster.pass(5 * SECOND).await;
    assert!(cluster.state().instances.is_empty());
    cluster.store.set_leads(2, true);
    cluster.pass(SECOND).await;
    assert_eq!(cluster.running("/web"), 2);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_leader_records_nothing() {
    let mut cluster = Cluster::with_agents(2).await;
    cluster.deploy(&an_app("/web").instances(3));
    cluster.deploy(&an_app("/huge").cpus(1000.0));
    cluster.pass(2 * SECOND).await;
    let index = cluster.state().index;
    cluster.pass(90 * SECOND).await;
    assert_eq!(cluster.state().index, index);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_shall_move_moves_under_the_next_leader() {
    let mut cluster = Cluster::with_agents(1).await;
    cluster.deploy(&an_app("/web").instances(3));
    cluster.pass(2 * SECOND).await;
    cluster.join("a2");
    let on = |cluster: &Cluster, agent: &str| cluster.state().live_on(&AgentId::new(agent)).count();
    assert_eq!((on(&cluster, "a1"), on(&cluster, "a2")), (3, 0));
    let state = cluster.state();
    let moved = state.instances.values().take(2).map(|row| (row.id.clone(), "test".to_owned()));
    cluster.store.record(vec![Command::MoveInstances { instances: moved.collect() }]);
    // The leader goes before it did anything about it.
    cluster.store.set_leads(1, false);
    cluster.pass(SECOND).await;
    assert_eq!((on(&cluster, "a1"), on(&cluster, "a2")), (3, 0));
    cluster.store.set_leads(2, true);
    cluster.pass(5 * SECOND).await;
    assert_eq!((on(&cluster, "a1"), on(&cluster, "a2"), cluster.running("/web")), (1, 2, 3));
    assert!(!cluster.state().instances.values().any(|row| row.is_moving()));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_looks_now_and_then_which_agents_could_be_lost() {
    let mut cluster = Cluster::with_agents(2).await;
    cluster.deploy(&an_app("/web").instances(4).cpus(3.0));
    cluster.pass(5 * SECOND).await;
    let found = |cluster: &Cluster| {
        let look = cluster.resilience.borrow().clone()?;
        Some((look.survey.agents, look.survey.dispensable()))
    };
    assert_eq!(found(&cluster), None, "agents may still be on their way to a new leader");
    cluster.pass(6 * SECOND).await;
    cluster.shows(found, Some((2, 0))).await;
    // Nothing changes: it does not look again.
    let look = cluster.resilience.borrow().clone().unwrap();
    cluster.pass(60 * SECOND).await;
    assert!(Arc::ptr_eq(&look, &cluster.resilience.borrow().clone().unwrap()));
    cluster.join("a3");
    cluster.shows(found, Some((3, 3))).await;
    // A change right after a look waits for the pause.
    cluster.join("a4");
    cluster.pass(5 * SECOND).await;
    assert_eq!(found(&cluster), Some((3, 3)));
    cluster.pass(6 * SECOND).await;
    cluster.shows(found, Some((4, 4))).await;
    cluster.store.set_leads(1, false);
    cluster.pass(SECOND).await;
    assert_eq!(found(&cluster), None, "only a leader knows");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn old_answers_and_contents_are_dropped() {
    let mut cluster = Cluster::with_agents(1).await;
    for round in 0..1_200 {
        cluster.deploy(&an_app("/web").instances(0).cmd(&format!("{round}")));
    }
    cluster.pass(2 * SECOND).await;
    let kept = cluster.state().versions.len();
    assert!(kept <= 60, "{kept} contents are left");
    cluster.stop().await;
}
