//! openraft's state machine: decodes entries, lets `state::apply` record them, publishes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use futures_util::{Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::RaftSnapshotBuilder;
use openraft::alias::SnapshotOf;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use tokio::sync::watch;

use super::mirror::SnapshotMetaRecord;
use super::snapshots::{self, SnapshotFile, Snapshots, aside};
use super::stats::Counters;
use super::types::{Entry, LogId, Payload, SnapshotMeta, StoredMembership, TypeConfig};
use crate::state::{Applied, ClusterState, LogEntry, apply, codec};
use crate::store::View;

/// Entries between two published views at most, so that readers and waiting callers see
/// progress while a long log is replayed.
const ENTRIES_PER_VIEW_MAX: usize = 1024;

/// Changes that are recorded before others on the quorum's thread have a turn: about a
/// millisecond's. A long row of large entries must not hold up heartbeats.
const CHANGES_PER_TURN_MAX: usize = 512;

/// What readers see: the latest view and its index.
pub(crate) struct Published {
    view: ArcSwap<ClusterState>,
    applied: watch::Sender<u64>,
    counters: Arc<Counters>,
}

impl Published {
    /// The empty state.
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { view: ArcSwap::default(), applied: watch::channel(0).0, counters }
    }

    /// The latest view.
    pub(crate) fn view(&self) -> View {
        self.view.load_full()
    }

    /// Wakes with each view's index.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn publish(&self, state: &ClusterState) {
        self.view.store(Arc::new(state.clone()));
        self.counters.applied.store(state.index, Ordering::Relaxed);
        self.applied.send_replace(state.index);
    }
}

/// The state and how far it has come.
pub(crate) struct StateMachine {
    state: ClusterState,
    last: Option<LogId>,
    membership: StoredMembership,
    published: Arc<Published>,
    snapshots: Snapshots,
}

impl StateMachine {
    /// Starts from the newest snapshot.
    ///
    /// # Errors
    /// When it cannot be read; the log before it is gone, so there is no other start.
    pub(crate) fn open(snapshots: Snapshots, published: Arc<Published>) -> io::Result<Self> {
        let mut machine = Self {
            state: ClusterState::default(),
            last: None,
            membership: StoredMembership::default(),
            published,
            snapshots,
        };
        if let Some(path) = machine.snapshots.current()? {
            let (meta, state) = snapshots::read(&path)?;
            machine.replace(meta, state);
        }
        Ok(machine)
    }

    fn replace(&mut self, meta: SnapshotMetaRecord, state: ClusterState) {
        let meta = SnapshotMeta::from(meta);
        self.state = state;
        self.last = meta.last_log_id;
        self.membership = meta.last_membership;
        self.published.publish(&self.state);
    }

    /// Records one entry. Entries without commands only move the index.
    pub(super) fn record(&mut self, entry: &Entry) -> io::Result<Applied> {
        let id = entry.log_id;
        let nothing = |state: &ClusterState| LogEntry { at: state.now, commands: Vec::new() };
        let content = match &entry.payload {
            Payload::Normal(proposal) => codec::decode("log entry", &proposal.0).map_err(|error| {
                let text = format!(
                    "read log entry {}: {}; a newer version may have written it: install that one here",
                    id.index, error.source
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?,
            Payload::Blank => nothing(&self.state),
            Payload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership.clone());
                nothing(&self.state)
            }
        };
        self.last = Some(id);
        // Position 0 holds the first membership; an empty state already stands there.
        if id.index == 0 {
            return Ok(Applied::default());
        }
        Ok(apply(&mut self.state, id.index, &content))
    }

    fn answer(&self, waiting: &mut Vec<(ApplyResponder<TypeConfig>, Applied)>) {
        self.published.publish(&self.state);
        for (responder, applied) in waiting.drain(..) {
            responder.send(applied);
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut waiting = Vec::new();
        let (mut since, mut changes) = (0, 0);
        while let Some((entry, responder)) = entries.try_next().await? {
            if changes > CHANGES_PER_TURN_MAX {
                changes = 0;
                tokio::task::yield_now().await;
            }
            match self.record(&entry) {
                Ok(applied) => {
                    changes += applied.events.len();
                    waiting.extend(responder.map(|responder| (responder, applied)));
                }
                Err(error) => {
                    self.answer(&mut waiting);
                    return Err(error);
                }
            }
            since += 1;
            if since == ENTRIES_PER_VIEW_MAX {
                self.answer(&mut waiting);
                since = 0;
            }
        }
        self.answer(&mut waiting);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            meta: SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() },
            state: self.state.clone(),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, file: SnapshotFile) -> io::Result<()> {
        let snapshots = self.snapshots.clone();
        let work = move || {
            let whole = snapshots::read(&file.path)?;
            snapshots.adopt(&file.path, &whole.0)?;
            Ok(whole)
        };
        let (meta, state) = aside(work).await?;
        self.replace(meta, state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>> {
        let Some(path) = self.snapshots.current()? else { return Ok(None) };
        let meta = snapshots::read_meta(&path)?.into();
        Ok(Some(SnapshotOf::<TypeConfig, _> { meta, snapshot: SnapshotFile { path } }))
    }
}

/// A state at one index, on its way to a file.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    state: ClusterState,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotFile>> {
        let (state, snapshots) = (self.state.clone(), self.snapshots.clone());
        let record = SnapshotMetaRecord::from(&self.meta);
        let path = aside(move || snapshots.write(&record, &state)).await?;
        Ok(SnapshotOf::<TypeConfig, _> { meta: self.meta.clone(), snapshot: SnapshotFile { path } })
    }
}
