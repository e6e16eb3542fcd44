//! The whole agent against a master that speaks the words over a real socket, with tasks
//! that exist in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::driver::TaskDriver;
use super::driver::fake::FakeMachine;
use super::{Agent, AgentHome, AgentParts, AgentSettings, AgentView, PortProbe};
use crate::domain::{
    Attributes, ClusterId, Exit, Hindrances, PortBinding, PortRanges, Process, Resources, TaskId, TaskLaunch,
    TaskState, Transport, UpdateId,
};
use crate::line::{Line, LineSender, Security};
use crate::protocol::{Assignment, Fence, FromAgent, FromMaster, Register, StatusUpdate};
use crate::telemetry::Registry;
use crate::world::net::TcpListener;
use crate::world::{self, SystemClock};

/// Longest wait for anything that should happen soon.
const SOON: Duration = Duration::from_secs(10);

struct Master {
    listener: TcpListener,
    term: u64,
    index: u64,
    heartbeat_millis: u64,
}

/// A registered agent, as its master sees it.
struct Session {
    sender: LineSender,
    said: mpsc::Receiver<FromAgent>,
    register: Register,
    /// As told last.
    hindrances: Option<Hindrances>,
}

impl Master {
    async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            term: 1,
            index: 1,
            heartbeat_millis: 5000,
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    fn fence(&self) -> Fence {
        Fence { cluster: ClusterId::new("c"), epoch: 1, term: self.term, index: self.index }
    }

    /// Takes one connection up to the introduction, and does not answer it.
    async fn accept(&self) -> (Line, Register) {
        let (stream, _) = timeout(SOON, self.listener.accept()).await.unwrap().unwrap();
        let (mut line, _) = Security::off().accept(stream).await.unwrap();
        match timeout(SOON, line.receive()).await.unwrap().unwrap().unwrap() {
            FromAgent::Register(register) => (line, register),
            other => panic!("{other:?}"),
        }
    }

    async fn welcome(&self) -> Session {
        let (mut line, register) = self.accept().await;
        let welcome =
            FromMaster::Welcome { protocol: 1, fence: self.fence(), heartbeat_millis: self.heartbeat_millis };
        line.send(&welcome).await.unwrap();
        let (sender, mut receiver) = line.split();
        let (saying, said) = mpsc::channel(100);
        world::spawn(async move {
            while let Ok(Some(message)) = receiver.receive::<FromAgent>().await {
                if !matches!(message, FromAgent::Heartbeat { .. }) && saying.send(message).await.is_err() {
                    return;
                }
            }
        });
        Session { sender, said, register, hindrances: None }
    }

    async fn assign(&mut self, session: &mut Session, tasks: Vec<Assignment>) {
        self.index += 1;
        let message = FromMaster::Assign { fence: self.fence(), full: false, tasks };
        session.sender.send(&message).await.unwrap();
    }

    async fn run(&mut self, session: &mut Session, task: &str, line: &str) {
        self.assign(session, vec![Assignment::Run(Box::new(a_launch(task, line)))]).await;
    }

    async fn acknowledge(&mut self, session: &mut Session, update: &StatusUpdate) {
        self.index += 1;
        let updates: Vec<UpdateId> = vec![update.id.clone()];
        let message = FromMaster::Acknowledge { fence: self.fence(), updates };
        session.sender.send(&message).await.unwrap();
    }
}

impl Session {
    /// Waits until the agent tells `state` of `task`.
    async fn hears(&mut self, task: &str, state: TaskState) -> StatusUpdate {
        let wait = async {
            loop {
                let updates = match self.said.recv().await {
                    Some(FromAgent::Status { updates }) => updates,
                    Some(FromAgent::Hindered { hindrances }) => {
                        self.hindrances = Some(hindrances);
                        continue;
                    }
                    Some(_) => continue,
                    None => panic!("connection ended"),
                };
                let found = updates
                    .into_iter()
                    .find(|update| update.id.task.as_str() == task && update.status.state == state);
                if let Some(update) = found {
                    return update;
                }
            }
        };
        timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{task} never was {state:?}"))
    }

    /// Waits until the agent tells of such hindrances.
    async fn hears_hindrances(&mut self, are_such: impl Fn(&Hindrances) -> bool) -> Hindrances {
        let wait = async {
            loop {
                if let Some(hindrances) = self.hindrances.clone().filter(&are_such) {
                    return hindrances;
                }
                match self.said.recv().await {
                    Some(FromAgent::Hindered { hindrances }) => self.hindrances = Some(hindrances),
                    Some(_) => {}
                    None => panic!("connection ended"),
                }
            }
        };
        timeout(SOON, wait).await.expect("such hindrances")
    }
}

