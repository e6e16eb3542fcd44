//! Side tower: runs tasks on one machine.
//!
//! Way in: [`AgentHome::open`], then [`Agent::open`] and [`Agent::run`]. Inside, a pure
//! core decides (`core`, `tasks`, `verdict`) and a loop performs (`runtime`, `perform`,
//! `link`, `checkpoint`, `health`). Names only `domain`, `protocol`, `line`, `world` and
//! `telemetry`. Knows no apps, versions or deployments, and of the masters only addresses
//! and a term.

mod checkpoint;
mod core;
#[cfg(test)]
mod core_laws;
#[cfg(test)]
mod core_tests;
pub mod driver;
mod effect;
mod exit_text;
mod fences;
mod full_disk;
mod health;
#[cfg(all(test, not(feature = "sim")))]
mod health_tests;
#[cfg(not(feature = "sim"))]
mod held_ports;
mod home;
#[cfg(not(feature = "sim"))]
mod known_process;
mod link;
mod perform;
mod record;
mod reserve;
#[cfg(not(feature = "sim"))]
pub mod resources;
mod routes;
mod runtime;
#[cfg(all(test, not(feature = "sim")))]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod runtime_tests;
mod sealed;
#[cfg(not(feature = "sim"))]
pub mod shim;
mod starting;
mod tasks;
mod turn;
mod verdict;
mod view;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::checkpoint::Checkpoints;
use self::core::AgentCore;
use self::driver::TaskDriver;
use self::perform::Operations;
use self::runtime::{INPUTS_MAX, Runtime};
use crate::domain::{AgentInfo, Attributes, PortRanges, Reserved, Resources};
use crate::line::Security;
use crate::telemetry::RuntimeMetrics;
use crate::world::Clock;

pub use self::effect::HeldPort;
#[cfg(not(feature = "sim"))]
pub use self::held_ports::KernelPorts;
pub use self::home::{AgentHome, HomeError};
pub use self::record::{StopAsked, TaskRecord};
pub use self::routes::{MetricsPage, router};
pub use self::view::AgentView;

/// What an agent is told at its start.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Cluster addresses of the masters, in any order.
    pub masters: Vec<String>,
    /// How masters are dialled.
    pub security: Security,
    /// Name under which tasks here are reached.
    pub hostname: String,
    /// Address of the agent's own HTTP server, as masters should tell it.
    pub http: String,
    /// Where health checks reach host ports: usually `127.0.0.1`.
    pub probe_host: String,
    /// All that tasks may use.
    pub totals: Resources,
    /// What of that is kept for roles.
    pub reserved: Reserved,
    /// Facts for constraints.
    pub attributes: Attributes,
    /// Runs containers, not only processes.
    pub has_docker: bool,
    /// Version of the binary.
    pub version: String,
    /// Which boot of the machine this is, from the kernel.
    pub boot_id: String,
    /// Whether the agent's orderly end stops its tasks. Only `dev` wants that.
    pub stop_tasks_on_shutdown: bool,
}

/// What an agent acts through.
#[derive(Clone)]
pub struct AgentParts {
    /// Runs tasks.
    pub driver: Arc<dyn TaskDriver>,
    /// Finds ports that strangers hold; absent in the simulator.
    pub ports: Option<Arc<dyn PortProbe>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Counts calls of the driver.
    pub metrics: RuntimeMetrics,
}

/// Finds ports in use on this machine.
pub trait PortProbe: Send + Sync + 'static {
    /// Those of `among` on which somebody listens. May take milliseconds.
    fn held(&self, among: &PortRanges) -> PortRanges;

    /// Name of whoever listens on `port`, where it can be known. May take long.
    fn holder(&self, port: u16) -> Option<String>;
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// What it would say of itself is nothing that masters admit; in words.
    #[error("this agent {0}")]
    Info(String),
    /// The records of tasks cannot be read.
    #[error("read records of tasks below {path}")]
    Checkpoints {
        /// The data directory.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// An agent, ready to run.
pub struct Agent {
    runtime: Runtime,
    view: Arc<AgentView>,
}

impl Agent {
    /// Reads what an earlier run of the agent remembered.
    ///
    /// # Errors
    /// [`AgentError::Checkpoints`]; [`AgentError::Info`] when masters would refuse it.
    pub fn open(home: AgentHome, settings: AgentSettings, parts: AgentParts) -> Result<Self, AgentError> {
        let path = home.path().to_owned();
        let (checkpoints, records) = Checkpoints::load(&path)
            .map_err(|source| AgentError::Checkpoints { path: path.clone(), source })?;
        let view = Arc::new(AgentView::default());
        records.iter().for_each(|record| view.enter(record));
        let (results, inputs) = mpsc::channel(INPUTS_MAX);
        let clock = Arc::clone(&parts.clock);
        let operations = Operations::new(parts, settings.probe_host, results);
        let all_ports = settings.totals.ports.clone();
        let info = AgentInfo {
            id: home.agent_id().clone(),
            hostname: settings.hostname,
            http: settings.http,
            totals: settings.totals,
            reserved: settings.reserved,
            attributes: settings.attributes,
            incarnation: home.incarnation(&settings.boot_id),
            has_docker: settings.has_docker,
            version: settings.version,
        };
        if let Some(fault) = info.fault() {
            return Err(AgentError::Info(fault));
        }
        let runtime = Runtime {
            core: AgentCore::new(info, home.seen().cloned(), records).proved_by(home.proof().clone()),
            home,
            checkpoints,
            clock,
            operations,
            view: Arc::clone(&view),
            inputs,
            masters: settings.masters,
            security: settings.security,
            all_ports,
            stop_tasks_on_shutdown: settings.stop_tasks_on_shutdown,
            outbox: None,
            withheld: Vec::new(),
            save_again_at: None,
            full_disk: None,
            engine_away: None,
        };
        Ok(Self { runtime, view })
    }

    /// What others may see of it, for as long as they like.
    pub fn view(&self) -> Arc<AgentView> {
        Arc::clone(&self.view)
    }

    /// Runs until `shutdown`. Tasks run on, unless the settings say otherwise.
    pub async fn run(self, shutdown: CancellationToken) {
        self.runtime.run(shutdown).await;
    }
}
