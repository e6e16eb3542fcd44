//! Floor 4: the masters' end of the line to agents.
//!
//! Way in: [`Dispatcher`]; the daemon hands it every connection that an agent opened.
//! Compares what the state wants of an agent with what was sent, and sends the
//! difference; commits what agents say, then acknowledges. Knows not why an instance
//! exists: no deployments, no requests of people.

mod assignments;
mod launch;
mod recorder;
mod registration;
mod session;
pub mod sessions;
mod task_env;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::assignments::duty;
use self::recorder::{Recorder, Recording};
use crate::line::Line;
use crate::protocol::Fence;
use crate::store::StateStore;
use crate::world;

pub use sessions::{Contact, Sessions};

/// How often agents are asked to say that they live.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Talks to agents while this master leads; redirects them otherwise.
pub struct Dispatcher {
    store: Arc<dyn StateStore>,
    sessions: Arc<Sessions>,
    recorder: Recorder,
    /// Until [`Dispatcher::start`] takes it.
    recording: Mutex<Option<Recording>>,
}

impl Dispatcher {
    /// Over a store.
    pub fn new(store: Arc<dyn StateStore>) -> Arc<Self> {
        let (recorder, recording) = recorder::pair();
        let sessions = Arc::new(Sessions::default());
        Arc::new(Self { store, sessions, recorder, recording: Mutex::new(Some(recording)) })
    }

    /// Who speaks and when they last did.
    pub fn sessions(&self) -> Arc<Sessions> {
        Arc::clone(&self.sessions)
    }

    /// Serves one connection of an agent until either side ends it or `shutdown`. What agents say
    /// is recorded once [`Dispatcher::start`] was called.
    pub async fn serve(self: Arc<Self>, line: Line, shutdown: CancellationToken) {
        session::run(&self, line, shutdown).await;
    }

    /// Starts, in the background, to tell sessions what concerns their agents and to record what
    /// agents say, until `shutdown`. The first call does; later ones only watch.
    pub fn start(self: &Arc<Self>, shutdown: CancellationToken) -> tokio::task::JoinHandle<()> {
        let recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner).take();
        let watching = Arc::clone(self).watch_changes(shutdown.clone());
        let store = Arc::clone(&self.store);
        let recording = recording.map(|recording| world::spawn(recording.run(store, shutdown)));
        world::spawn(async move {
            watching.await;
            if let Some(recording) = recording {
                let _ = recording.await;
            }
        })
    }

    /// Tells sessions which instances on their agents changed in a way that concerns these.
    async fn watch_changes(self: Arc<Self>, shutdown: CancellationToken) {
        let mut applied = self.store.applied();
        let mut seen = self.store.snapshot();
        loop {
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
            let view = self.store.snapshot();
            for change in view.instances.changes_since(&seen.instances) {
                let before = change.before.and_then(|row| duty(row));
                let after = change.after.and_then(|row| duty(row));
                if before == after {
                    continue; // As most words of agents: it runs, it is healthy.
                }
                let agents = [before.map(|duty| duty.0), after.map(|duty| duty.0)];
                let [first, second] = if agents[0] == agents[1] { [agents[0], None] } else { agents };
                for agent in [first, second].into_iter().flatten() {
                    self.sessions.note(agent, change.key);
                }
            }
            seen = view;
        }
    }
}

/// The fence of what is sent now; nothing before the cluster has an identity.
fn fence(view: &crate::store::View, term: u64) -> Option<Fence> {
    let cluster = view.cluster.clone()?;
    Some(Fence { cluster, epoch: view.epoch, term, index: view.index })
}

#[cfg(all(test, not(feature = "sim")))]
mod tests;
