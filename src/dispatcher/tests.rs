//! The dispatcher over a store in memory, with an agent played by hand on loopback.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Contact, Dispatcher, Sessions};
use crate::domain::{
    AgentId, AgentInfo, AppId, AppVersion, ClusterId, DeploymentId, Goal, Hindrances, Incarnation,
    InstanceId, Plan, PortRanges, Resources, RunSpec, Scalar, SpecVersion, TaskId, TaskState, TaskStatus,
    Timestamp, UpdateId,
};
use crate::line::{Line, Purpose, Security};
use crate::protocol::{Assignment, Fence, FromAgent, FromMaster, Proof, Register, StatusUpdate, TaskReport};
use crate::state::{AppChange, Applied, Command, Placement, StartDeployment};
use crate::store::in_memory::InMemoryStore;
use crate::store::{Leadership, ProposeError, ReadError, StateStore, View};
use crate::world::ManualClock;

const DEADLINE: Duration = Duration::from_secs(5);

struct Rig {
    store: Arc<InMemoryStore>,
    dispatcher: Arc<Dispatcher>,
    address: String,
    shutdown: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn app() -> AppId {
    AppId::parse("/web").unwrap()
}

fn instance(n: u128) -> InstanceId {
    InstanceId::mint(&app(), uuid::Uuid::from_u128(n))
}

fn task(n: u128) -> TaskId {
    TaskId::of(&instance(n), 1)
}

/// Notes what is known of the agent when something is recorded.
struct Witness {
    store: Arc<InMemoryStore>,
    sessions: OnceLock<Arc<Sessions>>,
    contacts: Mutex<Vec<Contact>>,
}

impl StateStore for Witness {
    fn snapshot(&self) -> View {
        self.store.snapshot()
    }

    fn fresh_snapshot(&self) -> BoxFuture<'_, Result<View, ReadError>> {
        self.store.fresh_snapshot()
    }

    fn propose(
        &self,
        commands: Vec<Command>,
        term: Option<u64>,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        let contact = self.sessions.get().unwrap().contact(&AgentId::new("a1"));
        self.contacts.lock().unwrap().push(contact);
        self.store.propose(commands, term)
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.store.applied()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.store.leadership()
    }
}

async fn rig() -> Rig {
    let store = Arc::new(InMemoryStore::new(Arc::new(ManualClock::at(1_000))));
    store.record(vec![Command::FoundCluster { cluster: ClusterId::new("c"), epoch: 1 }]);
    let dispatcher = Dispatcher::new(Arc::clone(&store) as Arc<dyn StateStore>);
    rig_with(store, dispatcher).await
}

async fn rig_with(store: Arc<InMemoryStore>, dispatcher: Arc<Dispatcher>) -> Rig {
    let shutdown = CancellationToken::new();
    dispatcher.start(shutdown.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (serving, token) = (Arc::clone(&dispatcher), shutdown.clone());
    crate::world::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (serving, token) = (Arc::clone(&serving), token.clone());
            crate::world::spawn(async move {
                let (line, purpose) = Security::off().accept(stream).await.unwrap();
                assert_eq!(purpose, Purpose::Agent);
                serving.serve(line, token).await;
            });
        }
    });
    Rig { store, dispatcher, address, shutdown }
}

fn info(boot: &str, run: u64) -> AgentInfo {
    let ports = PortRanges::new([(31_000, 31_010)]);
    let totals = Resources {
        cpus: Scalar::from_thousandths(4_000),
        mem: Scalar::from_thousandths(4_000_000),
        ports,
        ..Resources::default()
    };
    AgentInfo {
        id: AgentId::new("a1"),
        hostname: "host-1".into(),
        http: String::new(),
        totals,
        reserved: Default::default(),
        attributes: Default::default(),
        incarnation: Incarnation {
            boot_id: boot.into(),
            started: Timestamp::from_millis(1),
            run,
            place: "1:1".into(),
        },
        has_docker: false,
        version: String::new(),
    }
}

fn register(info: AgentInfo, tasks: Vec<TaskReport>) -> FromAgent {
    FromAgent::Register(Register {
        protocol: 1,
        cluster: None,
        seen: None,
        agent: info,
        proof: Proof::default(),
        yields: false,
        held_ports: PortRanges::default(),
        tasks,
    })
}

