//! One list of controllers: all start when this master begins to lead, all are awaited
//! when it ceases to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agent_liveness::{AgentLiveness, Contacts, LivenessLimits};
use super::deployments::Deployments;
use super::instances::Instances;
use super::reaper::Reaper;
use super::resilience::{ResilienceBoard, Watchman};
use super::scheduling::Scheduling;
use super::tend::tend;
use super::{Controller, LeaderStats, LeaderStore, RollCall, Unrecorded};
use crate::domain::{ClusterId, Strategy};
use crate::state::Command;
use crate::store::{Leadership, StateStore};
use crate::telemetry::SchedulingMetrics;
use crate::world::{Clock, inherit, random_uuid};

/// Wait before controllers start again when one ended although the term seems to go on:
/// the news that it is over is then usually on its way.
const RESTART_PAUSE: Duration = Duration::from_millis(50);

/// Life of a cluster that was never recovered nor restored.
const FIRST_EPOCH: u64 = 1;

/// What only a leader does. Built once by each master.
pub struct LeaderScope {
    /// The replicated state.
    pub store: Arc<dyn StateStore>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// When agents last spoke.
    pub contacts: Arc<dyn Contacts>,
    /// When silence becomes absence.
    pub limits: LivenessLimits,
    /// What is counted.
    pub stats: Arc<LeaderStats>,
    /// Figures of each scheduling cycle.
    pub metrics: SchedulingMetrics,
    /// Where it shows which agents could be lost.
    pub resilience: Arc<ResilienceBoard>,
    /// What apps get that wish for no strategy.
    pub strategy: Strategy,
}

impl LeaderScope {
    /// Leads whenever this master is the leader, until `shutdown`; returns when every
    /// controller has ended.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut leadership = self.store.leadership();
        while let Some(term) = next_term(&mut leadership, &shutdown).await {
            tracing::info!(term, "leads");
            self.stats.step_up();
            self.lead(term, leadership.clone(), &shutdown).await;
            self.stats.step_down();
            tracing::info!(term, "controllers have ended");
            let _ = tokio::time::timeout(RESTART_PAUSE, shutdown.cancelled()).await;
        }
    }

    /// Runs every controller until the term is over, and awaits them.
    async fn lead(
        &self,
        term: u64,
        mut leadership: watch::Receiver<Leadership>,
        shutdown: &CancellationToken,
    ) {
        let ended = shutdown.child_token();
        let mut running = JoinSet::new();
        for duty in self.duties(term) {
            let (agents, ended) = (self.contacts.changes(), ended.clone());
            let store = duty.store;
            let controller = duty.controller;
            running.spawn(inherit(tend(controller, store, agents, ended)));
        }
        tokio::select! {
            _ = leadership.wait_for(|now| !now.leads || now.term != term) => {}
            first = running.join_next() => report(first),
            () = ended.cancelled() => {}
        }
        ended.cancel();
        while let Some(finished) = running.join_next().await {
            report(Some(finished));
        }
    }

    /// The one list. Each controller has a store of its own, bound to the term.
    fn duties(&self, term: u64) -> Vec<Duty> {
        let store = || LeaderStore::new(Arc::clone(&self.store), Arc::clone(&self.clock), term);
        let (contacts, stats) = (|| Arc::clone(&self.contacts), || Arc::clone(&self.stats));
        vec![
            Duty::new(store(), Founder::new),
            Duty::new(store(), |store| AgentLiveness::new(store, contacts(), self.limits, stats())),
            Duty::new(store(), |store| Deployments::new(store, stats())),
            Duty::new(store(), Instances::new),
            Duty::new(store(), |store| {
                let roll_call = RollCall::new(contacts(), self.limits);
                Scheduling::new(store, roll_call, stats(), self.metrics.clone(), self.strategy)
            }),
            Duty::new(store(), Reaper::new),
            Duty::new(store(), |store| {
                Watchman::new(
                    store,
                    RollCall::new(contacts(), self.limits),
                    Arc::clone(&self.resilience),
                    self.strategy,
                )
            }),
        ]
    }
}

/// A controller, and the store whose fruitless proposals slow it down.
struct Duty {
    controller: Box<dyn Controller>,
    store: LeaderStore,
}

impl Duty {
    fn new<C: Controller + 'static>(store: LeaderStore, build: impl FnOnce(LeaderStore) -> C) -> Self {
        Self { controller: Box::new(build(store.share())), store }
    }
}

/// Waits until this master leads; nothing when `shutdown` comes first.
async fn next_term(
    leadership: &mut watch::Receiver<Leadership>,
    shutdown: &CancellationToken,
) -> Option<u64> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        found = leadership.wait_for(|now| now.leads) => found.ok().map(|now| now.term),
    }
}

/// A controller that panicked found a bug: the process ends, as for every bug.
fn report(finished: Option<Result<(), JoinError>>) {
    if let Some(Err(error)) = finished
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Gives a new cluster its identity.
struct Founder {
    store: LeaderStore,
}

impl Founder {
    fn new(store: LeaderStore) -> Self {
        Self { store }
    }

    async fn found(&self) -> Result<(), Unrecorded> {
        let (view, _) = self.store.look();
        if view.cluster.is_none() {
            let cluster = ClusterId::new(random_uuid().hyphenated().to_string());
            self.store.propose(vec![Command::FoundCluster { cluster, epoch: FIRST_EPOCH }]).await?;
        }
        Ok(())
    }
}

impl Controller for Founder {
    fn name(&self) -> &'static str {
        "founder"
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(async { self.found().await.map(|()| None) })
    }
}
