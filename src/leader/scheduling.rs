//! Waiting instances → `scheduler::Book::cycle` → `LaunchTasks`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::suspects::Avoided;
use super::term::instant_of;
use super::{Controller, LeaderStats, LeaderStore, RollCall, Unrecorded};
use crate::domain::Strategy;
use crate::scheduler::Book;
use crate::state::Command;
use crate::telemetry::SchedulingMetrics;

/// While something waits and an agent is avoided for its silence: when to look whether it
/// spoke again, which rings no bell.
const SUSPECT_LOOK: Duration = Duration::from_millis(500);

pub(super) struct Scheduling {
    store: LeaderStore,
    roll_call: RollCall,
    avoided: Avoided,
    stats: Arc<LeaderStats>,
    metrics: SchedulingMetrics,
    /// Follows the state while this master leads; a new term begins with an empty one.
    book: Book,
}

impl Scheduling {
    pub(super) fn new(
        store: LeaderStore,
        roll_call: RollCall,
        stats: Arc<LeaderStats>,
        metrics: SchedulingMetrics,
        strategy: Strategy,
    ) -> Self {
        Self { store, roll_call, avoided: Avoided::default(), stats, metrics, book: Book::new(strategy) }
    }

    async fn cycle(&mut self) -> Result<Option<Instant>, Unrecorded> {
        let (view, now) = self.store.look();
        let begun = Instant::now();
        self.book.follow(&view);
        if !self.book.has_waiting() {
            LeaderStats::set(&self.stats.waiting, 0);
            return Ok(None);
        }
        let avoided = self.avoided.now(&self.roll_call, &view);
        let report = self.book.cycle(&view, avoided, now);
        self.metrics.cycle(report.placements.len(), begun.elapsed());
        LeaderStats::set(&self.stats.waiting, report.left);
        let suspects = (!report.blocked.is_empty() && !avoided.is_empty()).then(|| begun + SUSPECT_LOOK);
        let next_look = report.next_look.map(|moment| instant_of(moment, now));
        if !report.placements.is_empty() {
            let launch = Command::LaunchTasks { placements: report.placements, seen_at: view.index };
            self.store.propose(vec![launch]).await?;
        }
        Ok([next_look, suspects].into_iter().flatten().min())
    }
}

impl Controller for Scheduling {
    fn name(&self) -> &'static str {
        "scheduling"
    }

    /// The book follows what changed.
    fn looks_at_everything(&self) -> bool {
        false
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(self.cycle())
    }
}
