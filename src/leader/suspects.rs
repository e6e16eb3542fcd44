//! Which agents get no new tasks now: the one answer, for the scheduling cycle and for whoever
//! asks why an app waits.

use std::sync::Arc;

use tokio::time::Instant;

use super::agent_liveness::{Contacts, LivenessLimits};
use crate::dispatcher::Contact;
use crate::scheduler::{Suspects, Suspicion};
use crate::state::{ClusterState, Presence};

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
        let present = state.agents.iter().filter(|(_, agent)| agent.presence == Presence::Registered);
        let suspicion = |id| self.limits.suspicion(self.contacts.contact(id), now);
        present.filter_map(|(id, _)| Some((id.clone(), suspicion(id)?))).collect()
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
