//! Where masters are reached now: what they said of themselves since this start.
//!
//! A restarted master may have other ports than the membership records, so this comes first.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::types::MasterNode;

/// Masters that may introduce themselves; far above any quorum, so that strangers cannot
/// fill memory.
const MASTERS_MAX: usize = 64;

/// Node id to addresses.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    rows: Mutex<BTreeMap<u64, MasterNode>>,
    news: Notify,
}

impl AddressBook {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<u64, MasterNode>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a master says of itself; says whether that is new.
    pub(crate) fn note(&self, node: u64, at: &MasterNode) -> bool {
        let mut rows = self.rows();
        if rows.get(&node) == Some(at) || (rows.len() >= MASTERS_MAX && !rows.contains_key(&node)) {
            return false;
        }
        // An address belongs to who said it last.
        rows.retain(|_, known| known.cluster != at.cluster);
        rows.insert(node, at.clone());
        drop(rows);
        self.news.notify_waiters();
        true
    }

    /// Wakes at the next news.
    pub(crate) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Addresses of a master that has introduced itself.
    pub(crate) fn get(&self, node: u64) -> Option<MasterNode> {
        self.rows().get(&node).cloned()
    }

    /// Everybody who has introduced themselves.
    pub(crate) fn all(&self) -> BTreeMap<u64, MasterNode> {
        self.rows().clone()
    }
}