fn a_launch(task: &str, line: &str) -> TaskLaunch {
    let process = Process::Shell(line.to_owned());
    let record = super::TaskRecord::nameless(&TaskId::new(task), "", crate::domain::Timestamp::default());
    TaskLaunch { process, ..record.launch }
}

/// One run of an agent's process.
struct Running {
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    view: Arc<AgentView>,
}

impl Running {
    async fn end(self) {
        self.shutdown.cancel();
        timeout(SOON, self.running).await.unwrap().unwrap();
    }

    /// As by `kill -9`: nothing is told, nothing is cleaned up.
    async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    async fn forgets_everything(&self) {
        let wait = async {
            while !self.view.tasks().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, wait).await.unwrap();
    }
}

struct Setup {
    stop_tasks_on_shutdown: bool,
    boot_id: &'static str,
    stranger: Option<u16>,
}

const USUAL: Setup = Setup { stop_tasks_on_shutdown: false, boot_id: "boot-1", stranger: None };

/// A stranger that holds one port.
struct Stranger(u16);

impl PortProbe for Stranger {
    fn held(&self, among: &PortRanges) -> PortRanges {
        PortRanges::of([self.0].into_iter().filter(|port| among.contains(*port)))
    }

    fn holder(&self, _port: u16) -> Option<String> {
        Some("nginx, process 7".to_owned())
    }
}

fn an_agent(data: &Path, masters: Vec<String>, machine: &Arc<FakeMachine>, setup: &Setup) -> Running {
    let settings = AgentSettings {
        security: Security::off(),
        masters,
        hostname: "localhost".to_owned(),
        http: String::new(),
        probe_host: "127.0.0.1".to_owned(),
        totals: Resources { ports: PortRanges::new([(31000, 31010)]), ..Resources::default() },
        reserved: Default::default(),
        attributes: Attributes::new(),
        has_docker: false,
        version: "test".to_owned(),
        boot_id: setup.boot_id.to_owned(),
        stop_tasks_on_shutdown: setup.stop_tasks_on_shutdown,
    };
    let parts = AgentParts {
        driver: Arc::new(machine.driver()),
        ports: setup.stranger.map(|port| Arc::new(Stranger(port)) as Arc<dyn PortProbe>),
        clock: Arc::new(SystemClock),
        metrics: Registry::agent().runtime(),
    };
    let home = AgentHome::open(data, &SystemClock).unwrap();
    let agent = Agent::open(home, settings, parts).unwrap();
    let shutdown = CancellationToken::new();
    let view = agent.view();
    let running = world::spawn(agent.run(shutdown.clone()));
    Running { shutdown, running, view }
}

#[tokio::test]
async fn a_task_runs_ends_is_acknowledged_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    assert!(session.register.tasks.is_empty());

    master.run(&mut session, "a", "serve").await;
    let running = session.hears("a", TaskState::Running).await;
    master.acknowledge(&mut session, &running).await;
    machine.end(&TaskId::new("a"), Exit { code: Some(3), ..Exit::default() }, "");
    let failed = session.hears("a", TaskState::Failed).await;
    assert_eq!(failed.status.message, "Command exited with status 3");
    master.acknowledge(&mut session, &failed).await;
    agent.forgets_everything().await;
    agent.end().await;
    assert_eq!(std::fs::read_dir(dir.path().join("checkpoints")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_stop_is_told_before_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    master.run(&mut session, "a", "serve").await;
    session.hears("a", TaskState::Running).await;
    let stop = Assignment::Stop { task: TaskId::new("a"), reason: "scaled down".to_owned() };
    master.assign(&mut session, vec![stop]).await;
    let killing = session.hears("a", TaskState::Killing).await;
    let killed = session.hears("a", TaskState::Killed).await;
    assert_eq!(
        (killing.status.message.as_str(), killed.status.exit.unwrap().signal),
        ("scaled down", Some(15))
    );
    assert!(killing.id.seq < killed.id.seq);
    agent.end().await;
}

#[tokio::test]
async fn news_is_told_to_the_next_leader_until_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut first = Master::new().await;
    let mut second = Master::new().await;
    second.term = 2;
    let masters = vec![first.address(), second.address()];
    let agent = an_agent(dir.path(), vec![first.address()], &machine, &USUAL);
    let mut session = first.welcome().await;
    first.run(&mut session, "a", "exit 0").await;
    session.hears("a", TaskState::Finished).await;
    agent.end().await;
    drop(session);

    let agent = an_agent(dir.path(), masters, &machine, &USUAL);
    // Whichever is asked first sends the agent on.
    let redirecting = world::spawn(async move {
        let leader = second.address();
        loop {
            tokio::select! {
                (mut line, _) = first.accept() => {
                    line.send(&FromMaster::Redirect { leader: Some(leader.clone()) }).await.unwrap();
                }
                session = second.welcome() => return (second, session),
            }
        }
    });
    let (mut second, mut session) = timeout(SOON, redirecting).await.unwrap().unwrap();
    assert_eq!(session.register.tasks.len(), 1);
    assert_eq!(session.register.seen.as_ref().map(|seen| seen.term), Some(1));
    let finished = session.hears("a", TaskState::Finished).await;
    second.acknowledge(&mut session, &finished).await;
    agent.forgets_everything().await;
    agent.end().await;
}

