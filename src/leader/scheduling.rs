//! Waiting instances → `scheduler::Book::cycle` → `LaunchTasks`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::term::instant_of;
use super::{Controller, LeaderStats, LeaderStore, RollCall, Unrecorded};
use crate::domain::{AgentId, Strategy};
use crate::scheduler::Book;
use crate::state::Command;
use crate::telemetry::SchedulingMetrics;

/// While something waits and an agent is avoided for its silence: when to look whether it
/// spoke again, which rings no bell.
const SUSPECT_LOOK: Duration = Duration::from_millis(500);

pub(super) struct Scheduling {
    store: LeaderStore,
    roll_call: RollCall,
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
        Self { store, roll_call, stats, metrics, book: Book::new(strategy) }
    }

    async fn cycle(&mut self) -> Result<Option<Instant>, Unrecorded> {
        let (view, now) = self.store.look();
        let begun = Instant::now();
        self.book.follow(&view);
        if !self.book.has_waiting() {
            LeaderStats::set(&self.stats.waiting, 0);
            return Ok(None);
        }
        let avoided: BTreeSet<AgentId> = self.roll_call.suspects(&view).into_keys().collect();
        let report = self.book.cycle(&view, &avoided, now);
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

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(self.cycle())
    }
}
