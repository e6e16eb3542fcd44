//! Many agents in one process that speak the real protocol and run nothing.
//!
//! Way in: [`Crowd::start`]. Each agent keeps one connection to the leader, takes launches and
//! stops, tells of them and repeats itself until it is acknowledged, as a real one does. It
//! has no disk: it forgets with its process. For tests and for measuring masters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, mem};

use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::domain::{
    AgentId, AgentInfo, AttributeValue, Incarnation, PortRanges, Resources, Scalar, TaskId, TaskState,
    TaskStatus, Timestamp, UpdateId,
};
use crate::line::{Line, LineSender, Purpose, Security};
use crate::protocol::{
    Assignment, Fence, FromAgent, FromMaster, PROTOCOL_VERSION, Proof, Register, StatusUpdate, TaskReport,
    is_quiet,
};
use crate::world::{self, Clock, SystemClock};

/// Connections that are opened at once: a listener's queue holds more.
const DIALS_MAX: usize = 64;

/// Pause before an agent that lost its master looks for one again.
const REDIAL_AFTER: Duration = Duration::from_millis(100);

/// Pause before what was not acknowledged is said again, as real agents wait.
const RESEND_AFTER: Duration = Duration::from_secs(5);

/// Longest wait for the answer to an introduction.
const WELCOME_WITHIN: Duration = Duration::from_secs(20);

/// Racks that agents are spread over.
const RACKS: usize = 40;

/// What the agents are.
#[derive(Clone, Debug)]
pub struct CrowdSettings {
    /// Cluster addresses of the masters.
    pub masters: Vec<String>,
    /// How many agents.
    pub agents: usize,
    /// What each has.
    pub totals: Resources,
    /// Tells `TASK_STARTING` before `TASK_RUNNING`, as agents do whose start is slow.
    pub tells_starting: bool,
}

/// What the agents saw so far, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Agents with a leader that welcomed them.
    pub registered: u64,
    /// Launches taken; repeats do not count.
    pub launched: u64,
    /// Tasks of which a leader acknowledged that they run.
    pub told: u64,
    /// Launches of an instance of which another attempt was running then.
    pub doubles: u64,
    /// Connections that were lost.
    pub lost: u64,
}

/// Agents that run until they are dropped with their runtime.
pub struct Crowd {
    shared: Arc<Shared>,
    agents: Vec<Arc<Agent>>,
}

struct Shared {
    settings: CrowdSettings,
    dials: Semaphore,
    /// Position of the master that last led.
    leader: Mutex<Option<String>>,
    registered: AtomicU64,
    launched: AtomicU64,
    told: AtomicU64,
    doubles: AtomicU64,
    lost: AtomicU64,
}

struct Agent {
    info: AgentInfo,
    knows: Mutex<Known>,
    is_registered: AtomicBool,
}

#[derive(Default)]
struct Known {
    fence: Option<Fence>,
    tasks: BTreeMap<TaskId, Task>,
    /// Tasks of which no leader has heard all.
    untold: BTreeSet<TaskId>,
}

