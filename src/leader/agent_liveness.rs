//! Silent agents become unreachable, agents that speak again come back.
//!
//! Two kinds of absence. *Closed*: the agent's kernel closed the connection, so its host
//! lives and the agent is probably being restarted: a long grace. *Silent*: no packet:
//! suspect soon, unreachable a little later. Harm: nobody is judged for our own
//! ignorance. A new leader, and one that finds it had itself stalled, starts every clock
//! afresh, and judges nobody before most agents are back or a while has passed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Controller, LeaderStats, LeaderStore, Unrecorded};
use crate::dispatcher::{Contact, Sessions};
use crate::domain::{AgentId, AgentInfo, Timestamp};
use crate::state::{AgentRow, ClusterState, Command, Presence};

/// How often the leader looks at its agents' clocks; also the beat by which it notices
/// that it had stalled itself.
const PULSE: Duration = Duration::from_millis(500);

/// Changes of the state bring no further look within this time, unless a connection opened or closed:
/// in a storm of launches there are hundreds a second, and each look asks every agent.
const LOOK_AGE_MAX: Duration = Duration::from_millis(100);

/// A look that comes so much later than meant shows that the leader itself had stalled.
const STALL: Duration = Duration::from_secs(1);

/// Share of registered agents, in percent, that must be back before anybody is judged.
const BACK_PERCENT: usize = 95;

/// After this time agents are judged though few came back.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Who speaks and when they last did: the dispatcher's sessions, or a test's.
pub trait Contacts: Send + Sync + 'static {
    /// Shows every agent that ever connected here, in the order of their ids.
    fn visit(&self, visit: &mut dyn FnMut(&AgentId, Contact));

    /// Rings at every connection that opens or closes.
    fn changes(&self) -> watch::Receiver<u64>;
}

impl Contacts for Sessions {
    fn visit(&self, visit: &mut dyn FnMut(&AgentId, Contact)) {
        Self::visit(self, visit);
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }
}

/// When absence counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessLimits {
    /// A silent agent gets no new tasks after this time.
    pub suspect_after: Duration,
    /// A silent agent is unreachable after this time.
    pub agent_timeout: Duration,
    /// An agent whose connection was closed is unreachable after this time.
    pub restart_grace: Duration,
}

impl Default for LivenessLimits {
    fn default() -> Self {
        Self {
            suspect_after: Duration::from_secs(3),
            agent_timeout: Duration::from_secs(10),
            restart_grace: Duration::from_secs(60),
        }
    }
}

/// From when silence counts.
struct Clocks {
    /// No absence is counted from before this moment.
    from: Instant,
    /// Whether enough agents came back since, or enough time has passed.
    has_settled: bool,
    /// When the next look was meant to be.
    planned: Option<Instant>,
}

impl Clocks {
    fn starting(now: Instant) -> Self {
        Self { from: now, has_settled: false, planned: None }
    }

    fn has_stalled(&self, now: Instant) -> bool {
        self.planned.is_some_and(|planned| now.duration_since(planned) > STALL)
    }
}

/// What one look found.
struct Judgement {
    commands: Vec<Command>,
    lost: usize,
    /// Whether any agent is to be watched.
    watches: bool,
}

pub(super) struct AgentLiveness {
    store: LeaderStore,
    contacts: Arc<dyn Contacts>,
    limits: LivenessLimits,
    stats: Arc<LeaderStats>,
    clocks: Clocks,
    /// When every agent was last looked at, and how many connections had opened or closed by then.
    looked: Option<(Instant, u64)>,
}

impl AgentLiveness {
    pub(super) fn new(
        store: LeaderStore,
        contacts: Arc<dyn Contacts>,
        limits: LivenessLimits,
        stats: Arc<LeaderStats>,
    ) -> Self {
        Self { store, contacts, limits, stats, clocks: Clocks::starting(Instant::now()), looked: None }
    }

    async fn look(&mut self) -> Result<Option<Instant>, Unrecorded> {
        let now = Instant::now();
        if self.clocks.has_stalled(now) {
            tracing::warn!("this leader had stalled; absence of agents is counted afresh");
            LeaderStats::add(&self.stats.stalls, 1);
            self.clocks = Clocks::starting(now);
        }
        let connections = *self.contacts.changes().borrow();
        let is_recent =
            |(at, then): (Instant, u64)| then == connections && now.duration_since(at) < LOOK_AGE_MAX;
        if self.looked.is_some_and(is_recent) && self.clocks.planned.is_some() {
            return Ok(self.clocks.planned);
        }
        let (view, moment) = self.store.look();
        let judged = self.judge(&view, now, moment);
        if !judged.commands.is_empty() {
            LeaderStats::add(&self.stats.agents_lost, judged.lost);
            self.store.propose(judged.commands).await?;
        }
        self.clocks.planned = judged.watches.then(|| Instant::now() + PULSE);
        self.looked = Some((now, connections));
        Ok(self.clocks.planned)
    }

    fn judge(&mut self, state: &ClusterState, now: Instant, moment: Timestamp) -> Judgement {
        self.settle(state, now);
        let mut judged = Judgement { commands: Vec::new(), lost: 0, watches: !state.agents.is_empty() };
        let clocks = &self.clocks;
        let mut look_at = |row: &AgentRow, contact: Contact| match row.presence {
            Presence::Registered if clocks.has_settled && self.limits.is_away(contact, now, clocks.from) => {
                let id = &row.info.id;
                tracing::warn!(agent = %id, why = absence(contact, now, clocks.from), "agent is unreachable");
                judged.lost += 1;
                let run = row.info.incarnation.run;
                judged.commands.push(Command::MarkAgentUnreachable { agent: id.clone(), run, since: moment });
            }
            // It speaks on a connection that is open now. One that opened a new connection has
            // registered again already; this one was judged while its words were late.
            Presence::Unreachable { .. } if !self.limits.is_suspect(contact, now) => {
                judged.commands.push(welcome_back(row));
            }
            Presence::Registered | Presence::Unreachable { .. } => {}
        };
        each(&*self.contacts, state, &mut look_at);
        judged
    }

