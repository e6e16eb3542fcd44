//! What masters say to each other on the cluster port.
//!
//! Our own words with named fields, so that version N and N+1 of the binary can form one
//! quorum during an upgrade. Each question has a number that its answer repeats, since a
//! caller may lose patience and ask anew on the same connection.

use std::collections::BTreeMap;

use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::mirror::{Blob, EntryRecord, LogIdRecord, SnapshotMetaRecord, VoteRecord};
use super::types::{MasterNode, TypeConfig};

/// A question.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Number of the question on this connection.
    pub(crate) number: u64,
    /// Who is meant; another master that has taken the address refuses. Nobody in particular
    /// when absent.
    pub(crate) to: Option<u64>,
    /// What.
    pub(crate) request: Request,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Number of the question.
    pub(crate) number: u64,
    /// What.
    pub(crate) reply: Reply,
}

/// Content of a question.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Who are you?
    Hello(Hello),
    /// Append, one at a time.
    Append(AppendAsk),
    /// From here on only [`AppendAsk`] one way and [`AppendReply`] the other.
    StreamAppend,
    /// Vote for me.
    Vote(VoteAsk),
    /// Would you vote for me?
    PreVote(VoteAsk),
    /// Lead in my place.
    TransferLeader(TransferAsk),
    /// A snapshot of `bytes` bytes follows, in [`Chunk`]s.
    Snapshot {
        /// The leader's.
        vote: VoteRecord,
        /// How far it reaches.
        meta: SnapshotMetaRecord,
        /// Size of the file.
        bytes: u64,
    },
}

/// Content of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To [`Request::Hello`].
    Hello(Hello),
    /// To [`Request::Append`].
    Append(AppendReply),
    /// To [`Request::Vote`] and [`Request::PreVote`].
    Vote(VoteReply),
    /// To [`Request::TransferLeader`].
    TransferLeader(TransferReply),
    /// To [`Request::Snapshot`]: the receiver's vote.
    Snapshot(VoteRecord),
    /// No, and why.
    Refused(String),
}

/// Part of a snapshot file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chunk {
    pub(crate) data: Blob,
}

/// How a master introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Persisted identity.
    pub(crate) node: u64,
    /// Where it is reached now.
    pub(crate) at: MasterNode,
    /// Whether its log is empty.
    pub(crate) empty: bool,
    /// Members as it knows them, and where the quorum has recorded them.
    pub(crate) members: BTreeMap<u64, MasterNode>,
    /// Entries up to the one that says so; 0 before the first.
    #[serde(default)]
    pub(crate) members_at: u64,
    /// Whether its copy stands for the cluster's state.
    #[serde(default)]
    pub(crate) has_copy: bool,
    /// Who leads, and in which term, as far as it knows.
    #[serde(default)]
    pub(crate) leader: Option<LeaderRecord>,
}

/// A leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaderRecord {
    /// Its term.
    pub(crate) term: u64,
    /// Which master.
    pub(crate) node: u64,
    /// Where it is reached now.
    pub(crate) at: MasterNode,
}

/// See [`AppendEntriesRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AppendAsk {
    vote: VoteRecord,
    previous: Option<LogIdRecord>,
    entries: Vec<EntryRecord>,
    committed: Option<LogIdRecord>,
}

impl From<AppendEntriesRequest<TypeConfig>> for AppendAsk {
    fn from(ask: AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            vote: ask.vote.into(),
            previous: ask.prev_log_id.map(Into::into),
            entries: ask.entries.iter().map(EntryRecord::from).collect(),
            committed: ask.leader_commit.map(Into::into),
        }
    }
}

impl From<AppendAsk> for AppendEntriesRequest<TypeConfig> {
    fn from(ask: AppendAsk) -> Self {
        Self {
            vote: ask.vote.into(),
            prev_log_id: ask.previous.map(Into::into),
            entries: ask.entries.into_iter().map(Into::into).collect(),
            leader_commit: ask.committed.map(Into::into),
        }
    }
}