impl Rig {
    async fn connect(&self, info: AgentInfo, tasks: Vec<TaskReport>) -> Line {
        let mut line = Security::off().dial(&self.address, Purpose::Agent).await.unwrap();
        line.send(&register(info, tasks)).await.unwrap();
        line
    }

    /// Places `n` as a running wish on the agent.
    fn place(&self, n: u128) {
        let version = SpecVersion(Timestamp::from_millis(5));
        if self.store.snapshot().apps.is_empty() {
            let spec = RunSpec { cmd: Some("run".into()), ..RunSpec::default() };
            let content = AppVersion { app: app(), spec, last_scaling: version, last_config_change: version };
            self.store.record(vec![Command::StartDeployment(Box::new(StartDeployment {
                id: DeploymentId::new("d"),
                version,
                plan: Plan::default(),
                changes: vec![AppChange { app: app(), expected: None, content: Some(Box::new(content)) }],
                assigned_ports: Vec::new(),
                force: false,
                request: None,
            }))]);
        }
        let placement = Placement {
            instance: instance(n),
            attempt: 1,
            agent: AgentId::new("a1"),
            ports: Vec::new(),
            resources: Resources::default(),
            drawn: Default::default(),
        };
        let applied = self.store.record(vec![
            Command::CreateInstances { app: app(), version, ids: vec![instance(n)] },
            Command::LaunchTasks { placements: vec![placement], seen_at: 0 },
        ]);
        assert_eq!(applied.refusals, []);
    }

    fn state_of(&self, n: u128) -> Option<TaskState> {
        let view = self.store.snapshot();
        view.task(&task(n)).map(|(_, task)| task.status.state)
    }
}

async fn hear(line: &mut Line) -> FromMaster {
    timeout(DEADLINE, line.receive()).await.expect("in time").expect("readable").expect("open")
}

async fn welcomed(line: &mut Line) -> Fence {
    match hear(line).await {
        FromMaster::Welcome { fence, .. } => fence,
        other => panic!("not a welcome: {other:?}"),
    }
}

async fn assigned(line: &mut Line) -> (Vec<Assignment>, bool) {
    match hear(line).await {
        FromMaster::Assign { tasks, full, .. } => (tasks, full),
        other => panic!("not an assignment: {other:?}"),
    }
}

fn report(n: u128, state: TaskState) -> TaskReport {
    TaskReport { task: task(n), status: TaskStatus::new(state, Timestamp::from_millis(9), "") }
}

fn names(tasks: &[Assignment]) -> Vec<(TaskId, bool)> {
    tasks.iter().map(|a| (a.task().clone(), matches!(a, Assignment::Run(_)))).collect()
}

#[tokio::test]
async fn a_registered_agent_is_told_everything_and_then_only_changes() {
    let rig = rig().await;
    let mut line = rig.connect(info("boot", 1), Vec::new()).await;
    assert_eq!(welcomed(&mut line).await.term, 1);
    assert_eq!(assigned(&mut line).await, (Vec::new(), true));
    rig.place(1);
    let (tasks, full) = assigned(&mut line).await;
    assert_eq!((names(&tasks), full), (vec![(task(1), true)], false));
    rig.place(2);
    assert_eq!(names(&assigned(&mut line).await.0), [(task(2), true)]);
    let instances = vec![instance(1)];
    rig.store.record(vec![Command::SetGoal { instances, goal: Goal::Decommissioned, reason: "x".into() }]);
    assert_eq!(names(&assigned(&mut line).await.0), [(task(1), false)]);
}

#[tokio::test]
async fn a_status_is_acknowledged_after_it_is_recorded_and_so_is_its_repeat() {
    let rig = rig().await;
    let mut line = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut line).await;
    assigned(&mut line).await;
    rig.place(1);
    assigned(&mut line).await;
    let id = UpdateId { task: task(1), seq: 1 };
    for _ in 0..2 {
        let status = TaskStatus::new(TaskState::Running, Timestamp::from_millis(9), "");
        let updates = vec![StatusUpdate { id: id.clone(), status }];
        line.send(&FromAgent::Status { updates }).await.unwrap();
        match hear(&mut line).await {
            FromMaster::Acknowledge { updates, .. } => assert_eq!(updates, std::slice::from_ref(&id)),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.state_of(1), Some(TaskState::Running));
    }
}

