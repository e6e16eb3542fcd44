//! Floor 3: the one door to replicated state.
//!
//! Way in: [`StateStore`]. Two make it: the quorum (`raft::store`) and [`in_memory`],
//! the same `apply` without Raft, for tests. Knows no meaning of any command.

pub mod in_memory;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::state::{Applied, ClusterState, Command};

/// The state at one index, shared.
pub type View = Arc<ClusterState>;

/// Longest wait for a proposal to be committed. Beyond it the outcome is unknown.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads and proposes.
pub trait StateStore: Send + Sync + 'static {
    /// What this master has applied so far; may lag behind the leader.
    fn snapshot(&self) -> View;

    /// State that holds every write acknowledged before this call.
    ///
    /// # Errors
    /// [`ReadError`] when no quorum answers in time, or another master leads.
    fn fresh_snapshot(&self) -> BoxFuture<'_, Result<View, ReadError>>;

    /// Records commands as one log entry, and answers once a majority has them on disk
    /// and this master has applied them. With `term`, only while this master leads in that term.
    ///
    /// # Errors
    /// [`ProposeError`]; only [`ProposeError::OutcomeUnknown`] leaves open whether it happened.
    fn propose(
        &self,
        commands: Vec<Command>,
        term: Option<u64>,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>>;

    /// Index of the latest published snapshot, to wake on.
    fn applied(&self) -> watch::Receiver<u64>;

    /// Who leads, to wake on.
    fn leadership(&self) -> watch::Receiver<Leadership>;
}

/// Who leads, as this master knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Latest term seen.
    pub term: u64,
    /// Set while this master leads, has applied the first entry of its term, and its
    /// quorum has answered within the lease.
    pub leads: bool,
    /// Who leads.
    pub leader: Option<Master>,
}

/// How to reach a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Persisted identity.
    pub node: u64,
    /// Address of its HTTP API, exactly as given to it.
    pub http: String,
    /// Address for masters and agents.
    pub cluster: String,
}

/// Why a fresh read was not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another master leads, or none does.
    #[error("this master does not lead")]
    NotLeader,
    /// No majority answered in time.
    #[error("no majority of masters answered in time")]
    NoQuorum,
}

/// Why a proposal was not recorded, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another master leads, or none does. Nothing was recorded.
    #[error("this master does not lead")]
    NotLeader,
    /// The term it was planned in is over. Nothing was recorded.
    #[error("the term is over")]
    TermEnded,
    /// Too much waits already. Nothing was recorded.
    #[error("too many proposals wait")]
    Busy,
    /// Proposed, but no answer came: it may yet happen. Repeat with the same ids.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
}