#[tokio::test]
async fn a_killed_agent_finds_its_task_again_and_starts_it_no_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    master.run(&mut session, "a", "serve").await;
    session.hears("a", TaskState::Running).await;
    agent.kill().await;

    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    assert_eq!(session.register.agent.incarnation.run, 2);
    let reports: Vec<_> = session.register.tasks.iter().map(|report| report.status.state).collect();
    assert_eq!(reports, [TaskState::Running]);
    master.run(&mut session, "a", "serve").await;
    machine.end(&TaskId::new("a"), Exit { code: Some(0), ..Exit::default() }, "");
    session.hears("a", TaskState::Finished).await;
    assert_eq!(machine.starts(&TaskId::new("a")), 1);
    agent.end().await;
}

#[tokio::test]
async fn a_restarted_machine_tells_at_once_that_its_tasks_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    master.run(&mut session, "a", "serve").await;
    session.hears("a", TaskState::Running).await;
    agent.kill().await;
    machine.reboot();

    let agent = an_agent(dir.path(), vec![master.address()], &machine, &Setup { boot_id: "boot-2", ..USUAL });
    let mut session = master.welcome().await;
    let lost = session.hears("a", TaskState::Lost).await;
    assert_eq!(lost.status.message, "the machine was restarted");
    agent.end().await;
}

#[tokio::test]
async fn tasks_outlive_the_agents_end_unless_it_is_told_to_stop_them() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    master.run(&mut session, "a", "serve").await;
    session.hears("a", TaskState::Running).await;
    agent.end().await;
    assert_eq!(machine.running().len(), 1);

    let taking_along = Setup { stop_tasks_on_shutdown: true, ..USUAL };
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &taking_along);
    let mut session = master.welcome().await;
    let ending = world::spawn(agent.end());
    let killed = session.hears("a", TaskState::Killed).await;
    master.acknowledge(&mut session, &killed).await;
    timeout(SOON, ending).await.unwrap().unwrap();
    assert_eq!(machine.driver().list().await.unwrap(), [], "what it left is removed before the agent ends");
}

#[tokio::test]
async fn a_silent_master_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    master.heartbeat_millis = 100;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    master.run(&mut session, "a", "serve").await;
    session.hears("a", TaskState::Running).await;
    // Heartbeats stay without an answer: the agent comes again, and its task runs on.
    let again = master.welcome().await;
    assert_eq!(again.register.tasks.len(), 1);
    assert_eq!(machine.running().len(), 1);
    agent.end().await;
}

#[tokio::test]
async fn a_port_of_a_stranger_is_told_and_keeps_a_task_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let setup = Setup { stranger: Some(31007), ..USUAL };
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &setup);
    let mut session = master.welcome().await;
    let port = |host| PortBinding { host, container: host, transport: Transport::Tcp };
    for (task, host) in [("a", 31007), ("b", 31008)] {
        let launch = TaskLaunch { ports: vec![port(host)], ..a_launch(task, "serve") };
        master.assign(&mut session, vec![Assignment::Run(Box::new(launch))]).await;
    }
    let failed = session.hears("a", TaskState::Failed).await;
    assert!(failed.status.message.contains("31007 (by nginx, process 7)"), "{}", failed.status.message);
    session.hears("b", TaskState::Running).await;
    assert_eq!((machine.starts(&TaskId::new("a")), agent.view.held_ports()), (0, 1));
    agent.end().await;
}

