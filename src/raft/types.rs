//! openraft's type parameters, chosen once.
//!
//! Everything that lasts or travels goes through [`super::mirror`], never through these.

use std::fmt;

use bytes::Bytes;
use openraft::alias;
use openraft::impls::leader_id_std;
use serde::{Deserialize, Serialize};

use super::state_machine::StateMachine;
use crate::state::Applied;

// One leader per term (`leader_id_std`): agents fence on the term alone.
#[cfg(not(feature = "sim"))]
openraft::declare_raft_types!(
    /// Our choice of types.
    pub(crate) TypeConfig:
        D = Proposal, R = Applied, Node = MasterNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
);

#[cfg(feature = "sim")]
openraft::declare_raft_types!(
    /// Our choice of types, with seeded chance.
    pub(crate) TypeConfig:
        D = Proposal, R = Applied, Node = MasterNode,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = openraft_rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type Payload = openraft::EntryPayload<Proposal, u64, MasterNode>;
pub(crate) type Membership = openraft::Membership<u64, MasterNode>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(crate) type CommittedLeaderId = alias::CommittedLeaderIdOf<TypeConfig>;

/// A `LogEntry` in its lasting bytes: encoded once by the proposer, decoded by `apply`.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// How to reach a master, as recorded in the membership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterNode {
    /// Address for masters and agents.
    pub cluster: String,
    /// Address of the HTTP API, exactly as given.
    pub http: String,
}
