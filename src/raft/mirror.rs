//! Our own spelling of openraft's types, for bytes that last and bytes that travel.
//!
//! openraft's serde feature is off, so nothing else can reach the disk or a peer: a new
//! openraft release costs a change of the conversions here and no old bytes
//! (docs/decisions/0002-openraft.md). Fields are only ever added, with defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::vote::RaftVote;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::types::{
    CommittedLeaderId, Entry, LeaderId, LogId, MasterNode, Membership, Payload, Proposal, SnapshotMeta,
    StoredMembership, Vote,
};

/// Bytes, written as one binary string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsBytes;
        impl Visitor<'_> for AsBytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
        }
        deserializer.deserialize_byte_buf(AsBytes)
    }
}

/// Who was voted for, and whether a quorum agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

impl From<Vote> for VoteRecord {
    fn from(vote: Vote) -> Self {
        let LeaderId { term, voted_for } = *vote.leader_id();
        Self { term, node: voted_for, committed: vote.is_committed() }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        let leader = LeaderId { term: record.term, voted_for: record.node };
        Self::from_leader_id(leader, record.committed)
    }
}

/// A position in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        Self { leader_id: CommittedLeaderId::new(record.term), index: record.index }
    }
}

/// Who belongs to the quorum. Two sets of voters while a change is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    pub(crate) voters: Vec<BTreeSet<u64>>,
    pub(crate) nodes: BTreeMap<u64, MasterNode>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
        }
    }
}

impl From<MembershipRecord> for Membership {
    fn from(record: MembershipRecord) -> Self {
        let MembershipRecord { mut voters, mut nodes } = record;
        // What openraft holds to be impossible is made possible, not a panic.
        voters.retain(|set| !set.is_empty());
        for voter in voters.iter().flatten() {
            nodes.entry(*voter).or_default();
        }
        Self::new(voters, nodes).unwrap_or_default()
    }
}

/// A membership and the entry that holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipRecord {
    pub(crate) at: Option<LogIdRecord>,
    pub(crate) membership: MembershipRecord,
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> Self {
        Self { at: stored.log_id().map(Into::into), membership: stored.membership().into() }
    }
}

impl From<StoredMembershipRecord> for StoredMembership {
    fn from(record: StoredMembershipRecord) -> Self {
        Self::new(record.at.map(Into::into), record.membership.into())
    }
}

/// Up to where a snapshot reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotMetaRecord {
    pub(crate) last: Option<LogIdRecord>,
    pub(crate) membership: StoredMembershipRecord,
}

impl From<&SnapshotMeta> for SnapshotMetaRecord {
    fn from(meta: &SnapshotMeta) -> Self {
        Self { last: meta.last_log_id.map(Into::into), membership: (&meta.last_membership).into() }
    }
}

impl From<SnapshotMetaRecord> for SnapshotMeta {
    fn from(record: SnapshotMetaRecord) -> Self {
        Self { last_log_id: record.last.map(Into::into), last_membership: record.membership.into() }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryRecord {
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) content: Content,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// A leader's first word.
    Blank,
    /// A `LogEntry` in its lasting bytes.
    Commands(Blob),
    /// Who belongs to the quorum from here on.
    Membership(MembershipRecord),
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        let LogIdRecord { term, index } = entry.log_id().into();
        let content = match &entry.payload {
            Payload::Blank => Content::Blank,
            Payload::Normal(proposal) => Content::Commands(Blob(proposal.0.clone())),
            Payload::Membership(membership) => Content::Membership(membership.into()),
        };
        Self { term, index, content }
    }
}

impl From<EntryRecord> for Entry {
    fn from(record: EntryRecord) -> Self {
        let payload = match record.content {
            Content::Blank => Payload::Blank,
            Content::Commands(bytes) => Payload::Normal(Proposal(bytes.0)),
            Content::Membership(membership) => Payload::Membership(membership.into()),
        };
        Self::new(LogIdRecord { term: record.term, index: record.index }.into(), payload)
    }
}

/// Rough size of an entry in memory and on the wire.
pub(crate) fn bytes_of(entry: &Entry) -> usize {
    /// Position, tags and field names.
    const AROUND_BYTES: usize = 48;
    match &entry.payload {
        Payload::Normal(proposal) => AROUND_BYTES + proposal.0.len(),
        Payload::Blank | Payload::Membership(_) => AROUND_BYTES,
    }
}
