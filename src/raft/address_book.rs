//! Where masters are reached now: what they said of themselves since this start.
//!
//! A restarted master may have other ports than the membership records, so this comes first.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::messages::Hello;
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
    members: Members,
    said: Instant,
}

/// Who belongs to the quorum, as some master knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Entries up to the one that says so.
    pub(crate) at: u64,
    /// With their recorded addresses.
    pub(crate) nodes: BTreeMap<u64, MasterNode>,
}

impl AddressBook {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<u64, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a master says of itself; says whether its address is new.
    pub(crate) fn note(&self, hello: &Hello) -> bool {
        let (node, at, said) = (hello.node, &hello.at, Instant::now());
        let members = Members { at: hello.members_at, nodes: hello.members.clone() };
        let mut rows = self.rows();
        if let Some(known) = rows.get_mut(&node).filter(|known| known.at == *at) {
            (known.said, known.members) = (said, members);
            return false;
        }
        if rows.len() >= MASTERS_MAX && !rows.contains_key(&node) {
            return false;
        }
        // An address belongs to who said it last.
        rows.retain(|_, known| known.at.cluster != at.cluster);
        rows.insert(node, Row { at: at.clone(), members, said });
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

    /// The latest members that anybody who said something of late knows of.
    pub(crate) fn latest_members(&self) -> Members {
        let rows = self.rows();
        let present = rows.values().filter(|row| row.said.elapsed() < GONE_AFTER);
        present.map(|row| &row.members).max_by_key(|members| members.at).cloned().unwrap_or_default()
    }

    /// Everybody who said something of late, and `own`, who need not.
    pub(crate) fn present(&self, own: u64) -> BTreeMap<u64, MasterNode> {
        let rows = self.rows();
        let present = rows.iter().filter(|(node, row)| **node == own || row.said.elapsed() < GONE_AFTER);
        present.map(|(node, row)| (*node, row.at.clone())).collect()
    }
}
