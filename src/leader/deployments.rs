//! Deployments under way → `planner::advance` → intents as commands.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::instances::{Mint, look_through};
use super::{Controller, LeaderStats, LeaderStore, Unrecorded};
use crate::planner;
use crate::state::Command;

pub(super) struct Deployments {
    store: LeaderStore,
    stats: Arc<LeaderStats>,
}

impl Deployments {
    pub(super) fn new(store: LeaderStore, stats: Arc<LeaderStats>) -> Self {
        Self { store, stats }
    }

    /// Every deployment moves on the same look; they share no app, so none disturbs another.
    async fn advance(&self) -> Result<(), Unrecorded> {
        let (view, now) = self.store.look();
        LeaderStats::set(&self.stats.deployments_active, view.deployments.len());
        if view.deployments.is_empty() {
            return Ok(());
        }
        let intents = look_through(&view, move |view| {
            let mut mint = Mint::at(now);
            let rows = view.deployments.values();
            rows.flat_map(|row| planner::advance(view, row, &mut |app| mint.one(app))).collect::<Vec<_>>()
        });
        let commands: Vec<Command> = intents.await.into_iter().map(Command::from).collect();
        if !commands.is_empty() {
            self.store.propose(commands).await?;
        }
        Ok(())
    }
}

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployments"
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(async { self.advance().await.map(|()| None) })
    }
}