#[tokio::test]
async fn a_task_that_its_agent_forgot_is_lost_but_one_it_never_heard_of_is_sent_again() {
    let rig = rig().await;
    let mut line = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut line).await;
    assigned(&mut line).await;
    drop(line);
    rig.place(1);
    rig.place(2);
    let agent = AgentId::new("a1");
    let running = TaskStatus::new(TaskState::Running, Timestamp::from_millis(9), "");
    rig.store.record(vec![Command::RecordStatuses { agent, statuses: vec![(task(1), running)] }]);
    let mut line = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut line).await;
    assert_eq!(names(&assigned(&mut line).await.0), [(task(2), true)]);
    assert_eq!(rig.state_of(1), Some(TaskState::Lost));
}

#[tokio::test]
async fn a_task_that_outlived_its_recorded_end_is_stopped_and_strangers_are_left_alone() {
    let rig = rig().await;
    let line = rig.connect(info("boot", 1), Vec::new()).await;
    let mut line = line;
    welcomed(&mut line).await;
    assigned(&mut line).await;
    drop(line);
    rig.place(1);
    let lost = TaskStatus::new(TaskState::Lost, Timestamp::from_millis(9), "");
    let agent = AgentId::new("a1");
    rig.store.record(vec![Command::RecordStatuses { agent, statuses: vec![(task(1), lost)] }]);
    let known = vec![report(1, TaskState::Running), report(77, TaskState::Running)];
    let mut line = rig.connect(info("boot", 1), known).await;
    welcomed(&mut line).await;
    assert_eq!(names(&assigned(&mut line).await.0), [(task(1), false)]);
}

#[tokio::test]
async fn the_same_id_on_another_machine_is_refused_while_the_first_is_live() {
    let rig = rig().await;
    let mut first = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut first).await;
    let mut second = rig.connect(info("another boot", 1), Vec::new()).await;
    assert!(matches!(hear(&mut second).await, FromMaster::Refuse { .. }));
    drop(first);
    let agent = AgentId::new("a1");
    let mut changes = rig.dispatcher.sessions().changes();
    let closed =
        changes.wait_for(|_| matches!(rig.dispatcher.sessions().contact(&agent), Contact::Closed { .. }));
    timeout(DEADLINE, closed).await.unwrap().unwrap();
    let mut third = rig.connect(info("another boot", 1), Vec::new()).await;
    welcomed(&mut third).await;
}

/// The agent as a copy of its data directory on the same machine shows it, started later.
fn copy() -> AgentInfo {
    let mut info = info("boot", 2);
    info.incarnation.started = Timestamp::from_millis(2);
    info.incarnation.place = "1:2".into();
    info
}

#[tokio::test]
async fn a_copy_is_refused_while_the_original_is_live_and_a_restart_never() {
    let rig = rig().await;
    let mut first = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut first).await;
    assigned(&mut first).await;
    let mut second = rig.connect(copy(), Vec::new()).await;
    let refused = hear(&mut second).await;
    assert!(
        matches!(&refused, FromMaster::Refuse { reason } if reason.contains("lives on host-1")),
        "{refused:?}"
    );
    first.send(&FromAgent::Heartbeat { seq: 1, quiet: false }).await.unwrap();
    assert!(matches!(hear(&mut first).await, FromMaster::HeartbeatAck { seq: 1, .. }), "it is left alone");
    // Killed and started again at once: the end of its old connection is not known yet.
    let mut again = rig.connect(info("boot", 2), Vec::new()).await;
    welcomed(&mut again).await;
}

#[tokio::test]
async fn an_original_comes_back_after_its_copy_went_and_only_one_of_them_is_spoken_to() {
    let rig = rig().await;
    let agent = AgentId::new("a1");
    rig.store.record(vec![Command::RegisterAgent {
        info: Box::new(info("boot", 1)),
        held_ports: PortRanges::default(),
        proof: None,
    }]);
    let mut second = rig.connect(copy(), Vec::new()).await;
    welcomed(&mut second).await;
    assigned(&mut second).await;
    let mut first = rig.connect(info("boot", 1), Vec::new()).await;
    assert!(matches!(hear(&mut first).await, FromMaster::Refuse { .. }));
    let mut changes = rig.dispatcher.sessions().changes();
    drop(second);
    let closed =
        changes.wait_for(|_| matches!(rig.dispatcher.sessions().contact(&agent), Contact::Closed { .. }));
    timeout(DEADLINE, closed).await.unwrap().unwrap();
    let mut first = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut first).await;
    assigned(&mut first).await;
    // However another came to be recorded: what is placed then is not for this one.
    rig.store.record(vec![Command::RegisterAgent {
        info: Box::new(copy()),
        held_ports: PortRanges::default(),
        proof: None,
    }]);
    rig.place(1);
    let said = timeout(DEADLINE, first.receive::<FromMaster>()).await.unwrap();
    assert!(!matches!(said, Ok(Some(_))), "{said:?}");
}

