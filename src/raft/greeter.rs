//! Masters find each other: Hello to every known address, and the first founding.
//!
//! Only the master with the smallest listed address initialises, once, when every listed
//! master answers that it is empty. An emptied member has a new id, belongs to nobody, and
//! neither votes nor initialises until an operator puts it in the old one's place.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::address_book::AddressBook;
use super::introduction::Introduction;
use super::messages::{Answer, Ask, Hello, Reply, Request};
use super::standing::{Hearsay, Standing};
use super::types::{MasterNode, Raft};
use crate::line::{Purpose, Security};

/// Longest wait for an answer to a Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// First pause between two rounds; grows by half each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause while a listed master has not been met, or the cluster is not founded.
const PAUSE_SEARCHING: Duration = Duration::from_secs(2);

/// Longest pause once all is known.
const PAUSE_SETTLED: Duration = Duration::from_secs(10);

/// Says Hello.
pub(crate) struct Greeter {
    pub(crate) me: Introduction,
    pub(crate) masters: Vec<String>,
    pub(crate) security: Security,
    pub(crate) book: Arc<AddressBook>,
    pub(crate) hearsay: watch::Sender<Hearsay>,
}

impl Greeter {
    /// Goes round until dropped.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE_MIN;
        let mut warned = false;
        loop {
            let own = self.me.hello().await;
            let heard = self.round(&own).await;
            self.note_hearsay(&own, &heard);
            if own.empty {
                self.found(&heard).await;
                warned = warned || self.warn_if_stranger(&heard);
            } else if !warned && *self.me.standing.borrow() == Standing::Replaced {
                warn!(
                    node = self.me.node,
                    "this master was replaced: others make the quorum now, and its state is old"
                );
                warned = true;
            }
            let all_met = self.masters.iter().all(|address| heard.contains_key(address));
            let longest = if all_met && own.has_copy { PAUSE_SETTLED } else { PAUSE_SEARCHING };
            pause = (pause * 3 / 2).min(longest);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.book.changed() => pause = PAUSE_MIN,
            }
        }
    }

    /// Everybody who answered, by the address that was asked; ourselves by our own.
    async fn round(&self, own: &Hello) -> BTreeMap<String, Hello> {
        let mut addresses: BTreeSet<String> = self.masters.iter().cloned().collect();
        let members = self.me.raft.metrics().borrow_watched().membership_config.clone();
        for (node, recorded) in members.nodes().filter(|(node, _)| **node != self.me.node) {
            addresses.insert(self.book.get(*node).unwrap_or_else(|| recorded.clone()).cluster);
        }
        addresses.remove(&self.me.at.cluster);
        let asked = addresses.into_iter().map(|address| async move {
            let answer = greet(&self.security, &address, own).await;
            (address, answer)
        });
        let mut heard = BTreeMap::from([(self.me.at.cluster.clone(), own.clone())]);
        for (address, answer) in join_all(asked).await {
            match answer {
                Ok(theirs) => {
                    if theirs.node != self.me.node {
                        self.book.note(&theirs);
                    }
                    heard.insert(address, theirs);
                }
                // Only people can mend that.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    warn!(address, %error, "cannot join another master");
                }
                Err(error) => debug!(address, %error, "no answer to Hello"),
            }
        }
        heard
    }

    /// Remembers the latest members of our cluster among which others do not count us. Whoever
    /// shares no member with us is of another cluster that has taken an old address.
    fn note_hearsay(&self, own: &Hello, heard: &BTreeMap<String, Hello>) {
        let shares_members =
            |master: &&Hello| master.members.keys().any(|node| own.members.contains_key(node));
        let without_us = heard
            .values()
            .filter(shares_members)
            .filter(|master| !master.members.contains_key(&self.me.node));
        // A master without members yet believes those that it was told to ask.
        let others = heard.values().filter(|master| master.node != self.me.node);
        let ours = others.filter(|master| own.members.is_empty() || shares_members(master));
        let leader = ours.filter_map(|master| master.leader.clone()).max_by_key(|leader| leader.term);
        let left_out_at = without_us.map(|master| master.members_at).max();
        self.hearsay.send_if_modified(|known| {
            let now = Hearsay {
                from_leader: known.from_leader,
                has_asked: true,
                left_out_at: known.left_out_at.max(left_out_at),
                leader,
            };
            let is_news = *known != now;
            *known = now;
            is_news
        });
    }

    /// Founds the cluster if it is on us to do so and all listed masters are empty.
    async fn found(&self, heard: &BTreeMap<String, Hello>) {
        let Some(smallest) = self.masters.iter().min() else { return };
        let Some(listed) = self.masters.iter().map(|address| heard.get(address)).collect::<Option<Vec<_>>>()
        else {
            return;
        };
        let is_ours = heard.get(smallest).is_some_and(|first| first.node == self.me.node);
        if !is_ours || listed.iter().any(|master| !master.empty || !master.members.is_empty()) {
            return;
        }
        let nodes: BTreeMap<u64, MasterNode> =
            listed.iter().map(|master| (master.node, master.at.clone())).collect();
        if nodes.len() != self.masters.len() {
            warn!(masters = ?self.masters, "two listed addresses are the same master; give each its own");
            return;
        }
        initialize(&self.me.raft, nodes).await;
    }

    fn warn_if_stranger(&self, heard: &BTreeMap<String, Hello>) -> bool {
        let cluster =
            heard.iter().find(|(_, master)| !master.empty && !master.members.contains_key(&self.me.node));
        if let Some((address, master)) = cluster {
            warn!(
                node = self.me.node,
                members = ?master.members.keys(),
                "this master is no member of the cluster of {address}; if it stands for a lost member, \
                 replace that one by it"
            );
        }
        cluster.is_some()
    }
}

/// Founds a cluster of `nodes`, of which we are one; passed over when there is one already.
pub(crate) async fn initialize(raft: &Raft, nodes: BTreeMap<u64, MasterNode>) {
    match raft.initialize(nodes.clone()).await {
        Ok(()) => info!(masters = ?nodes.keys().collect::<Vec<_>>(), "founded the quorum"),
        Err(error) => debug!(%error, "the quorum is founded already"),
    }
}

/// Says Hello to whoever is at `address`, and waits for the answer no longer than [`HELLO_TIMEOUT`].
pub(super) async fn greet(security: &Security, address: &str, own: &Hello) -> io::Result<Hello> {
    timeout(HELLO_TIMEOUT, exchange(security, address, own))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(security: &Security, address: &str, own: &Hello) -> io::Result<Hello> {
    let mut line = security.dial(address, Purpose::Masters).await?;
    line.send(&Ask { number: 0, to: None, request: Request::Hello(own.clone()) }).await?;
    match line.receive::<Answer>().await?.map(|answer| answer.reply) {
        Some(Reply::Hello(theirs)) => Ok(theirs),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
