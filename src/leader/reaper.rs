//! Drops what nobody will ask for again: old answers, contents of long ago.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Controller, LeaderStore, Unrecorded};
use crate::domain::Timestamp;
use crate::state::{ClusterState, Command};

/// How often it looks for old things.
const REAP_EVERY: Duration = Duration::from_secs(3600);

/// How long the answer to an idempotency key is kept. Clients repeat within minutes.
const ANSWERS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Contents recorded since the last time that bring the next one forward: a client that
/// PUTs in a loop must not fill the state within the hour.
const VERSIONS_GROWTH_MAX: usize = 1_000;

pub(super) struct Reaper {
    store: LeaderStore,
    due: Instant,
    /// Contents left by the last time.
    versions_left: usize,
}

impl Reaper {
    pub(super) fn new(store: LeaderStore) -> Self {
        let versions_left = store.look().0.versions.len();
        Self { store, due: Instant::now() + REAP_EVERY, versions_left }
    }

    async fn reap(&mut self) -> Result<Option<Instant>, Unrecorded> {
        let (view, now) = self.store.look();
        let grown = view.versions.len().saturating_sub(self.versions_left);
        if Instant::now() < self.due && grown < VERSIONS_GROWTH_MAX {
            return Ok(Some(self.due));
        }
        self.due = Instant::now() + REAP_EVERY;
        self.versions_left = view.versions.len();
        let requests_before = day_before(now);
        if grown > 0 || holds_older(&view, requests_before) {
            self.store.propose(vec![Command::Reap { requests_before }]).await?;
            self.versions_left = self.store.look().0.versions.len();
        }
        Ok(Some(self.due))
    }
}

fn day_before(now: Timestamp) -> Timestamp {
    let day = i64::try_from(ANSWERS_KEPT.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(day))
}

fn holds_older(state: &ClusterState, than: Timestamp) -> bool {
    state.requests.values().any(|row| row.at < than)
}

impl Controller for Reaper {
    fn name(&self) -> &'static str {
        "reaper"
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(self.reap())
    }
}
