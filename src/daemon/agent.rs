//! One agent: its loop and its metrics, over whatever runs its tasks.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::driver::TaskDriver;
use crate::agent::{Agent, AgentError, AgentHome, AgentParts, AgentSettings, AgentView, PortProbe};
use crate::telemetry::Registry;
use crate::world::{self, Clock};

/// What an agent acts through, apart from its metrics.
pub struct Means {
    /// Runs tasks.
    pub driver: Arc<dyn TaskDriver>,
    /// Finds ports that strangers hold; absent in the simulator.
    pub ports: Option<Arc<dyn PortProbe>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// An agent that runs.
pub struct RunningAgent {
    /// What it knows, for its own server.
    pub view: Arc<AgentView>,
    /// Its metrics.
    pub registry: Arc<Registry>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

/// Starts an agent; its identity and records lie in `home`.
///
/// # Errors
/// [`AgentError`]: a sentence about the data directory and what to do.
pub fn start(home: AgentHome, settings: AgentSettings, means: Means) -> Result<RunningAgent, AgentError> {
    let registry = Arc::new(Registry::agent());
    let Means { driver, ports, clock } = means;
    let agent =
        Agent::open(home, settings, AgentParts { driver, ports, clock, metrics: registry.runtime() })?;
    let view = agent.view();
    let watched = Arc::clone(&view);
    registry.add_source(Box::new(move |samples| watched.sample(samples)));
    let shutdown = CancellationToken::new();
    let running = world::spawn(agent.run(shutdown.clone()));
    Ok(RunningAgent { view, registry, shutdown, running })
}

impl RunningAgent {
    /// Ends the agent; its tasks run on, unless its settings say otherwise.
    pub async fn stop(self) {
        self.shutdown.cancel();
        // A panic in the loop was logged where it happened.
        let _ = self.running.await;
    }
}