    fn settle(&mut self, state: &ClusterState, now: Instant) {
        if self.clocks.has_settled {
            return;
        }
        let (mut known, mut back) = (0_usize, 0_usize);
        let from = self.clocks.from;
        each(&*self.contacts, state, &mut |row, contact| {
            let is_back = matches!(contact, Contact::Connected { last_heard } if last_heard >= from);
            let is_present = row.presence == Presence::Registered;
            known += usize::from(is_present);
            back += usize::from(is_present && is_back);
        });
        let are_back = back * 100 >= known * BACK_PERCENT;
        self.clocks.has_settled = are_back || now.duration_since(self.clocks.from) >= SETTLE_MAX;
    }
}

impl LivenessLimits {
    /// Whether an agent has been away for longer than its kind of absence allows; no absence is
    /// counted from before the moment `from`.
    fn is_away(&self, contact: Contact, now: Instant, from: Instant) -> bool {
        let (since, limit) = match contact {
            Contact::Connected { last_heard } => (last_heard, self.agent_timeout),
            Contact::Closed { since, .. } if since >= from => (since, self.restart_grace),
            Contact::Closed { .. } => (from, self.restart_grace),
            Contact::Never => (from, self.agent_timeout),
        };
        now.duration_since(since.max(from)) >= limit
    }
}

/// For people: how an agent is away, in the words of [`crate::scheduler::Suspicion`].
fn absence(contact: Contact, now: Instant, from: Instant) -> String {
    let lasts = |since: Instant| format!("{:.1} s", now.duration_since(since).as_secs_f64());
    match contact {
        Contact::Connected { last_heard } => format!("silent for {}", lasts(last_heard)),
        Contact::Closed { since, .. } => format!("closed its connection {} ago", lasts(since)),
        Contact::Never => format!("has not come to this leader in {}", lasts(from)),
    }
}

/// Every recorded agent, and what is known of its connection. Both are in the order of ids, so that
/// nobody is searched for.
pub(super) fn each(
    contacts: &dyn Contacts,
    state: &ClusterState,
    look_at: &mut dyn FnMut(&AgentRow, Contact),
) {
    let mut agents = state.agents.iter().peekable();
    contacts.visit(&mut |known, contact| {
        while let Some((id, row)) = agents.next_if(|(id, _)| *id <= known) {
            look_at(row, if id == known { contact } else { Contact::Never });
        }
    });
    agents.for_each(|(_, row)| look_at(row, Contact::Never));
}

fn welcome_back(row: &AgentRow) -> Command {
    Command::RegisterAgent {
        info: Box::new(AgentInfo::clone(&row.info)),
        held_ports: row.held_ports.clone(),
        proof: row.proof.clone(),
    }
}

impl Controller for AgentLiveness {
    fn name(&self) -> &'static str {
        "agent_liveness"
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(self.look())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::StateStore;
    use crate::store::in_memory::InMemoryStore;
    use crate::testkit::an_agent;
    use crate::world::ManualClock;

    /// An agent that talks, and how often somebody asked.
    struct Asked {
        times: AtomicUsize,
        connections: watch::Sender<u64>,
    }

    impl Contacts for Asked {
        fn visit(&self, visit: &mut dyn FnMut(&AgentId, Contact)) {
            self.times.fetch_add(1, Ordering::Relaxed);
            visit(&AgentId::new("a1"), Contact::Connected { last_heard: Instant::now() });
        }

        fn changes(&self) -> watch::Receiver<u64> {
            self.connections.subscribe()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn absences_are_told_in_words_and_seconds() {
        let from = Instant::now();
        let at = |millis: u64| from + Duration::from_millis(millis);
        let told = |contact| absence(contact, at(70_000), from);
        assert_eq!(told(Contact::Connected { last_heard: at(59_960) }), "silent for 10.0 s");
        let closed = Contact::Closed { since: at(9_500), last_heard: at(9_000) };
        assert_eq!(told(closed), "closed its connection 60.5 s ago");
        assert_eq!(told(Contact::Never), "has not come to this leader in 70.0 s");
    }

    #[tokio::test(start_paused = true)]
    async fn agents_are_asked_anew_after_a_while_and_at_every_connection() {
        let clock = Arc::new(ManualClock::at(1_000));
        let store = Arc::new(InMemoryStore::new(Arc::clone(&clock) as Arc<_>));
        store.record(vec![an_agent("a1").register()]);
        let store = LeaderStore::new(store as Arc<dyn StateStore>, clock, 1);
        let asked = Arc::new(Asked { times: AtomicUsize::new(0), connections: watch::channel(0).0 });
        let contacts = Arc::clone(&asked) as Arc<dyn Contacts>;
        let mut liveness = AgentLiveness::new(store, contacts, LivenessLimits::default(), Arc::default());
        let first = liveness.look().await.unwrap();
        let times = || asked.times.swap(0, Ordering::Relaxed);
        assert!(times() > 0);
        assert_eq!(liveness.look().await.unwrap(), first, "the next look stays where it was");
        assert_eq!(times(), 0, "asked a moment ago");
        asked.connections.send_modify(|count| *count += 1);
        liveness.look().await.unwrap();
        assert!(times() > 0, "somebody came or went");
        tokio::time::advance(LOOK_AGE_MAX).await;
        liveness.look().await.unwrap();
        assert!(times() > 0, "a while has passed");
    }
}
