//! Floor 4: the masters' end of the line to agents.
//!
//! Way in: [`Dispatcher`]; the daemon hands it every connection that an agent opened.
//! Compares what the state wants of an agent with what was sent, and sends the
//! difference; commits what agents say, then acknowledges. Knows not why an instance
//! exists: no deployments, no requests of people.

mod assignments;
mod launch;
mod registration;
mod session;
pub mod sessions;
mod task_env;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::line::Line;
use crate::protocol::Fence;
use crate::store::{Leadership, StateStore};
use crate::world;

pub use sessions::{Contact, Sessions};

/// How often agents are asked to say that they live.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Talks to agents while this master leads; redirects them otherwise.
pub struct Dispatcher {
    store: Arc<dyn StateStore>,
    sessions: Arc<Sessions>,
}

impl Dispatcher {
    /// Over a store.
    pub fn new(store: Arc<dyn StateStore>) -> Arc<Self> {
        Arc::new(Self { store, sessions: Arc::new(Sessions::default()) })
    }

    /// Who speaks and when they last did.
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.sessions)
    }

    /// Serves one connection of an agent until either side ends it or `shutdown`.
    pub async fn serve(self: Arc<Self>, line: Line, shutdown: CancellationToken) {
        session::run(&self.store, &self.sessions, line, shutdown).await;
    }

    /// Wakes sessions whose agent is concerned by a change of the state. Ends with `shutdown`.
    pub async fn watch_changes(self: Arc<Self>, shutdown: CancellationToken) {
        let mut applied = self.store.applied();
        let mut seen = self.store.snapshot();
        loop {
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
            let view = self.store.snapshot();
            for id in view.instances.written_since(&seen.instances) {
                let rows = [view.instances.get(&id), seen.instances.get(&id)];
                for task in rows.into_iter().flatten().filter_map(|row| row.task.as_ref()) {
                    self.sessions.wake(&task.agent);
                }
            }
            seen = view;
        }
    }

    /// Starts [`Dispatcher::watch_changes`] in the background.
    pub fn start(self: &Arc<Self>, shutdown: CancellationToken) -> tokio::task::JoinHandle<()> {
        world::spawn(Arc::clone(self).watch_changes(shutdown))
    }
}

/// The fence of what is sent now; nothing before the cluster has an identity.
fn fence(view: &crate::store::View, leadership: &Leadership) -> Option<Fence> {
    let cluster = view.cluster.clone()?;
    Some(Fence { cluster, epoch: view.epoch, term: leadership.term, index: view.index })
}

#[cfg(all(test, not(feature = "sim")))]
mod tests;
