//! One connection of one agent, from its registration to its end.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::assignments::{Sent, difference, difference_of, forgotten, outlived};
use super::recorder::{Outcome, Recorder};
use super::registration::{Admission, Heard, admit};
use super::sessions::{Changed, News, Open};
use super::{Dispatcher, HEARTBEAT, Sessions, fence};
use crate::domain::{AgentId, Hindrances, Incarnation, PortRanges, UpdateId, claim};
use crate::line::Line;
use crate::protocol::{Assignment, Fence, FromAgent, FromMaster, PROTOCOL_VERSION, Register, StatusUpdate};
use crate::state::Command;
use crate::store::{Leadership, ProposeError, StateStore, View};

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
    Ended {
        by_peer: bool,
    },
    Woken,
    Recorded(Recorded, Outcome),
    LeadershipChanged(Leadership),
    Replaced,
    Shutdown,
    /// Nothing else to do for now: what was said so far leaves together.
    Idle,
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

pub(super) async fn run(dispatcher: &Dispatcher, mut line: Line, shutdown: CancellationToken) {
    let Dispatcher { store, sessions, recorder, .. } = dispatcher;
    let first = timeout(REGISTER_TIMEOUT, line.receive::<FromAgent>()).await;
    let Ok(Ok(Some(FromAgent::Register(register)))) = first else {
        tracing::debug!("a connection for agents did not begin with a registration");
        return;
    };
    match begin(store, sessions, &mut line, &register).await {
        Ok(Some(begun)) => {
            let agent = register.agent.id.clone();
            let generation = begun.open.generation;
            let mut session = Session {
                agent: agent.clone(),
                incarnation: register.agent.incarnation.clone(),
                store: Arc::clone(store),
                leadership: store.leadership(),
                recorder: recorder.clone(),
                news: Arc::clone(&begun.open.news),
                line,
                has_unsent: false,
                last_heard: Instant::now(),
                recorded_at: None,
                term: begun.term,
                sent: Sent::new(),
                waiting: VecDeque::new(),
                lapsed: false,
                owed: Vec::new(),
            };
            let by_peer = session.run(begun.open, register, shutdown).await;
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
    line: &mut Line,
    register: &Register,
) -> io::Result<Option<Begun>> {
    let leadership = store.leadership().borrow().clone();
    if !leadership.leads {
        let leader = leadership.leader.map(|master| master.cluster);
        line.send(&FromMaster::Redirect { leader }).await?;
        return Ok(None);
    }
    let agent = &register.agent.id;
    let heard = Heard {
        listening_since: sessions.listening_since(leadership.term),
        contact: sessions.contact(agent),
    };
    match admit(&store.snapshot(), register, heard, Instant::now()) {
        Admission::Known => {}
        Admission::Refused(reason) => return refuse(line, agent, reason).await,
        Admission::Record(command) => {
            sessions.arrive(agent);
            match store.propose(vec![command], Some(leadership.term)).await {
                Ok(applied) => {
                    if let Some(refusal) = applied.refusal() {
                        return refuse(line, agent, refusal.to_string()).await;
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
    let view = store.snapshot();
    let Some(fence) = fence(&view, leadership.term) else {
        line.send(&FromMaster::Redirect { leader: None }).await?;
        return Ok(None);
    };
    let heartbeat_millis = u64::try_from(HEARTBEAT.as_millis()).unwrap_or(u64::MAX);
    let protocol = register.protocol.min(PROTOCOL_VERSION);
    line.send(&FromMaster::Welcome { protocol, fence, heartbeat_millis }).await?;
    tracing::info!(%agent, hostname = register.agent.hostname, "agent registered");
    // By the id that the state has: the roll is called by comparing the two.
    let agent = view.agents.key(agent).unwrap_or(agent);
    Ok(Some(Begun { open: sessions.open(agent), term: leadership.term }))
}

async fn refuse(line: &mut Line, agent: &AgentId, reason: String) -> io::Result<Option<Begun>> {
    tracing::warn!(%agent, reason, "agent refused");
    line.send(&FromMaster::Refuse { reason }).await?;
    Ok(None)
}

struct Session {
    agent: AgentId,
    /// Who is spoken to. Nothing is said any more once another one is recorded.
    incarnation: Incarnation,
    store: Arc<dyn StateStore>,
    leadership: watch::Receiver<Leadership>,
    recorder: Recorder,
    news: Arc<News>,
    line: Line,
    /// Whether something was said that is still here.
    has_unsent: bool,
    /// When the agent last said something.
    last_heard: Instant,
    /// Index of the latest state in which this incarnation was found.
    recorded_at: Option<u64>,
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
    async fn run(&mut self, open: Open, register: Register, shutdown: CancellationToken) -> bool {
        let end = match self.reconcile(&open, register).await {
            Ok(early) => self.attend(&open, early, &shutdown).await,
            Err(end) => end,
        };
        let _ = timeout(SEND_TIMEOUT, self.line.close()).await;
        matches!(end, End::ByPeer)
    }

    /// Serves what is heard, first what was heard `early`, until the end.
    async fn attend(&mut self, open: &Open, early: VecDeque<FromAgent>, shutdown: &CancellationToken) -> End {
        // Kept from one turn to the next, and begun anew only when they came true: most turns are
        // an agent's word that it lives, ten thousand a second.
        let (mut ends, mut replaced) = (pin!(shutdown.cancelled()), pin!(open.replaced.notified()));
        let mut news = pin!(open.news.wait());
        let mut leadership = pin!(next_leadership(self.store.leadership()));
        let mut silence = pin!(sleep_until(self.last_heard + SILENCE_MAX));
        let mut in_flight: InFlight = None;
        for said in early {
            if let Err(end) = self.on_said(said).await {
                return end;
            }
        }
        loop {
            self.propose_next(&mut in_flight);
            let has_room = self.waiting.len() < WAITING_MAX;
            let input = tokio::select! {
                biased;
                () = &mut ends => Input::Shutdown,
                () = &mut replaced => Input::Replaced,
                changed = &mut leadership => match changed {
                    Some(changes) => {
                        let now = changes.borrow().clone();
                        leadership.set(next_leadership(changes));
                        Input::LeadershipChanged(now)
                    }
                    None => Input::Shutdown,
                },
                (what, result) = recorded(&mut in_flight) => Input::Recorded(what, result),
                said = self.line.receive::<FromAgent>(), if has_room => input_of(said),
                () = &mut news, if !self.lapsed => {
                    news.set(open.news.wait());
                    Input::Woken
                }
                () = ready(()), if self.has_unsent => Input::Idle,
                () = &mut silence => {
                    let silent_at = self.last_heard + SILENCE_MAX;
                    if has_room && Instant::now() >= silent_at {
                        Input::Ended { by_peer: false }
                    } else {
                        // It is not the agent that is silent when we did not listen.
                        let next = if has_room { silent_at } else { Instant::now() + SILENCE_MAX };
                        silence.as_mut().reset(next);
                        continue;
                    }
                }
            };
            match &input {
                Input::Recorded(..) => in_flight = None,
                Input::Said(_) => self.note_heard(open),
                _ => {}
            }
            if let Err(end) = self.on_input(input).await {
                return end;
            }
        }
    }

    fn note_heard(&mut self, open: &Open) {
        self.last_heard = Instant::now();
        open.pulse.beat();
    }

    /// Settles what the state and the agent know differently, then sends everything wanted. Gives
    /// what the agent said meanwhile.
    async fn reconcile(&mut self, open: &Open, register: Register) -> Result<VecDeque<FromAgent>, End> {
        let view = self.store.snapshot();
        let mut early = VecDeque::new();
        let lost = forgotten(&self.agent, &view, &register.tasks, view.now);
        if !lost.is_empty() {
            tracing::warn!(agent = %self.agent, tasks = lost.len(), "agent does not know tasks that it had");
            let command = Command::RecordStatuses { agent: self.agent.clone(), statuses: lost };
            let store = Arc::clone(&self.store);
            let mut recorded = store.propose(vec![command], Some(self.term));
            loop {
                // Recording may take a while, and the agent lives meanwhile.
                let said = tokio::select! {
                    biased;
                    outcome = &mut recorded => {
                        outcome.map_err(|_| End::ByUs)?;
                        break;
                    }
                    said = self.line.receive::<FromAgent>(), if early.len() < WAITING_MAX => input_of(said),
                };
                match said {
                    Input::Said(said) => early.push_back(said),
                    Input::Ended { by_peer: true } => return Err(End::ByPeer),
                    _ => return Err(End::ByUs),
                }
                self.note_heard(open);
            }
        }
        let _ = self.news.take(); // All of it is looked at now.
        let view = self.store.snapshot();
        let mut news = outlived(&view, &register.tasks);
        news.extend(difference(&self.agent, &view, &mut self.sent));
        self.assign(&view, news, true).await?;
        Ok(early)
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

    fn fence(&mut self, view: &View) -> Result<Fence, End> {
        let leads = {
            let now = self.leadership.borrow();
            now.leads && now.term == self.term
        };
        if !leads || !self.is_recorded(view) {
            return Err(End::ByUs);
        }
        fence(view, self.term).ok_or(End::ByUs)
    }

    /// Whether it is this incarnation that is recorded. While no agent registers nobody is searched for.
    fn is_recorded(&mut self, view: &View) -> bool {
        let is_known = |at: u64| at <= view.index && view.knows_agents_as_of(at);
        if !self.recorded_at.is_some_and(is_known) {
            let row = view.agents.get(&self.agent);
            let is_recorded = row.is_some_and(|row| row.info.incarnation == self.incarnation);
            self.recorded_at = is_recorded.then_some(view.index);
        }
        self.recorded_at.is_some()
    }

    /// Says something, which leaves with whatever is said before there is nothing else to do.
    async fn send(&mut self, message: &FromMaster) -> Result<(), End> {
        self.has_unsent = true;
        sent(timeout(SEND_TIMEOUT, self.line.feed(message)).await)
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.has_unsent = false;
        sent(timeout(SEND_TIMEOUT, self.line.flush()).await)
    }

    async fn on_input(&mut self, input: Input) -> Result<(), End> {
        self.lapsed = {
            let now = self.leadership.borrow();
            now.term == self.term && !now.leads
        };
        match input {
            Input::Idle => self.flush().await,
            Input::Said(said) => self.on_said(said).await,
            Input::Ended { by_peer } => Err(if by_peer { End::ByPeer } else { End::ByUs }),
            Input::Woken => self.tell_news().await,
            Input::Recorded(what, outcome) => self.on_recorded(what, outcome).await,
            Input::LeadershipChanged(now) => self.on_leadership(now).await,
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
            FromAgent::Heartbeat { quiet, .. } if quiet || self.lapsed => Ok(()),
            FromAgent::Heartbeat { seq, .. } => {
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

fn sent<T>(outcome: Result<io::Result<()>, T>) -> Result<(), End> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::ByPeer),
        Err(_) => Err(End::ByUs),
    }
}

async fn recorded(in_flight: &mut InFlight) -> (Recorded, Outcome) {
    match in_flight {
        Some(proposal) => proposal.await,
        None => pending().await,
    }
}

/// Waits until somebody else leads, or leads again; nothing when this master ends.
async fn next_leadership(mut changes: watch::Receiver<Leadership>) -> Option<watch::Receiver<Leadership>> {
    changes.changed().await.ok()?;
    Some(changes)
}

fn input_of(said: io::Result<Option<FromAgent>>) -> Input {
    match said {
        Ok(Some(message)) => Input::Said(message),
        Ok(None) => Input::Ended { by_peer: true },
        Err(error) => Input::Ended { by_peer: error.kind() != io::ErrorKind::InvalidData },
    }
}
