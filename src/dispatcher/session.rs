//! One connection of one agent, from its registration to its end.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::assignments::{Sent, difference, difference_of, forgotten, outlived};
use super::recorder::{Outcome, Recorder};
use super::registration::{Admission, Heard, admit};
use super::sessions::{Changed, News, Open, Pulse};
use super::{Dispatcher, HEARTBEAT, Sessions, fence};
use crate::domain::{AgentId, Hindrances, Incarnation, PortRanges, UpdateId, claim};
use crate::line::{Line, LineReceiver, LineSender};
use crate::protocol::{Assignment, Fence, FromAgent, FromMaster, PROTOCOL_VERSION, Register, StatusUpdate};
use crate::state::{AgentRow, Command};
use crate::store::{Leadership, ProposeError, StateStore, View};
use crate::world;

/// Longest wait for the first message of a connection.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for an agent to take one message off the line.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that says nothing for so long is given up; heartbeats come every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Messages of one agent that wait to be recorded; beyond it nothing more is read from the agent.
const WAITING_MAX: usize = 64;

/// Tasks named in one message at most, so that a frame stays far below its limit.
const ASSIGNMENTS_PER_MESSAGE: usize = 256;

/// What a session's loop hears.
#[expect(clippy::large_enum_variant, reason = "made one at a time and moved at once; never kept in bulk")]
enum Input {
    Said(FromAgent),
    Ended { by_peer: bool },
    Woken,
    Recorded(Recorded, Outcome),
    LeadershipChanged,
    Replaced,
    Shutdown,
}

/// What was proposed on behalf of the agent.
enum Recorded {
    Statuses(Vec<UpdateId>),
    /// Something that the agent is not told of.
    Fact,
}

/// What waits to be proposed.
enum Waiting {
    Statuses(Vec<StatusUpdate>),
    HeldPorts(PortRanges),
    Hindrances(Hindrances),
}