#[tokio::test]
async fn who_was_refused_comes_again_and_lets_others_come_first_until_it_is_welcome() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let (mut line, first) = master.accept().await;
    line.send(&FromMaster::Refuse { reason: "it lives elsewhere".to_owned() }).await.unwrap();
    drop(line);
    let (mut line, repeated) = master.accept().await;
    let fence = master.fence();
    line.send(&FromMaster::Welcome { protocol: 1, fence, heartbeat_millis: 5000 }).await.unwrap();
    let welcomed = async {
        while !agent.view.is_registered() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, welcomed).await.unwrap();
    drop(line);
    let (_line, after) = master.accept().await;
    assert_eq!([first.yields, repeated.yields, after.yields], [false, true, false]);
    agent.end().await;
}

#[tokio::test]
async fn while_the_disk_takes_nothing_nothing_starts_and_nobody_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    master.run(&mut session, "a", "serve").await;
    let running = session.hears("a", TaskState::Running).await;
    master.acknowledge(&mut session, &running).await;
    let (records, aside) = (dir.path().join("checkpoints"), dir.path().join("aside"));
    std::fs::rename(&records, &aside).unwrap();

    master.run(&mut session, "b", "serve").await;
    let stop = Assignment::Stop { task: TaskId::new("a"), reason: "scaled down".to_owned() };
    master.assign(&mut session, vec![stop]).await;
    let stopped = async {
        while !machine.running().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, stopped).await.unwrap();
    assert_eq!(machine.starts(&TaskId::new("b")), 0);
    assert!(agent.view.withheld() > 0, "who looks at the metrics sees why");
    let told = session.hears_hindrances(|told| told.tasks.is_some()).await;
    assert!(told.tasks.unwrap().contains(&dir.path().display().to_string()));

    std::fs::rename(&aside, &records).unwrap();
    session.hears("b", TaskState::Running).await;
    session.hears("a", TaskState::Killed).await;
    assert_eq!(agent.view.withheld(), 0);
    session.hears_hindrances(Hindrances::is_empty).await;
    agent.end().await;
}

/// An agent that has told its leader that nothing hinders it.
async fn unhindered(dir: &Path, machine: &Arc<FakeMachine>) -> (Running, Session) {
    let master = Master::new().await;
    let agent = an_agent(dir, vec![master.address()], machine, &USUAL);
    let mut session = master.welcome().await;
    session.hears_hindrances(Hindrances::is_empty).await;
    (agent, session)
}

#[tokio::test(start_paused = true)]
async fn a_disk_without_room_is_told_before_anything_is_to_be_started() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let (agent, mut session) = unhindered(dir.path(), &machine).await;
    let (records, aside) = (dir.path().join("checkpoints"), dir.path().join("aside"));
    std::fs::rename(&records, &aside).unwrap();
    session.hears_hindrances(|told| told.tasks.is_some()).await;
    assert!(agent.view.is_disk_full() && agent.view.withheld() == 0, "the alarm is not about what waits");
    std::fs::rename(&aside, &records).unwrap();
    session.hears_hindrances(Hindrances::is_empty).await;
    assert!(!agent.view.is_disk_full());
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_is_told_until_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let (agent, mut session) = unhindered(dir.path(), &machine).await;
    machine.set_away(true);
    let told = session.hears_hindrances(|told| told.containers.is_some()).await;
    assert!(told.containers.unwrap().contains("fake does not answer"));
    machine.set_away(false);
    session.hears_hindrances(Hindrances::is_empty).await;
    agent.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_given_as_its_engine_went_away_is_given_back_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let machine = FakeMachine::new();
    let mut master = Master::new().await;
    let agent = an_agent(dir.path(), vec![master.address()], &machine, &USUAL);
    let mut session = master.welcome().await;
    session.hears_hindrances(Hindrances::is_empty).await;
    machine.set_away(true);
    master.run(&mut session, "a", "serve").await;
    let failed = session.hears("a", TaskState::Failed).await;
    assert!(failed.status.message.contains("fake, which does not answer"), "{}", failed.status.message);
    master.acknowledge(&mut session, &failed).await;
    machine.set_away(false);
    agent.forgets_everything().await;
    assert_eq!(machine.starts(&TaskId::new("a")), 0);
    agent.end().await;
}
