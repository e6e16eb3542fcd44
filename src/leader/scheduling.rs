//! Waiting instances → `scheduler::run_cycle` → `LaunchTasks`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::agent_liveness::{Contacts, LivenessLimits};
use super::term::instant_of;
use super::{Controller, LeaderStats, LeaderStore, Unrecorded};
use crate::domain::AgentId;
use crate::scheduler::{SchedulingView, run_cycle};
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
}

impl Scheduling {
    pub(super) fn new(
        store: LeaderStore,
        contacts: Arc<dyn Contacts>,
        limits: LivenessLimits,
        stats: Arc<LeaderStats>,
        metrics: SchedulingMetrics,
    ) -> Self {
        Self { store, contacts, limits, stats, metrics }
    }

    async fn cycle(&self) -> Result<Option<Instant>, Unrecorded> {
        let (view, now) = self.store.look();
        if !view.instances.values().any(|row| row.is_waiting()) {
            LeaderStats::set(&self.stats.waiting, 0);
            return Ok(None);
        }
        let begun = Instant::now();
        let scheduling = SchedulingView::of(&view, self.avoided(&view));
        let report = run_cycle(&scheduling, now);
        self.metrics.cycle(report.placements.len(), begun.elapsed());
        LeaderStats::set(&self.stats.waiting, report.waiting.values().map(|waiting| waiting.count).sum());
        let fits_nowhere = report.waiting.values().any(|waiting| waiting.backing_off_until.is_none());
        let suspects = (fits_nowhere && !scheduling.excluded.is_empty()).then(|| begun + SUSPECT_LOOK);
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
