//! Admits an agent, admits it again, or refuses it.

use std::time::Duration;

use tokio::time::Instant;

use super::Contact;
use crate::domain::{AgentInfo, claim};
use crate::protocol::{PROTOCOL_VERSION, Proof, Register};
use crate::state::{AgentRow, ClusterState, Command, Presence};

/// An agent that is connected and spoke within this time is live, and its id cannot come from
/// elsewhere. Three heartbeats.
const LIVE_WITHIN: Duration = Duration::from_secs(3);

/// Who was refused before is taken from elsewhere only after so much silence of the one that is
/// known: longer than that one needs to be restarted, or to find a new leader.
const YIELDS_FOR: Duration = Duration::from_secs(10);

/// What becomes of a registration.
#[derive(Debug)]
pub(super) enum Admission {
    /// Nothing new: no write.
    Known,
    /// To be recorded first.
    Record(Command),
    /// Refused, with a sentence for people.
    Refused(String),
}

/// When agents were heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// What is known of the connection of the one that registers.
    pub(super) contact: Contact,
    /// Since when this master takes registrations in its term: nobody was heard before.
    pub(super) listening_since: Instant,
}

pub(super) fn admit(state: &ClusterState, register: &Register, heard: Heard, now: Instant) -> Admission {
    let info = &register.agent;
    if register.protocol == 0 {
        return Admission::Refused(format!("speaks protocol 0; this master speaks {PROTOCOL_VERSION}"));
    }
    if let (Some(theirs), Some(ours)) = (&register.cluster, &state.cluster)
        && theirs != ours
    {
        return Admission::Refused(format!(
            "belongs to cluster {theirs}, this is cluster {ours}; start it with another --data-dir"
        ));
    }
    if let Some(fault) = info.fault().or_else(|| claim::held_ports_fault(&register.held_ports)) {
        return Admission::Refused(fault);
    }
    let proof = digest_of(&register.proof);
    let Some(row) = state.agents.get(&info.id) else { return record(register, proof) };
    if row.proof.is_some() && row.proof != proof {
        return Admission::Refused(format!(
            "is not the agent {} that is known here: its proof of identity is another; if its data directory \
             was copied or restored, give it an empty one with --data-dir",
            info.id
        ));
    }
    if row.info.incarnation.is_elsewhere(&info.incarnation) && comes_first(heard, register.yields, now) {
        return Admission::Refused(is_a_copy(row));
    }
    let is_known = *row.info == *info
        && row.presence == Presence::Registered
        && row.held_ports == register.held_ports
        && row.proof == proof;
    if is_known { Admission::Known } else { record(register, proof) }
}

fn record(register: &Register, proof: Option<String>) -> Admission {
    let info: Box<AgentInfo> = Box::new(register.agent.clone());
    Admission::Record(Command::RegisterAgent { info, held_ports: register.held_ports.clone(), proof })
}

/// What is recorded of a proof: enough to know it again, not enough to show it.
fn digest_of(proof: &Proof) -> Option<String> {
    let digest = || ring::digest::digest(&ring::digest::SHA256, proof.expose().as_bytes());
    (!proof.expose().is_empty()).then(|| digest().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the agent that is known keeps its id from one of elsewhere that registers now.
fn comes_first(heard: Heard, yields: bool, now: Instant) -> bool {
    let silent_for = |since: Instant| now.duration_since(since.max(heard.listening_since));
    match heard.contact {
        Contact::Connected { last_heard } if now.duration_since(last_heard) < LIVE_WITHIN => true,
        Contact::Connected { last_heard } | Contact::Closed { last_heard, .. } => {
            yields && silent_for(last_heard) < YIELDS_FOR
        }
        Contact::Never => yields && silent_for(heard.listening_since) < YIELDS_FOR,
    }
}

fn is_a_copy(row: &AgentRow) -> String {
    format!(
        "agent {} lives on {} with another data directory, of which this one is a copy, or which is a copy of \
         this one; stop one of the two and, if both shall run, give it an empty --data-dir. This one is let in \
         when nothing was heard of the other for {} s",
        row.info.id,
        row.info.hostname,
        YIELDS_FOR.as_secs()
    )
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    #[test]
    fn who_was_refused_waits_longer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let now = at(100);
        let connected = |heard| Contact::Connected { last_heard: at(heard) };
        let closed = |heard| Contact::Closed { since: at(heard), last_heard: at(heard) };
        for (contact, listening_since, first_comes, repeated_comes) in [
            (connected(98), 0, false, false),
            (connected(96), 0, true, false),
            (connected(89), 0, true, true),
            (closed(99), 0, true, false),
            (closed(91), 0, true, false),
            (closed(89), 0, true, true),
            (closed(5), 95, true, false), // Another master led meanwhile.
            (Contact::Never, 99, true, false),
            (Contact::Never, 89, true, true),
        ] {
            let heard = Heard { contact, listening_since: at(listening_since) };
            for (yields, comes) in [(false, first_comes), (true, repeated_comes)] {
                assert_eq!(!comes_first(heard, yields, now), comes, "{heard:?}, {yields}");
            }
        }
    }
}