/// See [`StreamAppendResult`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AppendReply {
    /// Durable up to here.
    Done(Option<LogIdRecord>),
    /// The entry before the first one is another here.
    Conflict(LogIdRecord),
    /// A newer vote was given.
    HigherVote(VoteRecord),
}

impl From<StreamAppendResult<TypeConfig>> for AppendReply {
    fn from(result: StreamAppendResult<TypeConfig>) -> Self {
        match result {
            Ok(upto) => Self::Done(upto.map(Into::into)),
            Err(StreamAppendError::Conflict(at)) => Self::Conflict(at.into()),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<AppendReply> for StreamAppendResult<TypeConfig> {
    fn from(reply: AppendReply) -> Self {
        match reply {
            AppendReply::Done(upto) => Ok(upto.map(Into::into)),
            AppendReply::Conflict(at) => Err(StreamAppendError::Conflict(at.into())),
            AppendReply::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
        }
    }
}

/// See [`VoteRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteAsk {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    #[serde(default)]
    leadership_transfer: bool,
}

impl From<VoteRequest<TypeConfig>> for VoteAsk {
    fn from(ask: VoteRequest<TypeConfig>) -> Self {
        Self {
            vote: ask.vote.into(),
            last: ask.last_log_id.map(Into::into),
            leadership_transfer: ask.leadership_transfer,
        }
    }
}

impl From<VoteAsk> for VoteRequest<TypeConfig> {
    fn from(ask: VoteAsk) -> Self {
        let mut request = Self::new(ask.vote.into(), ask.last.map(Into::into));
        request.leadership_transfer = ask.leadership_transfer;
        request
    }
}

/// See [`VoteResponse`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VoteReply {
    vote: VoteRecord,
    granted: bool,
    last: Option<LogIdRecord>,
}

impl From<VoteResponse<TypeConfig>> for VoteReply {
    fn from(reply: VoteResponse<TypeConfig>) -> Self {
        let last = reply.last_log_id.map(Into::into);
        Self { vote: reply.vote.into(), granted: reply.vote_granted, last }
    }
}

impl From<VoteReply> for VoteResponse<TypeConfig> {
    fn from(reply: VoteReply) -> Self {
        Self::new(super::types::Vote::from(reply.vote), reply.last.map(Into::into), reply.granted)
    }
}

/// See [`TransferLeaderRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TransferAsk {
    from: VoteRecord,
    to: u64,
    last: Option<LogIdRecord>,
}

impl From<TransferLeaderRequest<TypeConfig>> for TransferAsk {
    fn from(ask: TransferLeaderRequest<TypeConfig>) -> Self {
        let last = ask.last_log_id().map(|id| (*id).into());
        Self { from: (*ask.from_leader()).into(), to: *ask.to_node_id(), last }
    }
}

impl From<TransferAsk> for TransferLeaderRequest<TypeConfig> {
    fn from(ask: TransferAsk) -> Self {
        Self::new(ask.from.into(), ask.to, ask.last.map(Into::into))
    }
}

/// See [`TransferLeaderError`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum TransferReply {
    /// It campaigns now.
    Accepted,
    /// Another vote counts there.
    VoteChanged {
        /// The asking leader's.
        expected: VoteRecord,
        /// The newer one.
        actual: VoteRecord,
    },
    /// It does not have every entry yet.
    NotFlushed {
        /// The asking leader's last entry.
        expected: Option<LogIdRecord>,
        /// Its own.
        actual: Option<LogIdRecord>,
    },
}

impl From<Result<(), TransferLeaderError<TypeConfig>>> for TransferReply {
    fn from(result: Result<(), TransferLeaderError<TypeConfig>>) -> Self {
        match result {
            Ok(()) => Self::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Self::VoteChanged { expected: expected.into(), actual: actual.into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Self::NotFlushed { expected: expected.map(Into::into), actual: actual.map(Into::into) }
            }
        }
    }
}

impl From<TransferReply> for Result<(), TransferLeaderError<TypeConfig>> {
    fn from(reply: TransferReply) -> Self {
        match reply {
            TransferReply::Accepted => Ok(()),
            TransferReply::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            TransferReply::NotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(Into::into),
                actual: actual.map(Into::into),
            }),
        }
    }
}
