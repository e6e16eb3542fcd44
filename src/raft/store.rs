//! The store's door over openraft: stamps the time, fences by term, bounds and waits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::warn;

use super::state_machine::Published;
use super::types::{CommittedLeaderId, Proposal, Raft, TypeConfig};
use crate::domain::Timestamp;
use crate::state::{Applied, Command, LogEntry, codec};
use crate::store::{Leadership, PROPOSE_TIMEOUT, ProposeError, ReadError, StateStore, View};
use crate::world::{Clock, mutation};

/// Proposals that may wait for their majority at once. At 10 ms each that is far more than
/// the leader can plan; more only means that the disk or the peers have stopped.
pub const PROPOSALS_IN_FLIGHT_MAX: usize = 4096;

/// Largest proposal, encoded. A batch of commands is a thousand times smaller; one entry must
/// fit a frame to a peer.
pub const PROPOSAL_BYTES_MAX: usize = 32 << 20;

/// Longest wait for a majority to confirm that this master leads.
pub const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The quorum's store.
pub struct RaftStateStore {
    raft: Raft,
    clock: Arc<dyn Clock>,
    published: Arc<Published>,
    leadership: watch::Receiver<Leadership>,
    in_flight: Semaphore,
}

impl RaftStateStore {
    pub(super) fn new(
        raft: Raft,
        clock: Arc<dyn Clock>,
        published: Arc<Published>,
        leadership: watch::Receiver<Leadership>,
    ) -> Self {
        Self { raft, clock, published, leadership, in_flight: Semaphore::new(PROPOSALS_IN_FLIGHT_MAX) }
    }

    async fn write(&self, commands: Vec<Command>, term: Option<u64>) -> Result<Applied, ProposeError> {
        let _place = self.in_flight.try_acquire().map_err(|_| ProposeError::Busy)?;
        let entry = LogEntry { at: Timestamp::from_millis(self.clock.now_millis()), commands };
        let bytes: Bytes = codec::encode(&entry).into();
        if bytes.len() > PROPOSAL_BYTES_MAX {
            warn!(bytes = bytes.len(), max = PROPOSAL_BYTES_MAX, "a proposal is too large to be recorded");
            return Err(ProposeError::Busy);
        }
        let (responder, outcome) =
            ProgressResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::complete_only();
        let mut request = self.raft.write(Proposal(bytes)).responder(responder);
        let fence = term.filter(|_| !mutation::skips_term_check());
        if let Some(term) = fence {
            request = request.with_leader(CommittedLeaderId::new(term));
        }
        request.await.map_err(|fatal| ProposeError::OutcomeUnknown(fatal.to_string()))?;
        let result = outcome.await.map_err(|_| ProposeError::OutcomeUnknown("raft stopped".into()))?;
        result.map(|written| written.data).map_err(|error| refused(&error, fence))
    }

    async fn read(&self) -> Result<View, ReadError> {
        let confirmed = self.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match timeout(READ_TIMEOUT, confirmed).await {
            Ok(Ok(_)) => Ok(self.published.view()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_)))) => {
                Err(ReadError::NotLeader)
            }
            Ok(Err(_)) | Err(_) => Err(ReadError::NoQuorum),
        }
    }
}

fn refused(error: &ClientWriteError<TypeConfig>, fence: Option<u64>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(_) if fence.is_some() => ProposeError::TermEnded,
        ClientWriteError::ForwardToLeader(_) => ProposeError::NotLeader,
        other => ProposeError::OutcomeUnknown(other.to_string()),
    }
}

impl StateStore for RaftStateStore {
    fn snapshot(&self) -> View {
        self.published.view()
    }

    fn fresh_snapshot(&self) -> BoxFuture<'_, Result<View, ReadError>> {
        self.read().boxed()
    }

    fn propose(
        &self,
        commands: Vec<Command>,
        term: Option<u64>,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        async move {
            let written = timeout(PROPOSE_TIMEOUT, self.write(commands, term)).await;
            written
                .unwrap_or_else(|_| Err(ProposeError::OutcomeUnknown("no majority answered in time".into())))
        }
        .boxed()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.published.applied()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }
}