pub(super) async fn run(dispatcher: &Dispatcher, line: Line, shutdown: CancellationToken) {
    let Dispatcher { store, sessions, recorder, .. } = dispatcher;
    let (mut sender, mut receiver) = line.split();
    let first = timeout(REGISTER_TIMEOUT, receiver.receive::<FromAgent>()).await;
    let Ok(Ok(Some(FromAgent::Register(register)))) = first else {
        tracing::debug!("a connection for agents did not begin with a registration");
        return;
    };
    match begin(store, sessions, &mut sender, &register).await {
        Ok(Some(begun)) => {
            let agent = register.agent.id.clone();
            let generation = begun.open.generation;
            let mut session = Session {
                agent: agent.clone(),
                incarnation: register.agent.incarnation.clone(),
                store: Arc::clone(store),
                recorder: recorder.clone(),
                news: Arc::clone(&begun.open.news),
                sender,
                term: begun.term,
                sent: Sent::new(),
                waiting: VecDeque::new(),
                lapsed: false,
                owed: Vec::new(),
            };
            let by_peer = session.run(begun.open, register, receiver, shutdown).await;
            sessions.close(&agent, generation, by_peer);
            tracing::info!(%agent, by_peer, "agent disconnected");
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(agent = %register.agent.id, %error, "registration failed"),
    }
}

/// A registration that was admitted.
struct Begun {
    open: Open,
    term: u64,
}

async fn begin(
    store: &Arc<dyn StateStore>,
    sessions: &Sessions,
    sender: &mut LineSender,
    register: &Register,
) -> io::Result<Option<Begun>> {
    let leadership = store.leadership().borrow().clone();
    if !leadership.leads {
        let leader = leadership.leader.map(|master| master.cluster);
        sender.send(&FromMaster::Redirect { leader }).await?;
        return Ok(None);
    }
    let agent = &register.agent.id;
    let heard = Heard {
        listening_since: sessions.listening_since(leadership.term),
        contact: sessions.contact(agent),
    };
    match admit(&store.snapshot(), register, heard, Instant::now()) {
        Admission::Known => {}
        Admission::Refused(reason) => return refuse(sender, agent, reason).await,
        Admission::Record(command) => {
            sessions.arrive(agent);
            match store.propose(vec![command], Some(leadership.term)).await {
                Ok(applied) => {
                    if let Some(refusal) = applied.refusal() {
                        return refuse(sender, agent, refusal.to_string()).await;
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
    let view = store.snapshot();
    let Some(fence) = fence(&view, leadership.term) else {
        sender.send(&FromMaster::Redirect { leader: None }).await?;
        return Ok(None);
    };
    let heartbeat_millis = u64::try_from(HEARTBEAT.as_millis()).unwrap_or(u64::MAX);
    let protocol = register.protocol.min(PROTOCOL_VERSION);
    sender.send(&FromMaster::Welcome { protocol, fence, heartbeat_millis }).await?;
    tracing::info!(%agent, hostname = register.agent.hostname, "agent registered");
    Ok(Some(Begun { open: sessions.open(agent), term: leadership.term }))
}

async fn refuse(sender: &mut LineSender, agent: &AgentId, reason: String) -> io::Result<Option<Begun>> {
    tracing::warn!(%agent, reason, "agent refused");
    sender.send(&FromMaster::Refuse { reason }).await?;
    Ok(None)
}

struct Session {
    agent: AgentId,
    /// Who is spoken to. Nothing is said any more once another one is recorded.
    incarnation: Incarnation,
    store: Arc<dyn StateStore>,
    recorder: Recorder,
    news: Arc<News>,
    sender: LineSender,
    term: u64,
    sent: Sent,
    waiting: VecDeque<Waiting>,
    /// Whether the quorum was silent for so long that nothing may be said in this term for now.
    /// It mostly answers again before the agent loses patience; thousands of agents that came
    /// anew would only make a busy leader slower.
    lapsed: bool,
    /// To be acknowledged once that is over.
    owed: Vec<UpdateId>,
}

type InFlight = Option<BoxFuture<'static, (Recorded, Outcome)>>;

impl Session {
    /// Serves until the end; says whether the agent's side closed the connection.
    async fn run(
        &mut self,
        open: Open,
        register: Register,
        receiver: LineReceiver,
        shutdown: CancellationToken,
    ) -> bool {
        let (said, mut hears) = mpsc::channel(1);
        let reading = world::spawn(read(receiver, said, open.pulse.clone()));
        let mut leadership = self.store.leadership();
        let mut in_flight: InFlight = None;
        let mut by_peer = false;
        if self.reconcile(&register).await.is_ok() {
            loop {
                self.propose_next(&mut in_flight);
                let hears = (&mut hears, self.waiting.len() < WAITING_MAX);
                let input = next(hears, &open, &mut in_flight, &mut leadership, self.lapsed, &shutdown).await;
                if let Input::Recorded(..) = &input {
                    in_flight = None;
                }
                self.lapsed = {
                    let now = leadership.borrow();
                    now.term == self.term && !now.leads
                };
                match self.on_input(input, &leadership).await {
                    Ok(()) => {}
                    Err(End::ByPeer) => {
                        by_peer = true;
                        break;
                    }
                    Err(End::ByUs) => break,
                }
            }
        }
        reading.abort();
        let _ = timeout(SEND_TIMEOUT, self.sender.close()).await;
        by_peer
    }

    /// Settles what the state and the agent know differently, then sends everything wanted.
    async fn reconcile(&mut self, register: &Register) -> Result<(), End> {
        let view = self.store.snapshot();
        let lost = forgotten(&self.agent, &view, &register.tasks, view.now);
        if !lost.is_empty() {
            tracing::warn!(agent = %self.agent, tasks = lost.len(), "agent does not know tasks that it had");
            let command = Command::RecordStatuses { agent: self.agent.clone(), statuses: lost };
            self.store.propose(vec![command], Some(self.term)).await.map_err(|_| End::ByUs)?;
        }
        let _ = self.news.take(); // All of it is looked at now.
        let view = self.store.snapshot();
        let mut news = outlived(&view, &register.tasks);
        news.extend(difference(&self.agent, &view, &mut self.sent));
        self.assign(&view, news, true).await
    }

    /// Sends assignments computed from `view`, under that very index: an agent drops what
    /// was computed before something it has seen acknowledged.
    async fn assign(&mut self, view: &View, mut news: Vec<Assignment>, full: bool) -> Result<(), End> {
        if news.is_empty() && !full {
            return Ok(());
        }
        // Only a message that names everything may say so.
        let full = full && news.len() <= ASSIGNMENTS_PER_MESSAGE;
        loop {
            let rest = news.split_off(news.len().min(ASSIGNMENTS_PER_MESSAGE));
            let fence = self.fence(view)?;
            self.send(&FromMaster::Assign { fence, full, tasks: news }).await?;
            if rest.is_empty() {
                return Ok(());
            }
            news = rest;
        }
    }

    fn fence(&self, view: &View) -> Result<Fence, End> {
        let leadership = self.store.leadership();
        let leads = {
            let now = leadership.borrow();
            now.leads && now.term == self.term
        };
        let is_recorded = |row: &Arc<AgentRow>| row.info.incarnation == self.incarnation;
        if !leads || !view.agents.get(&self.agent).is_some_and(is_recorded) {
            return Err(End::ByUs);
        }
        fence(view, self.term).ok_or(End::ByUs)
    }

    async fn send(&mut self, message: &FromMaster) -> Result<(), End> {
        match timeout(SEND_TIMEOUT, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::ByPeer),
            Err(_) => Err(End::ByUs),
        }
    }

    async fn on_input(&mut self, input: Input, leadership: &watch::Receiver<Leadership>) -> Result<(), End> {
        match input {
            Input::Said(said) => self.on_said(said).await,
            Input::Ended { by_peer } => Err(if by_peer { End::ByPeer } else { End::ByUs }),
            Input::Woken => self.tell_news().await,
            Input::Recorded(what, outcome) => self.on_recorded(what, outcome).await,
            Input::LeadershipChanged => {
                let now = leadership.borrow().clone();
                self.on_leadership(now).await
            }
            Input::Replaced | Input::Shutdown => Err(End::ByUs),
        }
    }

    /// Tells what changed since the last time, once that may be said.
    async fn tell_news(&mut self) -> Result<(), End> {
        if self.lapsed {
            return Ok(());
        }
        let changed = self.news.take();
        let view = self.store.snapshot();
        let news = match changed {
            Changed::Some(ids) => difference_of(&self.agent, &ids, &view, &mut self.sent),
            Changed::Any => difference(&self.agent, &view, &mut self.sent),
        };
        self.assign(&view, news, false).await
    }

    async fn on_leadership(&mut self, now: Leadership) -> Result<(), End> {
        if now.term != self.term {
            let leader = now.leader.map(|master| master.cluster);
            self.send(&FromMaster::Redirect { leader }).await?;
            return Err(End::ByUs);
        }
        self.lapsed = !now.leads;
        if !self.lapsed && !self.owed.is_empty() {
            let fence = self.fence(&self.store.snapshot())?;
            let updates = std::mem::take(&mut self.owed);
            self.send(&FromMaster::Acknowledge { fence, updates }).await?;
        }
        self.tell_news().await
    }

    async fn on_said(&mut self, said: FromAgent) -> Result<(), End> {
        match said {
            FromAgent::Register(_) => Err(End::ByUs), // Once per connection.
            FromAgent::Heartbeat { .. } if self.lapsed => Ok(()),
            FromAgent::Heartbeat { seq } => {
                let fence = self.fence(&self.store.snapshot())?;
                self.send(&FromMaster::HeartbeatAck { fence, seq }).await
            }
            FromAgent::Status { updates } => {
                self.waiting.push_back(Waiting::Statuses(updates));
                Ok(())
            }
            FromAgent::HeldPorts { ports } => {
                self.refuse_any(claim::held_ports_fault(&ports))?;
                self.waiting.push_back(Waiting::HeldPorts(ports));
                Ok(())
            }
            FromAgent::Hindered { hindrances } => {
                self.refuse_any(claim::hindrances_fault(&hindrances))?;
                self.waiting.push_back(Waiting::Hindrances(hindrances));
                Ok(())
            }
        }
    }

    fn refuse_any(&self, fault: Option<String>) -> Result<(), End> {
        let Some(fault) = fault else { return Ok(()) };
        tracing::warn!(agent = %self.agent, fault, "an agent's word cannot be; its connection is closed");
        Err(End::ByUs)
    }

    /// Proposes what waits first, when nothing is under way: an agent's words stay in order.
    fn propose_next(&mut self, in_flight: &mut InFlight) {
        if in_flight.is_some() {
            return;
        }
        // An agent tells at each connection; mostly that is known.
        while let Some(Waiting::Hindrances(told)) = self.waiting.front()
            && self.store.snapshot().agents.get(&self.agent).is_some_and(|row| row.hindrances == *told)
        {
            self.waiting.pop_front();
        }
        let Some(next) = self.waiting.pop_front() else { return };
        let agent = self.agent.clone();
        let (what, command) = match next {
            Waiting::Statuses(updates) => {
                let ids = updates.iter().map(|update| update.id.clone()).collect();
                let statuses = updates.into_iter().map(|update| (update.id.task, update.status)).collect();
                (Recorded::Statuses(ids), Command::RecordStatuses { agent, statuses })
            }
            Waiting::HeldPorts(ports) => (Recorded::Fact, Command::SetHeldPorts { agent, ports }),
            Waiting::Hindrances(hindrances) => (Recorded::Fact, Command::SetHindrances { agent, hindrances }),
        };
        let (recorder, term) = (self.recorder.clone(), self.term);
        *in_flight = Some(Box::pin(async move { (what, recorder.record(command, term).await) }));
    }

    async fn on_recorded(&mut self, what: Recorded, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Ok(index) => {
                let Recorded::Statuses(updates) = what else { return Ok(()) };
                if self.lapsed {
                    self.owed.extend(updates);
                    return Ok(());
                }
                let mut fence = self.fence(&self.store.snapshot())?;
                fence.index = fence.index.max(index);
                self.send(&FromMaster::Acknowledge { fence, updates }).await
            }
            // The agent repeats itself, so nothing is lost.
            Err(ProposeError::Busy | ProposeError::OutcomeUnknown(_)) => Ok(()),
            Err(ProposeError::NotLeader | ProposeError::TermEnded) => Err(End::ByUs),
        }
    }
}

/// Why a session ends.
enum End {
    ByPeer,
    ByUs,
}

async fn next(
    (hears, has_room): (&mut mpsc::Receiver<Input>, bool),
    open: &Open,
    in_flight: &mut InFlight,
    leadership: &mut watch::Receiver<Leadership>,
    lapsed: bool,
    shutdown: &CancellationToken,
) -> Input {
    let recorded = async {
        match in_flight {
            Some(proposal) => proposal.await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Input::Shutdown,
        () = open.replaced.notified() => Input::Replaced,
        changed = leadership.changed() => if changed.is_ok() { Input::LeadershipChanged } else { Input::Shutdown },
        (what, result) = recorded => Input::Recorded(what, result),
        said = hears.recv(), if has_room => said.unwrap_or(Input::Ended { by_peer: true }),
        () = open.news.wait(), if !lapsed => Input::Woken,
    }
}

/// Reads the agent's messages and notes that it lives, however long recording takes.
async fn read(mut receiver: LineReceiver, said: mpsc::Sender<Input>, pulse: Pulse) {
    loop {
        let input = match timeout(SILENCE_MAX, receiver.receive::<FromAgent>()).await {
            Ok(Ok(Some(message))) => {
                pulse.beat();
                Input::Said(message)
            }
            Ok(Ok(None)) => Input::Ended { by_peer: true },
            Ok(Err(error)) => Input::Ended { by_peer: error.kind() != io::ErrorKind::InvalidData },
            Err(_) => Input::Ended { by_peer: false },
        };
        let is_end = matches!(input, Input::Ended { .. });
        if said.send(input).await.is_err() || is_end {
            return;
        }
    }
}
