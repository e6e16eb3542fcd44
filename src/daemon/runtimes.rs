//! What an agent runs tasks on: processes always, containers where an engine answers.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::agent::RunningAgent;
use crate::agent::driver::TaskDriver;
use crate::agent::driver::any::AnyDriver;
use crate::agent::driver::docker::{self, DockerDriver, DockerSettings};
use crate::agent::driver::process::{ProcessDriver, ProcessSettings};
use crate::agent::{self as agents, AgentSettings, MetricsPage, resources};
use crate::api;
use crate::cli::{ExitError, disk_advice, exit_code};
use crate::domain::{AgentId, Attributes, Reserved, Resources, role};
use crate::line::Security;
use crate::settings::{Allow, ResourceSettings, Runtime, unseen_attributes};
use crate::world::net::TcpListener;

/// Says on disk that this agent ran containers: without their engine it starts all the same and
/// looks for it, since taking its absence for theirs would lose them.
const HAD_DOCKER: &str = "runtime-docker";

/// Tasks' directories below the data directory.
fn tasks_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("tasks")
}

/// What was asked for.
pub(super) struct Wanted<'a> {
    pub(super) agent: &'a AgentId,
    pub(super) data_dir: &'a Path,
    pub(super) runtime: Runtime,
    pub(super) docker_socket: &'a Path,
    pub(super) docker_config: Option<&'a Path>,
    pub(super) allow: &'a Allow,
    pub(super) publish_on: IpAddr,
}

/// What there is.
pub(super) struct Runtimes {
    pub(super) driver: Arc<dyn TaskDriver>,
    pub(super) has_docker: bool,
    /// Why there are no containers, when the engine was looked for.
    pub(super) without_docker: Option<String>,
}

/// Finds the runtimes that were asked for.
pub(super) async fn find(wanted: &Wanted<'_>) -> Result<Runtimes, ExitError> {
    // A slip of the pen would else be found at the first pull.
    if let Some(why) = wanted.docker_config.and_then(|file| docker::check_config(file).err()) {
        let advice = "give it a file as 'docker login' writes it, or leave the flag away";
        return Err(ExitError::new(exit_code::USAGE, format!("--docker-config: cannot {why}; {advice}")));
    }
    let tasks = tasks_dir(wanted.data_dir);
    let processes = ProcessSettings::usual(tasks).and_then(ProcessDriver::new);
    let processes = processes.map_err(|error| {
        let dir = wanted.data_dir.display();
        ExitError::new(
            exit_code::DATA,
            format!("cannot keep tasks below {dir}: {error}; {}", disk_advice(&error)),
        )
    })?;
    let (containers, without_docker) = match containers(wanted).await? {
        Ok(driver) => (Some(driver), None),
        Err(why) => (None, why),
    };
    let has_docker = containers.is_some();
    let driver = Arc::new(AnyDriver::new(containers, Some(Arc::new(processes))));
    Ok(Runtimes { driver, has_docker, without_docker })
}

type Containers = Result<Arc<dyn TaskDriver>, Option<String>>;

async fn containers(wanted: &Wanted<'_>) -> Result<Containers, ExitError> {
    let marker = wanted.data_dir.join(HAD_DOCKER);
    if wanted.runtime == Runtime::Process {
        return Ok(Err(None));
    }
    let socket = wanted.docker_socket.to_string_lossy();
    let why = match DockerDriver::connect(&socket, docker_settings(wanted)).await {
        Ok(driver) => {
            note(&marker);
            return Ok(Ok(Arc::new(driver)));
        }
        Err(error) => error.to_string(),
    };
    if marker.exists() {
        tracing::warn!(
            why,
            "tasks of this agent may run on a Docker engine that does not answer; looking for it"
        );
        let awaiting = DockerDriver::awaiting(&socket, docker_settings(wanted));
        let driver = awaiting.map_err(|error| ExitError::new(exit_code::DATA, error.to_string()))?;
        return Ok(Ok(Arc::new(driver)));
    }
    if wanted.runtime == Runtime::Docker {
        let advice = "start the engine, or run the agent with --runtime process";
        return Err(ExitError::new(exit_code::FAILED, format!("no Docker engine: {why}; {advice}")));
    }
    Ok(Err(Some(why)))
}

fn docker_settings(wanted: &Wanted<'_>) -> DockerSettings {
    let usual = DockerSettings::usual(wanted.agent.clone(), tasks_dir(wanted.data_dir));
    DockerSettings {
        publish_on: wanted.publish_on,
        allow: docker::Allow {
            privileged: wanted.allow.privileged,
            parameters: wanted.allow.parameters,
            host_volumes: wanted.allow.host_volumes.clone(),
        },
        docker_config: wanted.docker_config.map(Path::to_path_buf),
        ..usual
    }
}

fn note(marker: &Path) {
    if let Err(error) = std::fs::write(marker, b"") {
        tracing::warn!(%error, path = %marker.display(), "cannot note that this agent runs containers");
    }
}

/// Tells of attributes that no constraint can see.
pub(super) fn warn_of_unseen(attributes: &Attributes) {
    for line in unseen_attributes(attributes) {
        tracing::warn!("{line}");
    }
}

/// Name of this machine, for agents that were not told one.
pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// All that tasks may use of what is kept for no role: as said, and measured where nothing was said.
pub(super) fn unreserved(said: &ResourceSettings, data_dir: &Path) -> Result<Resources, ExitError> {
    let measured = resources::measure(data_dir).map_err(|error| {
        ExitError::new(
            exit_code::FAILED,
            format!("cannot measure this machine: {error}; say it with --resources"),
        )
    })?;
    Ok(Resources {
        cpus: said.cpus.unwrap_or(measured.cpus),
        mem: said.mem.unwrap_or(measured.mem),
        disk: said.disk.unwrap_or(measured.disk),
        gpus: said.gpus.unwrap_or(measured.gpus),
        ports: said.ports.clone().unwrap_or(measured.ports),
    })
}

/// Which boot this is.
pub(super) fn boot_id() -> Result<String, ExitError> {
    let read = resources::boot_id();
    read.map_err(|error| {
        ExitError::new(exit_code::FAILED, format!("cannot read the kernel's boot id: {error}"))
    })
}

/// What every agent on this machine shares.
pub(super) fn settings(
    masters: Vec<String>,
    hostname: String,
    (unreserved, reserved): (Resources, Reserved),
    boot_id: String,
) -> AgentSettings {
    AgentSettings {
        masters,
        security: Security::off(),
        hostname,
        http: String::new(),
        probe_host: "127.0.0.1".to_owned(),
        totals: unreserved.plus(&role::sum(&reserved)),
        reserved,
        attributes: crate::domain::Attributes::new(),
        has_docker: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id,
        stop_tasks_on_shutdown: false,
    }
}

/// Serves an agent's own HTTP until `shutdown`.
pub(super) fn serve(
    running: &RunningAgent,
    listener: TcpListener,
    data_dir: &Path,
    credentials: Option<Arc<api::Credentials>>,
    shutdown: CancellationToken,
) -> JoinHandle<()> {
    let registry = Arc::clone(&running.registry);
    let metrics: MetricsPage = Arc::new(move |accept| registry.render(accept));
    let router = agents::router(Arc::clone(&running.view), metrics, tasks_dir(data_dir));
    crate::world::spawn(api::serve(listener, api::guarded(router, credentials), shutdown))
}
