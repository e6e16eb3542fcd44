//! Apps outside deployments → `planner::reconcile` → intents as commands.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::term::instant_of;
use super::{Controller, LeaderStore, Unrecorded};
use crate::domain::{AppId, InstanceId, Timestamp};
use crate::planner;
use crate::state::Command;
use crate::store::View;
use crate::world::{blocking, ordered_uuid};

pub(super) struct Instances {
    store: LeaderStore,
}

impl Instances {
    pub(super) fn new(store: LeaderStore) -> Self {
        Self { store }
    }

    async fn balance(&self) -> Result<Option<Instant>, Unrecorded> {
        let (view, now) = self.store.look();
        let wanted = look_through(&view, move |view| {
            let mut mint = Mint::at(now);
            planner::reconcile(view, now, &mut |app| mint.one(app))
        });
        let wanted = wanted.await;
        let next_look = wanted.next_look.map(|moment| instant_of(moment, now));
        if !wanted.intents.is_empty() {
            self.store.propose(wanted.intents.into_iter().map(Command::from).collect()).await?;
        }
        Ok(next_look)
    }
}

/// Instances from which on a look through all of them takes so long, some milliseconds, that it is
/// done away from the threads that serve agents and people.
const LARGE: usize = 10_000;

/// What `look` finds in the whole state, without holding up others.
pub(super) async fn look_through<T: Send + 'static>(
    view: &View,
    look: impl FnOnce(&View) -> T + Send + 'static,
) -> T {
    if view.instances.len() < LARGE {
        return look(view);
    }
    let view = View::clone(view);
    blocking(move || look(&view)).await
}

/// Mints ids of instances. Those of one look sort in the order in which they were minted, and
/// after those of earlier looks: instances that are created, launched and told of together lie
/// side by side in the state's tables, so that recording them touches few chunks.
pub(super) struct Mint {
    order: u64,
}

impl Mint {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { order: u64::try_from(now.as_millis()).unwrap_or(0) << 12 }
    }

    /// The id of one more instance of an app.
    pub(super) fn one(&mut self, app: &AppId) -> InstanceId {
        self.order = self.order.saturating_add(1);
        InstanceId::mint(app, ordered_uuid(self.order))
    }
}

impl Controller for Instances {
    fn name(&self) -> &'static str {
        "instances"
    }

    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>> {
        Box::pin(self.balance())
    }
}
