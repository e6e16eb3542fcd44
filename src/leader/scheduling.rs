//! Waiting instances → `scheduler::Book::cycle` → `LaunchTasks`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::agent_liveness::{Contacts, LivenessLimits};
use super::term::instant_of;
use super::{Controller, LeaderStats, LeaderStore, Unrecorded};
use crate::domain::{AgentId, Strategy};
use crate::scheduler::Book;
use crate::state::{ClusterState, Command, Presence};
use crate::telemetry::SchedulingMetrics;

/// While something waits and an agent is avoided for its silence: when to look whether it
/// spoke again, which rings no bell.
const SUSPECT_LOOK: Duration = Duration::from_millis(500);

pub(super) struct Scheduling {
    store: LeaderStore,
    contacts: Arc<dyn Contacts>,
    limits: LivenessLimits,
    stats: Arc<LeaderStats>,
    metrics: SchedulingMetrics,
    /// Follows the state while this master leads; a new term begins with an empty one.
    book: Book,
}

impl Scheduling {
    pub(super) fn new(
        store: LeaderStore,
        contacts: Arc<dyn Contacts>,
        limits: LivenessLimits,
        stats: Arc<LeaderStats>,
        metrics: SchedulingMetrics,
        strategy: Strategy,
    ) -> Self {
        Self { store, contacts, limits, stats, metrics, book: Book::new(strategy) }
    }

    async fn cycle(&mut self) -> Result<Option<Instant>, Unrecorded> {
        let (view, now) = self.store.look();
        let begun = Instant::now();
        self.book.follow(&view);
        if !self.book.has_waiting() {
            LeaderStats::set(&self.stats.waiting, 0);
            return Ok(None);
        }
        let avoided = self.avoided(&view);
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

    /// Agents that are silent, or have not come to this leader yet.
    fn avoided(&self, state: &ClusterState) -> BTreeSet<AgentId> {
        let present = state.agents.iter().filter(|(_, agent)| agent.presence == Presence::Registered);
        let now = Instant::now();
        let is_suspect = |agent: &AgentId| self.limits.is_suspect(self.contacts.contact(agent), now);
        present.map(|(id, _)| id).filter(|id| is_suspect(id)).cloned().collect()
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
