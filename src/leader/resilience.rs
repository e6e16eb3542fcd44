//! Keeps looking which agents could each be lost alone with everything still placed.
//!
//! A background duty: it takes a small share of one core, away from the threads that serve, and
//! does nothing while nothing changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Controller, LeaderStore, RollCall, Unrecorded};
use crate::domain::{AgentId, Strategy};
use crate::forecast::{Resilience, survey};
use crate::world;

/// After a look that took so long comes a pause of so many times that: less than 5 % of one core.
const PAUSE_FACTOR: u32 = 20;

/// Shortest pause between two looks. A figure for planning need not be fresher.
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// Longest that a look that is due waits for deployments to end.
const PUT_OFF_MAX: Duration = Duration::from_secs(300);

/// Where the latest look is shown; nothing before the first of a term, and while this master does not lead.
pub type ResilienceBoard = watch::Sender<Option<Arc<Resilience>>>;

pub(super) struct Watchman {
    store: LeaderStore,
    roll_call: RollCall,
    board: Arc<ResilienceBoard>,
    strategy: Strategy,
    due: Instant,
    /// What the latest look was at.
    seen: Option<(u64, BTreeSet<AgentId>)>,
}

impl Watchman {
    /// The first look comes after a pause: agents first have to come to a new leader.
    pub(super) fn new(
        store: LeaderStore,
        roll_call: RollCall,
        board: Arc<ResilienceBoard>,
        strategy: Strategy,
    ) -> Self {
        Self { store, roll_call, board, strategy, due: Instant::now() + PAUSE_MIN, seen: None }
    }

    async fn look(&mut self) -> Result<Option<Instant>, Unrecorded> {
        let begun = Instant::now();
        if begun < self.due {
            return Ok(Some(self.due));
        }
        let (view, _) = self.store.look();
        // What is found of a state on its way to another is old before it is told; and a look keeps all
        // that it looks at in memory.
        let put_off_until = self.due + PUT_OFF_MAX;
        if !view.deployments.is_empty() && begun < put_off_until {
            return Ok(Some(put_off_until));
        }
        let avoided: BTreeSet<AgentId> = self.roll_call.suspects(&view).into_keys().collect();
        if self.seen.as_ref().is_some_and(|(index, agents)| *index == view.index && *agents == avoided) {
            return Ok(None);
        }
        // Whoever gives up on this look, at the end of a term, ends the work as well.
        let ended = EndsWork(Arc::default());
        let is_ended = Arc::clone(&ended.0);
        let (state, excluded) = (Arc::clone(&view), avoided.clone());
        let strategy = self.strategy;
        let found = world::blocking(move || {
            survey(&state, &excluded, strategy, &mut || !is_ended.load(Ordering::Relaxed))
        });
        let Some(survey) = found.await else { return Ok(Some(begun + PAUSE_MIN)) };
        let took = begun.elapsed();
        let (_, at) = self.store.look();
        self.board.send_replace(Some(Arc::new(Resilience { survey, at, took })));
        self.seen = Some((view.index, avoided));
        self.due = Instant::now() + took.saturating_mul(PAUSE_FACTOR).max(PAUSE_MIN);
        Ok(Some(self.due))
    }
}

impl Drop for Watchman {
    /// Only a leader knows.
    fn drop(&mut self) {
        self.board.send_replace(None);
    }
}

struct EndsWork(Arc<AtomicBool>);

impl Drop for EndsWork {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Controller for Watchman {
    fn name(&self) -> &'static str {
        "resilience"
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(self.look())
    }
}
