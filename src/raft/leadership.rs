//! Tells who leads, and stops saying that we do when the quorum is silent, or that another
//! does who is silent.
//!
//! openraft keeps a leader that lost its quorum; its agents would be told things that
//! another leader contradicts. So a look at the latest acknowledgement decides, as often
//! as a lease needs it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::Instant as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{RaftMetrics, ServerState};
use tokio::sync::watch;
use tokio::time::sleep;

use super::address_book::AddressBook;
use super::introduction::count_of;
use super::last_word::LastWord;
use super::log_store::LogReader;
use super::messages::LeaderRecord;
use super::standing::{Hearsay, OwnKnowledge, Standing};
use super::stats::Counters;
use super::types::{Raft, TypeConfig};
use crate::store::{Leadership, Master};
use crate::world::mutation;

/// The lease is looked at so soon after it may have ended.
const AFTER_LEASE: Duration = Duration::from_millis(1);

/// Longest time without a look, for the size of the log.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// The log is in memory until a snapshot makes it superfluous; large entries must not fill it
/// before their number asks for one. A state that is larger than this may grow its log by its own
/// size, so that writing snapshots stays a fixed share of all that is written.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

/// Bytes of entries kept behind a snapshot, for followers that lag a little: seconds of the
/// largest load.
const KEPT_BYTES: usize = 32 << 20;

/// Keeps the watches up to date.
pub(crate) struct Watcher {
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) book: Arc<AddressBook>,
    /// How long an acknowledgement of the quorum counts.
    pub(crate) lease: Duration,
    pub(crate) counters: Arc<Counters>,
    pub(crate) log: LogReader,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) standing: watch::Sender<Standing>,
    /// What the others have told.
    pub(crate) hearsay: watch::Receiver<Hearsay>,
    /// When a leader wrote to us last.
    pub(crate) last_word: Arc<LastWord>,
    pub(crate) failed: watch::Sender<Option<String>>,
}

impl Watcher {
    /// Watches until Raft ends.
    pub(crate) async fn run(mut self) {
        let mut metrics = self.raft.metrics();
        let mut small = 0;
        let mut purged_for = None;
        loop {
            let now = metrics.borrow_watched().clone();
            if let Err(fatal) = &now.running_state {
                self.end(&fatal.to_string());
                return;
            }
            let leads = self.leads(&now);
            self.note_standing(&now, leads);
            let told = self.leadership(&now, leads);
            // Only silence changes anything that no change of the metrics tells.
            let next_look = if told.leads { self.left_of_lease(&now) } else { self.left_of_patience() };
            self.say(told);
            small = self.snapshot_when_large(small).await;
            let snapshot = now.snapshot.map(|last| last.index);
            if snapshot != purged_for {
                purged_for = snapshot;
                self.purge_behind(snapshot).await;
            }
            tokio::select! {
                changed = metrics.changed() => {
                    if changed.is_err() {
                        self.end("raft stopped");
                        return;
                    }
                }
                Ok(()) = self.hearsay.changed() => {}
                () = self.last_word.came() => {}
                () = sleep(next_look) => {}
            }
        }
    }

    /// Asks for a snapshot when the log has grown by so much since it was `small`.
    async fn snapshot_when_large(&self, small: u64) -> u64 {
        let now = self.counters.log_bytes.load(Ordering::Relaxed);
        let growth_max = GROWTH_BYTES_MAX.max(self.counters.snapshot_bytes.load(Ordering::Relaxed));
        if now.saturating_sub(small) < growth_max {
            return small.min(now);
        }
        let _ = self.raft.trigger().snapshot().await;
        now
    }

    /// Lets entries go that a snapshot holds, but for the latest [`KEPT_BYTES`]. openraft counts
    /// entries, of which some are ten thousand times as large as others.
    async fn purge_behind(&self, snapshot: Option<u64>) {
        if let (Some(snapshot), Some(last)) = (snapshot, self.log.last_beyond(KEPT_BYTES)) {
            let _ = self.raft.trigger().purge_log(snapshot.min(last)).await;
        }
    }

