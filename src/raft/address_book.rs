//! Where masters are reached now: what they said of themselves since this start.
//!
//! A restarted master may have other ports than the membership records, so this comes first.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::types::MasterNode;

/// Masters that may introduce themselves; far above any quorum, so that strangers cannot
/// fill memory.
const MASTERS_MAX: usize = 64;

/// Silence after which a master that is no member counts as gone. A stranger says Hello
/// every two seconds.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// Node id to addresses.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    rows: Mutex<BTreeMap<u64, Row>>,
    news: Notify,
}

#[derive(Debug)]
struct Row {
    at: MasterNode,
    said: Instant,
}

impl AddressBook {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<u64, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a master says of itself; says whether that is new.
    pub(crate) fn note(&self, node: u64, at: &MasterNode) -> bool {
        let said = Instant::now();
        let mut rows = self.rows();
        if let Some(known) = rows.get_mut(&node).filter(|known| known.at == *at) {
            known.said = said;
            return false;
        }
        if rows.len() >= MASTERS_MAX && !rows.contains_key(&node) {
            return false;
        }
        // An address belongs to who said it last.
        rows.retain(|_, known| known.at.cluster != at.cluster);
        rows.insert(node, Row { at: at.clone(), said });
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
        self.rows().get(&node).map(|row| row.at.clone())
    }

    /// Everybody who said something of late, and `own`, who need not.
    pub(crate) fn present(&self, own: u64) -> BTreeMap<u64, MasterNode> {
        let rows = self.rows();
        let present = rows.iter().filter(|(node, row)| **node == own || row.said.elapsed() < GONE_AFTER);
        present.map(|(node, row)| (*node, row.at.clone())).collect()
    }
}
