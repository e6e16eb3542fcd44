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
use crate::domain::{AgentId, Timestamp};
use crate::state::{AgentRow, ClusterState, Command, Presence};

/// How often the leader looks at its agents' clocks; also the beat by which it notices
/// that it had stalled itself.
const PULSE: Duration = Duration::from_millis(500);

/// A look that comes so much later than meant shows that the leader itself had stalled.
const STALL: Duration = Duration::from_secs(1);

/// Share of registered agents, in percent, that must be back before anybody is judged.
const BACK_PERCENT: usize = 95;

/// After this time agents are judged though few came back.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Who speaks and when they last did: the dispatcher's sessions, or a test's.
pub trait Contacts: Send + Sync + 'static {
    /// What is known of an agent's connection.
    fn contact(&self, agent: &AgentId) -> Contact;

    /// Rings at every connection that opens or closes.
    fn changes(&self) -> watch::Receiver<u64>;
}

impl Contacts for Sessions {
    fn contact(&self, agent: &AgentId) -> Contact {
        Self::contact(self, agent)
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
}

impl AgentLiveness {
    pub(super) fn new(
        store: LeaderStore,
        contacts: Arc<dyn Contacts>,
        limits: LivenessLimits,
        stats: Arc<LeaderStats>,
    ) -> Self {
        Self { store, contacts, limits, stats, clocks: Clocks::starting(Instant::now()) }
    }

    async fn look(&mut self) -> Result<Option<Instant>, Unrecorded> {
        let now = Instant::now();
        if self.clocks.has_stalled(now) {
            tracing::warn!("this leader had stalled; absence of agents is counted afresh");
            LeaderStats::add(&self.stats.stalls, 1);
            self.clocks = Clocks::starting(now);
        }
        let (view, moment) = self.store.look();
        let judged = self.judge(&view, now, moment);
        if !judged.commands.is_empty() {
            LeaderStats::add(&self.stats.agents_lost, judged.lost);
            self.store.propose(judged.commands).await?;
        }
        self.clocks.planned = judged.watches.then(|| Instant::now() + PULSE);
        Ok(self.clocks.planned)
    }

    fn judge(&mut self, state: &ClusterState, now: Instant, moment: Timestamp) -> Judgement {
        self.settle(state, now);
        let mut judged = Judgement { commands: Vec::new(), lost: 0, watches: !state.agents.is_empty() };
        for row in state.agents.values() {
            let id = &row.info.id;
            let contact = self.contacts.contact(id);
            match row.presence {
                Presence::Registered if self.clocks.has_settled && self.is_away(contact, now) => {
                    tracing::warn!(agent = %id, ?contact, "agent is unreachable");
                    judged.lost += 1;
                    let run = row.info.incarnation.run;
                    judged.commands.push(Command::MarkAgentUnreachable {
                        agent: id.clone(),
                        run,
                        since: moment,
                    });
                }
                Presence::Unreachable { .. } if self.speaks(contact, now) => {
                    judged.commands.push(welcome_back(row));
                }
                Presence::Registered | Presence::Unreachable { .. } => {}
            }
        }
        judged
    }

    fn settle(&mut self, state: &ClusterState, now: Instant) {
        if self.clocks.has_settled {
            return;
        }
        let present = state.agents.values().filter(|row| row.presence == Presence::Registered);
        let (mut known, mut back) = (0_usize, 0_usize);
        for row in present {
            known += 1;
            let contact = self.contacts.contact(&row.info.id);
            let is_back =
                matches!(contact, Contact::Connected { last_heard } if last_heard >= self.clocks.from);
            back += usize::from(is_back);
        }
        let are_back = back * 100 >= known * BACK_PERCENT;
        self.clocks.has_settled = are_back || now.duration_since(self.clocks.from) >= SETTLE_MAX;
    }

    /// Whether an agent has been away for longer than its kind of absence allows.
    fn is_away(&self, contact: Contact, now: Instant) -> bool {
        let from = self.clocks.from;
        let (since, limit) = match contact {
            Contact::Connected { last_heard } => (last_heard, self.limits.agent_timeout),
            Contact::Closed { since, .. } if since >= from => (since, self.limits.restart_grace),
            Contact::Closed { .. } => (from, self.limits.restart_grace),
            Contact::Never => (from, self.limits.agent_timeout),
        };
        now.duration_since(since.max(from)) >= limit
    }

    /// Whether an agent speaks on a connection that is open now. One that opened a new
    /// connection has registered again already; this one was judged while its words were late.
    fn speaks(&self, contact: Contact, now: Instant) -> bool {
        !self.limits.is_suspect(contact, now)
    }
}

fn welcome_back(row: &AgentRow) -> Command {
    Command::RegisterAgent {
        info: Box::new(row.info.clone()),
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