    fn end(&self, reason: &str) {
        // A statement of its own: the borrowed watch must be free again before it is written.
        let told = self.leadership.borrow().clone();
        self.say(Leadership { leads: false, ..told });
        self.failed.send_replace(Some(reason.to_owned()));
    }

    fn say(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|told| {
            let is_new = *told != leadership;
            *told = leadership;
            is_new
        });
    }

    fn note_standing(&self, now: &RaftMetrics<TypeConfig>, leads: bool) {
        let members = &now.membership_config;
        let members_at = count_of(members.log_id().as_ref());
        let own = OwnKnowledge {
            is_member: members.get_node(&self.node).is_some(),
            members_at,
            has_applied: now.last_applied.is_some() && count_of(now.last_applied.as_ref()) >= members_at,
            leads,
        };
        let hearsay = self.hearsay.borrow();
        self.standing.send_if_modified(|told| {
            let standing = told.next(own, &hearsay);
            std::mem::replace(told, standing) != standing
        });
    }

    fn leadership(&self, now: &RaftMetrics<TypeConfig>, leads: bool) -> Leadership {
        let hearsay = self.hearsay.borrow();
        // No leader writes to who is outside.
        if matches!(*self.standing.borrow(), Standing::Stranger | Standing::Replaced)
            && let Some(LeaderRecord { term, node, at }) = hearsay.leader.clone()
        {
            let leader = Some(Master { node, http: at.http, cluster: at.cluster });
            return Leadership { term: term.max(now.current_term), leads, leader };
        }
        // A disk remembers who led when it was written, and openraft who led before it froze.
        let is_heard = hearsay.from_leader && self.last_word.left().is_some();
        let leader = now.current_leader.filter(|node| *node == self.node || is_heard);
        let leader = leader.and_then(|node| self.master(now, node));
        Leadership { term: now.current_term, leads, leader }
    }

    fn master(&self, now: &RaftMetrics<TypeConfig>, node: u64) -> Option<Master> {
        let recorded = || now.membership_config.get_node(&node).cloned();
        let at = self.book.get(node).or_else(recorded)?;
        Some(Master { node, http: at.http, cluster: at.cluster })
    }

    fn leads(&self, now: &RaftMetrics<TypeConfig>) -> bool {
        let leader = now.state == ServerState::Leader && now.current_leader == Some(self.node);
        let own_entry = now.last_applied.is_some_and(|id| id.leader_id.term == now.current_term);
        leader && own_entry && self.has_quorum(now)
    }

    /// Until leadership has to be looked at again unless the quorum says something before.
    fn left_of_lease(&self, now: &RaftMetrics<TypeConfig>) -> Duration {
        let acknowledged = now.last_quorum_acked.as_ref().filter(|_| !self.is_alone(now));
        acknowledged.map_or(LOOK_AT_LEAST, |at| self.lease.saturating_sub(at.elapsed()) + AFTER_LEASE)
    }

    /// Until a leader will have been silent for too long.
    fn left_of_patience(&self) -> Duration {
        self.last_word.left().map_or(LOOK_AT_LEAST, |left| (left + AFTER_LEASE).min(LOOK_AT_LEAST))
    }

    fn is_alone(&self, now: &RaftMetrics<TypeConfig>) -> bool {
        now.membership_config.voter_ids().eq([self.node])
    }

    fn has_quorum(&self, now: &RaftMetrics<TypeConfig>) -> bool {
        // One voter is its own quorum, and openraft notes no acknowledgement then.
        if mutation::skips_term_check() || self.is_alone(now) {
            return true;
        }
        now.last_quorum_acked.as_ref().is_some_and(|acknowledged| acknowledged.elapsed() < self.lease)
    }
}