#[tokio::test]
async fn registering_again_unchanged_writes_nothing() {
    let rig = rig().await;
    welcomed(&mut rig.connect(info("boot", 1), Vec::new()).await).await;
    let before = rig.store.snapshot().index;
    welcomed(&mut rig.connect(info("boot", 1), Vec::new()).await).await;
    assert_eq!(rig.store.snapshot().index, before);
}

#[tokio::test]
async fn only_the_agent_itself_comes_back_under_its_id() {
    let rig = rig().await;
    let introduce = async |proof: &str| {
        let mut line = Security::off().dial(&rig.address, Purpose::Agent).await.unwrap();
        let FromAgent::Register(mut register) = register(info("boot", 1), Vec::new()) else { unreachable!() };
        register.proof = Proof::new(proof.to_owned());
        line.send(&FromAgent::Register(register)).await.unwrap();
        line
    };
    welcomed(&mut introduce("what only a1 knows").await).await;
    let recorded = rig.store.snapshot();
    let row = recorded.agents.get(&AgentId::new("a1")).unwrap();
    assert!(row.proof.as_ref().is_some_and(|digest| digest.len() == 64), "a digest, not the proof");
    for other in ["a guess", ""] {
        let mut line = introduce(other).await;
        let refused = hear(&mut line).await;
        assert!(matches!(refused, FromMaster::Refuse { reason } if reason.contains("proof of identity")));
    }
    welcomed(&mut introduce("what only a1 knows").await).await;
    assert_eq!(rig.store.snapshot().index, recorded.index, "known already");
}

#[tokio::test]
async fn an_agent_of_another_cluster_is_refused() {
    let rig = rig().await;
    let mut line = Security::off().dial(&rig.address, Purpose::Agent).await.unwrap();
    let FromAgent::Register(mut register) = register(info("boot", 1), Vec::new()) else { unreachable!() };
    register.cluster = Some(ClusterId::new("another"));
    line.send(&FromAgent::Register(register)).await.unwrap();
    assert!(matches!(hear(&mut line).await, FromMaster::Refuse { reason } if reason.contains("another")));
    assert!(rig.store.snapshot().agents.is_empty());
}

/// Ranges as a stranger may write them.
fn raw_ports(ranges: &[(u16, u16)]) -> PortRanges {
    rmp_serde::from_slice(&rmp_serde::to_vec(ranges).unwrap()).unwrap()
}

#[tokio::test]
async fn what_no_agent_can_be_is_refused_and_never_recorded() {
    let rig = rig().await;
    let refused = async |change: &dyn Fn(&mut Register), part: &str| {
        let mut line = Security::off().dial(&rig.address, Purpose::Agent).await.unwrap();
        let FromAgent::Register(mut register) = register(info("boot", 1), Vec::new()) else { unreachable!() };
        change(&mut register);
        line.send(&FromAgent::Register(register)).await.unwrap();
        let FromMaster::Refuse { reason } = hear(&mut line).await else { panic!("{part}: admitted") };
        assert!(reason.contains(part) && reason.len() < 400, "{reason:?} lacks {part:?}");
    };
    let fact = |name: &str| (name.to_owned(), crate::domain::AttributeValue::parse("x"));
    refused(&|it| it.agent.hostname.clear(), "empty hostname").await;
    refused(&|it| it.agent.hostname = "x".repeat(60_000), "hostname of 60000 bytes").await;
    refused(&|it| it.agent.totals.cpus = Scalar::from_thousandths(u64::MAX), "cpus, at most").await;
    refused(&|it| it.agent.totals.ports = raw_ports(&[(0, 65_535); 9]), "overlap").await;
    refused(&|it| it.agent.totals.ports = raw_ports(&[(9, 3)]), "end before they begin").await;
    refused(&|it| it.held_ports = raw_ports(&[(0, 65_535); 40_000]), "40000 ranges").await;
    refused(&|it| it.held_ports = raw_ports(&[(5, 9), (7, 8)]), "5-9 and 7-8").await;
    refused(
        &|it| it.agent.attributes = (0..3_000).map(|at| fact(&format!("a{at}"))).collect(),
        "3000 attributes",
    )
    .await;
    let more = Resources { cpus: Scalar::from_thousandths(4_001), ..Resources::default() };
    refused(&|it| it.agent.reserved = [("db".to_owned(), more.clone())].into(), "role db").await;
    assert!(rig.store.snapshot().agents.is_empty());
}

