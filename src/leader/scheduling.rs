//! Waiting instances → `scheduler::Book::cycle` → `LaunchTasks`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::suspects::Avoided;
use super::term::instant_of;
use super::{Controller, LeaderStats, LeaderStore, RollCall, Unrecorded};
use crate::domain::{Strategy, Timestamp};
use crate::scheduler::{Book, CycleReport, placements_together};
use crate::state::{ClusterState, Command, Placement};
use crate::store::View;
use crate::telemetry::SchedulingMetrics;
use crate::world::blocking;

/// While something waits and an agent is avoided for its silence: when to look whether it
/// spoke again, which rings no bell.
const SUSPECT_LOOK: Duration = Duration::from_millis(500);

/// Placements of one log entry at most: about 300 KiB. Others wait while a large entry is written.
const PLACEMENTS_PER_ENTRY: usize = 1_024;

/// Placements, about 4 ms of them, from which on a cycle is decided away from the threads that serve
/// agents and people.
const LARGE: usize = 1_024;

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
        let report = self.decide(&view, now).await;
        self.metrics.cycle(report.placements.len(), begun.elapsed());
        LeaderStats::set(&self.stats.waiting, report.left);
        let avoids = !self.avoided.now(&self.roll_call, &view).is_empty();
        let suspects = (!report.blocked.is_empty() && avoids).then(|| begun + SUSPECT_LOOK);
        let next_look = report.next_look.map(|moment| instant_of(moment, now));
        self.launch(report.placements, view.index).await?;
        Ok([next_look, suspects].into_iter().flatten().min())
    }

    async fn decide(&mut self, view: &View, now: Timestamp) -> CycleReport {
        let most = placements_together(view.agents.len());
        let avoided = self.avoided.now(&self.roll_call, view);
        if self.book.waiting() < LARGE {
            return self.book.cycle_up_to(most, view, avoided, now);
        }
        let (mut book, view, avoided) = (std::mem::take(&mut self.book), View::clone(view), avoided.clone());
        // A book that is lost with a term that ends meanwhile is made anew.
        let (book, report) = blocking(move || {
            let report = book.cycle_up_to(most, &view, &avoided, now);
            (book, report)
        })
        .await;
        self.book = book;
        report
    }

    /// Records placements, those of an agent side by side: so that it hears of all in one message.
    async fn launch(&mut self, mut placements: Vec<Placement>, seen_at: u64) -> Result<(), Unrecorded> {
        placements.sort_by(|a, b| a.agent.cmp(&b.agent));
        let mut is_first = true;
        while !placements.is_empty() {
            let rest = placements.split_off(placements.len().min(PLACEMENTS_PER_ENTRY));
            let mut part = std::mem::replace(&mut placements, rest);
            if !std::mem::take(&mut is_first) {
                self.drop_outdated(&mut part);
            }
            if !part.is_empty() {
                self.store.propose(vec![Command::LaunchTasks { placements: part, seen_at }]).await?;
            }
        }
        Ok(())
    }

    /// Forgets what the next cycle would decide in another way: placements on agents that fell silent,
    /// and of apps that pause after a failure, since the cycle began.
    fn drop_outdated(&mut self, placements: &mut Vec<Placement>) {
        let (view, now) = self.store.look();
        let avoided = self.avoided.now(&self.roll_call, &view);
        placements
            .retain(|placement| !avoided.contains(&placement.agent) && !is_paused(&view, placement, now));
    }
}

fn is_paused(state: &ClusterState, placement: &Placement, now: Timestamp) -> bool {
    let app = state.instances.get(&placement.instance).and_then(|row| state.apps.get(&row.app));
    app.and_then(|app| app.delay.as_ref()).is_some_and(|delay| delay.until() > now)
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
