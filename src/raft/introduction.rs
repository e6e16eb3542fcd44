//! What a master says of itself to the others.

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;

use super::messages::{Hello, LeaderRecord};
use super::standing::Standing;
use super::types::{LogId, MasterNode, Raft};
use crate::store::Leadership;

/// How many entries there are up to this one; 0 for none. The first entry of a log, which founds the
/// quorum, has the index 0.
pub(crate) fn count_of(entry: Option<&LogId>) -> u64 {
    entry.map_or(0, |entry| entry.index.saturating_add(1))
}

/// Knows this master.
#[derive(Clone)]
pub(crate) struct Introduction {
    pub(crate) node: u64,
    pub(crate) at: MasterNode,
    pub(crate) raft: Raft,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) leadership: watch::Receiver<Leadership>,
}

impl Introduction {
    /// What this master says of itself now.
    pub(crate) async fn hello(&self) -> Hello {
        // A master that cannot say is not empty: nobody must found a second cluster over it.
        let empty = self.raft.is_initialized().await.is_ok_and(|initialized| !initialized);
        let members = self.raft.metrics().borrow_watched().membership_config.clone();
        Hello {
            node: self.node,
            at: self.at.clone(),
            empty,
            members: members.nodes().map(|(node, at)| (*node, at.clone())).collect(),
            members_at: count_of(members.log_id().as_ref()),
            leader: self.leader(),
            has_copy: *self.standing.borrow() == Standing::Member,
        }
    }

    fn leader(&self) -> Option<LeaderRecord> {
        let Leadership { term, leader, .. } = self.leadership.borrow().clone();
        let leader = leader?;
        Some(LeaderRecord {
            term,
            node: leader.node,
            at: MasterNode { cluster: leader.cluster, http: leader.http },
        })
    }
}
