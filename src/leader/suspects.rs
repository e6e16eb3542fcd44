//! Which agents get no new tasks now: the one answer, for the scheduling cycle and for whoever
//! asks why an app waits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::agent_liveness::{Contacts, LivenessLimits, each};
use crate::dispatcher::Contact;
use crate::domain::AgentId;
use crate::scheduler::{Suspects, Suspicion};
use crate::state::{ClusterState, Presence};

/// How long one roll call is good for while no connection opens or closes. Short beside the seconds
/// after which silence counts, and long beside a cycle, which must not ask every agent.
const ROLL_CALL_AGE_MAX: Duration = Duration::from_millis(250);

/// Knows when agents spoke, and when silence counts. Means something only while this master
/// leads: agents speak to nobody else.
#[derive(Clone)]
pub struct RollCall {
    contacts: Arc<dyn Contacts>,
    limits: LivenessLimits,
}

impl RollCall {
    /// Over the leader's contacts.
    pub fn new(contacts: Arc<dyn Contacts>, limits: LivenessLimits) -> Self {
        Self { contacts, limits }
    }

    /// Agents that are recorded as registered but are silent, or have not come to this leader.
    pub fn suspects(&self, state: &ClusterState) -> Suspects {
        let now = Instant::now();
        let mut suspects = Suspects::new();
        each(&*self.contacts, state, &mut |row, contact| {
            let suspicion = self.limits.suspicion(contact, now);
            if let Some(suspicion) = suspicion.filter(|_| row.presence == Presence::Registered) {
                suspects.insert(row.info.id.clone(), suspicion);
            }
        });
        suspects
    }
}

/// Agents that the cycles avoid, kept from one roll call to the next.
#[derive(Default)]
pub(super) struct Avoided {
    agents: BTreeSet<AgentId>,
    /// When the roll was called, and how many connections had opened or closed by then.
    called: Option<(Instant, u64)>,
}

impl Avoided {
    /// The agents to avoid in `state`.
    pub(super) fn now(&mut self, roll_call: &RollCall, state: &ClusterState) -> &BTreeSet<AgentId> {
        let (now, connections) = (Instant::now(), *roll_call.contacts.changes().borrow());
        let is_good =
            |(at, then): (Instant, u64)| then == connections && now.duration_since(at) < ROLL_CALL_AGE_MAX;
        if !self.called.is_some_and(is_good) {
            self.agents = roll_call.suspects(state).into_keys().collect();
            self.called = Some((now, connections));
        }
        &self.agents
    }
}

impl LivenessLimits {
    /// Why an agent gets no new tasks: it is away, or silent for a while.
    fn suspicion(&self, contact: Contact, now: Instant) -> Option<Suspicion> {
        match contact {
            Contact::Connected { last_heard } => {
                let lasts = now.duration_since(last_heard);
                let limit = self.agent_timeout;
                (lasts >= self.suspect_after).then_some(Suspicion::Silent { lasts, limit })
            }
            Contact::Closed { since, .. } => {
                let lasts = now.duration_since(since);
                Some(Suspicion::Closed { lasts, limit: self.restart_grace })
            }
            Contact::Never => Some(Suspicion::NotYetBack),
        }
    }

    /// Whether an agent gets no new tasks.
    pub(super) fn is_suspect(&self, contact: Contact, now: Instant) -> bool {
        self.suspicion(contact, now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::watch;

    use super::*;
    use crate::testkit::Playground;

    /// Agents of which all spoke at one moment.
    struct Roll {
        heard: Mutex<Instant>,
        connections: watch::Sender<u64>,
    }

    impl Contacts for Roll {
        fn visit(&self, visit: &mut dyn FnMut(&AgentId, Contact)) {
            let last_heard = *self.heard.lock().unwrap();
            let agents = ["a1", "a2"].map(AgentId::new);
            agents.iter().for_each(|agent| visit(agent, Contact::Connected { last_heard }));
        }

        fn changes(&self) -> watch::Receiver<u64> {
            self.connections.subscribe()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_roll_is_called_anew_after_a_while_and_at_every_connection() {
        let ground = Playground::with_agents(2);
        let limits = LivenessLimits::default();
        let roll = Arc::new(Roll { heard: Mutex::new(Instant::now()), connections: watch::channel(0).0 });
        let roll_call = RollCall::new(Arc::clone(&roll) as Arc<dyn Contacts>, limits);
        let mut avoided = Avoided::default();
        tokio::time::advance(limits.suspect_after).await;
        assert_eq!(avoided.now(&roll_call, &ground.state).len(), 2, "silent for too long");
        *roll.heard.lock().unwrap() = Instant::now();
        assert_eq!(avoided.now(&roll_call, &ground.state).len(), 2, "asked a moment ago");
        tokio::time::advance(ROLL_CALL_AGE_MAX).await;
        assert_eq!(avoided.now(&roll_call, &ground.state).len(), 0, "they spoke");
        *roll.heard.lock().unwrap() = Instant::now().checked_sub(limits.suspect_after).unwrap();
        roll.connections.send_modify(|connections| *connections += 1);
        assert_eq!(avoided.now(&roll_call, &ground.state).len(), 2, "somebody came or went");
    }
}
