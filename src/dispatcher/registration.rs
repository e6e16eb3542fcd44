//! Admits an agent, admits it again, or refuses it.

use std::time::Duration;

use tokio::time::Instant;

use super::Contact;
use crate::domain::{AgentInfo, Incarnation, agent};
use crate::protocol::{PROTOCOL_VERSION, Proof, Register};
use crate::state::{ClusterState, Command, Presence};

/// An agent that spoke within this time is live, and its id cannot come from elsewhere.
const LIVE_WITHIN: Duration = Duration::from_secs(3);

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

pub(super) fn admit(state: &ClusterState, register: &Register, contact: Contact, now: Instant) -> Admission {
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
    if let Some(fault) = info.fault().or_else(|| agent::held_ports_fault(&register.held_ports)) {
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
    if is_elsewhere(&row.info.incarnation, &info.incarnation) && is_live(contact, now) {
        return Admission::Refused(format!(
            "agent {} is live on another machine or boot; give one of the two another --data-dir",
            info.id
        ));
    }
    let is_known = row.info == *info
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

fn is_elsewhere(known: &Incarnation, new: &Incarnation) -> bool {
    known.boot_id != new.boot_id
}

fn is_live(contact: Contact, now: Instant) -> bool {
    match contact {
        Contact::Connected { last_heard } => now.duration_since(last_heard) < LIVE_WITHIN,
        Contact::Closed { .. } | Contact::Never => false,
    }
}
