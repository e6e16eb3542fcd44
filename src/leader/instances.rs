//! Apps outside deployments → `planner::reconcile` → intents as commands.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::term::instant_of;
use super::{Controller, LeaderStore, Unrecorded};
use crate::domain::{AppId, InstanceId};
use crate::planner;
use crate::state::Command;
use crate::world::random_uuid;

pub(super) struct Instances {
    store: LeaderStore,
}

impl Instances {
    pub(super) fn new(store: LeaderStore) -> Self {
        Self { store }
    }

    async fn balance(&self) -> Result<Option<Instant>, Unrecorded> {
        let (view, now) = self.store.look();
        let wanted = planner::reconcile(&view, now, &mut mint);
        let next_look = wanted.next_look.map(|moment| instant_of(moment, now));
        if !wanted.intents.is_empty() {
            self.store.propose(wanted.intents.into_iter().map(Command::from).collect()).await?;
        }
        Ok(next_look)
    }
}

/// The id of one more instance of an app.
pub(super) fn mint(app: &AppId) -> InstanceId {
    InstanceId::mint(app, random_uuid())
}

impl Controller for Instances {
    fn name(&self) -> &'static str {
        "instances"
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(self.balance())
    }
}