struct Task {
    status: TaskStatus,
    seq: u64,
    /// What no leader acknowledged, oldest first.
    untold: Vec<StatusUpdate>,
    said_at: Instant,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crowd {
    /// Starts every agent in the runtime that the caller is in.
    pub fn start(settings: CrowdSettings) -> Self {
        let agents = (0..settings.agents).map(|at| Arc::new(Agent::new(at, &settings))).collect();
        let shared = Shared {
            settings,
            dials: Semaphore::new(DIALS_MAX),
            leader: Mutex::default(),
            registered: AtomicU64::new(0),
            launched: AtomicU64::new(0),
            told: AtomicU64::new(0),
            doubles: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        };
        let crowd = Self { shared: Arc::new(shared), agents };
        for agent in &crowd.agents {
            world::spawn(Arc::clone(agent).live(Arc::clone(&crowd.shared)));
        }
        crowd
    }

    /// What they saw so far.
    pub fn seen(&self) -> Seen {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &self.shared;
        Seen {
            registered: read(&shared.registered),
            launched: read(&shared.launched),
            told: read(&shared.told),
            doubles: read(&shared.doubles),
            lost: read(&shared.lost),
        }
    }

    /// Every task that runs, with its agent.
    pub fn running(&self) -> BTreeSet<(TaskId, AgentId)> {
        let of = |agent: &Arc<Agent>| {
            let knows = locked(&agent.knows);
            let live = knows.tasks.iter().filter(|(_, task)| !task.status.state.is_terminal());
            live.map(|(id, _)| (id.clone(), agent.info.id.clone())).collect::<Vec<_>>()
        };
        self.agents.iter().flat_map(of).collect()
    }
}

impl Shared {
    /// Notes who leads, unless somebody else found out meanwhile.
    fn note_leader(&self, known: &Option<String>, hint: &Option<String>) {
        let mut leader = locked(&self.leader);
        if *leader == *known {
            leader.clone_from(hint);
        }
    }
}

impl Agent {
    fn new(at: usize, settings: &CrowdSettings) -> Self {
        // Spread over the whole space of ids, as those that real agents mint.
        let id =
            uuid::Uuid::from_u128((at as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let attributes = [("rack".to_owned(), AttributeValue::parse(&format!("r{}", at % RACKS)))];
        let info = AgentInfo {
            id: AgentId::new(id.hyphenated().to_string()),
            hostname: format!("host-{at:05}"),
            http: String::new(),
            totals: settings.totals.clone(),
            reserved: Default::default(),
            attributes: attributes.into(),
            incarnation: Incarnation {
                boot_id: format!("boot-{at}"),
                started: now(),
                run: 1,
                place: String::new(),
            },
            has_docker: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Self { info, knows: Mutex::default(), is_registered: AtomicBool::new(false) }
    }

    async fn live(self: Arc<Self>, shared: Arc<Shared>) {
        let mut at = 0;
        loop {
            let known = locked(&shared.leader).clone();
            let masters = &shared.settings.masters;
            let Some(address) = known.clone().or_else(|| masters.get(at % masters.len().max(1)).cloned())
            else {
                return;
            };
            at += 1;
            let ended = self.serve(&shared, &address).await;
            if self.is_registered.swap(false, Ordering::Relaxed) {
                shared.registered.fetch_sub(1, Ordering::Relaxed);
                shared.lost.fetch_add(1, Ordering::Relaxed);
            }
            let hint = ended.unwrap_or_default();
            shared.note_leader(&known, &hint);
            if hint.is_none() {
                sleep(REDIAL_AFTER).await;
            }
        }
    }

    /// Serves one connection to its end; says who leads where that was told.
    async fn serve(&self, shared: &Shared, address: &str) -> io::Result<Option<String>> {
        let place = shared.dials.acquire().await.map_err(io::Error::other)?;
        let mut line = Security::off().dial(address, Purpose::Agent).await?;
        line.send(&FromAgent::Register(self.introduction())).await?;
        let first = timeout(WELCOME_WITHIN, line.receive::<FromMaster>()).await??;
        drop(place);
        let beat = match first {
            Some(FromMaster::Welcome { fence, heartbeat_millis, .. }) => {
                *locked(&shared.leader) = Some(address.to_owned());
                locked(&self.knows).fence = Some(fence);
                Duration::from_millis(heartbeat_millis)
            }
            Some(FromMaster::Redirect { leader }) => return Ok(leader),
            _ => return Ok(None),
        };
        shared.registered.fetch_add(1, Ordering::Relaxed);
        self.is_registered.store(true, Ordering::Relaxed);
        self.talk(shared, line, beat).await
    }

    async fn talk(&self, shared: &Shared, line: Line, beat: Duration) -> io::Result<Option<String>> {
        let (mut sender, mut receiver) = line.split();
        self.say(&mut sender, self.untold(Duration::ZERO)).await?;
        // Agents do not beat in step.
        let offset = beat.mul_f64(f64::from(u16::try_from(world::random_u64() % 1000).unwrap_or(0)) / 1000.0);
        let mut ticks = interval_at(Instant::now() + offset, beat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seq = 0;
        let mut last_heard = Instant::now();
        loop {
            tokio::select! {
                heard = receiver.receive::<FromMaster>() => {
                    let Some(message) = heard? else { return Ok(None) };
                    last_heard = Instant::now();
                    match message {
                        FromMaster::Assign { fence, tasks, .. } => {
                            if self.heeds(&fence) {
                                for news in self.assign(tasks, shared) {
                                    self.say(&mut sender, news).await?;
                                }
                                ticks.reset();
                            }
                        }
                        FromMaster::Acknowledge { updates, .. } => self.acknowledge(&updates, shared),
                        FromMaster::Redirect { leader } => return Ok(leader),
                        FromMaster::Welcome { .. } | FromMaster::HeartbeatAck { .. } | FromMaster::Refuse { .. } => {}
                    }
                }
                _ = ticks.tick() => {
                    seq += 1;
                    let quiet = is_quiet(last_heard.elapsed(), beat);
                    sender.send(&FromAgent::Heartbeat { seq, quiet }).await?;
                    self.say(&mut sender, self.untold(RESEND_AFTER)).await?;
                }
            }
        }
    }

    async fn say(&self, sender: &mut LineSender, updates: Vec<StatusUpdate>) -> io::Result<()> {
        if updates.is_empty() {
            return Ok(());
        }
        sender.send(&FromAgent::Status { updates }).await
    }

    fn introduction(&self) -> Register {
        let knows = locked(&self.knows);
        let told = |task: &Task| !(task.status.state.is_terminal() && task.untold.is_empty());
        let tasks = knows.tasks.iter().filter(|(_, task)| told(task));
        Register {
            protocol: PROTOCOL_VERSION,
            cluster: knows.fence.as_ref().map(|fence| fence.cluster.clone()),
            seen: knows.fence.clone(),
            agent: self.info.clone(),
            proof: Proof::default(),
            yields: false,
            held_ports: PortRanges::default(),
            tasks: tasks
                .map(|(id, task)| TaskReport { task: id.clone(), status: task.status.clone() })
                .collect(),
        }
    }

    /// Whether a message is not older than what was heeded before.
    fn heeds(&self, fence: &Fence) -> bool {
        let mut knows = locked(&self.knows);
        let is_newer = knows.fence.as_ref().is_none_or(|seen| fence.is_at_least(seen));
        if is_newer {
            knows.fence = Some(fence.clone());
        }
        is_newer
    }

    /// Does what is wanted; messages to say of it, in order.
    fn assign(&self, wanted: Vec<Assignment>, shared: &Shared) -> Vec<Vec<StatusUpdate>> {
        let (mut first, mut then) = (Vec::new(), Vec::new());
        let mut knows = locked(&self.knows);
        for one in wanted {
            match one {
                Assignment::Run(launch) => {
                    if knows.tasks.contains_key(&launch.task) {
                        continue;
                    }
                    shared.launched.fetch_add(1, Ordering::Relaxed);
                    if is_double(&knows.tasks, &launch.task) {
                        shared.doubles.fetch_add(1, Ordering::Relaxed);
                    }
                    let mut task = Task::new();
                    if shared.settings.tells_starting {
                        first.push(task.tell(&launch.task, TaskState::Starting));
                    }
                    then.push(task.tell(&launch.task, TaskState::Running));
                    knows.untold.insert(launch.task.clone());
                    knows.tasks.insert(launch.task, task);
                }
                Assignment::Stop { task: id, .. } => {
                    let task = knows.tasks.entry(id.clone()).or_insert_with(Task::new);
                    if !task.status.state.is_terminal() {
                        then.push(task.tell(&id, TaskState::Killed));
                        knows.untold.insert(id);
                    }
                }
            }
        }
        vec![first, then]
    }

    fn acknowledge(&self, updates: &[UpdateId], shared: &Shared) {
        let mut knows = locked(&self.knows);
        for id in updates {
            let Some(task) = knows.tasks.get_mut(&id.task) else { continue };
            let is_told = |update: &StatusUpdate| update.id.seq <= id.seq;
            let runs = |update: &&StatusUpdate| is_told(update) && update.status.state == TaskState::Running;
            let told = task.untold.iter().filter(runs).count();
            shared.told.fetch_add(told as u64, Ordering::Relaxed);
            task.untold.retain(|update| !is_told(update));
            if task.untold.is_empty() {
                task.untold = Vec::new();
                let is_over = task.status.state.is_terminal();
                knows.untold.remove(&id.task);
                if is_over {
                    knows.tasks.remove(&id.task);
                }
            }
        }
    }

    /// What was said so long ago and not acknowledged.
    fn untold(&self, ago: Duration) -> Vec<StatusUpdate> {
        let now = Instant::now();
        let mut guard = locked(&self.knows);
        let Known { tasks, untold, .. } = &mut *guard;
        let mut late = Vec::new();
        for id in untold.iter() {
            if let Some(task) = tasks.get_mut(id).filter(|task| now - task.said_at >= ago) {
                task.said_at = now;
                late.extend(task.untold.iter().cloned());
            }
        }
        late
    }
}

impl Task {
    fn new() -> Self {
        let status = TaskStatus::new(TaskState::Staging, now(), "");
        Self { status, seq: 0, untold: Vec::new(), said_at: Instant::now() }
    }

    fn tell(&mut self, id: &TaskId, state: TaskState) -> StatusUpdate {
        self.seq += 1;
        self.said_at = Instant::now();
        let _ = mem::replace(&mut self.status, TaskStatus::new(state, now(), ""));
        let update =
            StatusUpdate { id: UpdateId { task: id.clone(), seq: self.seq }, status: self.status.clone() };
        self.untold.push(update.clone());
        update
    }
}

/// Whether another attempt of the same instance runs on the same agent.
fn is_double(tasks: &BTreeMap<TaskId, Task>, id: &TaskId) -> bool {
    let Some((instance, _)) = id.parts() else { return false };
    let near = tasks.range(TaskId::new(instance.as_str())..);
    let own = near.take_while(|(other, _)| other.as_str().starts_with(instance.as_str()));
    own.into_iter().any(|(other, task)| other != id && !task.status.state.is_terminal())
}

fn now() -> Timestamp {
    Timestamp::from_millis(SystemClock.now_millis())
}

impl CrowdSettings {
    /// Agents with so many processors and so much memory in MiB, and ports 31,000 to 32,000.
    pub fn new(masters: Vec<String>, agents: usize, cpus: f64, mem: f64) -> Self {
        let totals = Resources {
            cpus: Scalar::from_f64(cpus).unwrap_or_default(),
            mem: Scalar::from_f64(mem).unwrap_or_default(),
            disk: Scalar::from_thousandths(1_000_000_000),
            ports: PortRanges::new([(31_000, 32_000)]),
            ..Resources::default()
        };
        Self { masters, agents, totals, tells_starting: false }
    }
}