#[tokio::test]
async fn held_ports_that_cannot_be_end_the_connection_and_are_never_recorded() {
    let rig = rig().await;
    let mut line = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut line).await;
    assigned(&mut line).await;
    let index = rig.store.snapshot().index;
    line.send(&FromAgent::HeldPorts { ports: raw_ports(&[(5, 9), (7, 8)]) }).await.unwrap();
    let ended = timeout(DEADLINE, line.receive::<FromMaster>()).await.unwrap();
    assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    assert_eq!(rig.store.snapshot().index, index);
}

#[tokio::test]
async fn what_keeps_an_agent_from_starting_is_recorded_once() {
    let rig = rig().await;
    let mut line = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut line).await;
    assigned(&mut line).await;
    let recorded = || rig.store.snapshot().agents.get(&AgentId::new("a1")).unwrap().hindrances.clone();
    let index = rig.store.snapshot().index;
    let why = |text: &str| Hindrances { tasks: Some(text.to_owned()), ..Hindrances::default() };
    for hindrances in [Hindrances::default(), why("full"), why("full"), Hindrances::default()] {
        line.send(&FromAgent::Hindered { hindrances }).await.unwrap();
    }
    line.send(&FromAgent::Hindered { hindrances: why("full again") }).await.unwrap();
    let mut applied = rig.store.applied();
    let said = applied.wait_for(|_| recorded() == why("full again"));
    timeout(DEADLINE, said).await.unwrap().unwrap();
    assert_eq!(rig.store.snapshot().index, index + 3, "what was known already is recorded again");
    line.send(&FromAgent::Hindered { hindrances: why("two\nlines") }).await.unwrap();
    let ended = timeout(DEADLINE, line.receive::<FromMaster>()).await.unwrap();
    assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    assert_eq!(recorded(), why("full again"));
}

#[tokio::test]
async fn heartbeats_are_answered() {
    let rig = rig().await;
    let mut line = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut line).await;
    assigned(&mut line).await;
    line.send(&FromAgent::Heartbeat { seq: 7, quiet: false }).await.unwrap();
    assert!(matches!(hear(&mut line).await, FromMaster::HeartbeatAck { seq: 7, .. }));
    for (seq, quiet) in [(8, true), (9, false)] {
        line.send(&FromAgent::Heartbeat { seq, quiet }).await.unwrap();
    }
    assert!(matches!(hear(&mut line).await, FromMaster::HeartbeatAck { seq: 9, .. }), "a quiet one is not");
}

/// A look at agents' clocks between the record and the connection would find the silence of the
/// connection before.
#[tokio::test]
async fn who_returns_is_not_judged_by_an_earlier_silence() {
    let store = Arc::new(InMemoryStore::new(Arc::new(ManualClock::at(1_000))));
    store.record(vec![Command::FoundCluster { cluster: ClusterId::new("c"), epoch: 1 }]);
    let witness = Arc::new(Witness {
        store: Arc::clone(&store),
        sessions: OnceLock::new(),
        contacts: Mutex::default(),
    });
    let dispatcher = Dispatcher::new(Arc::clone(&witness) as Arc<dyn StateStore>);
    assert!(witness.sessions.set(dispatcher.sessions()).is_ok());
    let rig = rig_with(store, dispatcher).await;
    let before = tokio::time::Instant::now();
    let mut first = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut first).await;
    assigned(&mut first).await;
    let gone = Command::MarkAgentUnreachable {
        agent: AgentId::new("a1"),
        run: 1,
        since: Timestamp::from_millis(1_000),
    };
    rig.store.record(vec![gone]);
    let again = tokio::time::Instant::now();
    let mut second = rig.connect(info("boot", 1), Vec::new()).await;
    welcomed(&mut second).await;
    let seen = witness.contacts.lock().unwrap().clone();
    let since = |contact: &Contact| match contact {
        Contact::Closed { since, .. } => *since,
        other => panic!("judged by {other:?}"),
    };
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(since(&seen[0]) >= before, "{seen:?}");
    assert!(since(seen.last().unwrap()) >= again, "{seen:?}");
}
