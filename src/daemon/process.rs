//! One process in one role: runtimes, signals, and what its end says to a supervisor.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

use super::listen::{Bound, bind};
use super::master::{MasterConfig, RunningMaster};
use super::signals::Stop;
use super::{agent, dev, master, runtimes, secrets};
use crate::agent::driver::TaskDriver;
use crate::agent::{AgentError, AgentHome, AgentSettings, HomeError, KernelPorts};
use crate::api;
use crate::cli::{self, Command, ExitError, exit_code};
use crate::leader::LivenessLimits;
use crate::raft::{RaftSettings, StartError};
use crate::settings::{AgentSettingsFlags, LogSettings, MasterSettings};
use crate::telemetry;
use crate::world::SystemClock;

/// Does what was asked and returns when it is done; what does not end by itself, when it is
/// asked to stop.
///
/// # Errors
/// The exit code and the sentence for whoever started the process.
pub fn run(command: Command, stop: &Stop) -> Result<(), ExitError> {
    match command {
        Command::Master(settings) => {
            start_log(&settings.log)?;
            let (main, raft) = (main_runtime()?, raft_runtime()?);
            to_the_end(main, run_master(settings, &raft, stop))
        }
        Command::Agent(settings) => {
            start_log(&settings.log)?;
            to_the_end(main_runtime()?, run_agent(settings, stop))
        }
        Command::Dev(settings) => {
            start_log(&settings.log)?;
            let (main, raft) = (main_runtime()?, raft_runtime()?);
            to_the_end(main, dev::run(settings, &raft, stop))
        }
        Command::AgentsList { at } => main_runtime()?.block_on(cli::ask::agents_list(&master_at(at)?)),
        Command::MembersList { at } => main_runtime()?.block_on(cli::ask::members_list(&master_at(at)?)),
        Command::MembersReplace { at, old, new } => {
            main_runtime()?.block_on(cli::ask::members_replace(&master_at(at)?, &old, &new))
        }
        Command::Explain { at, app } => main_runtime()?.block_on(cli::ask::explain(&master_at(at)?, &app)),
        Command::WhatIf { at, wish } => main_runtime()?.block_on(cli::ask::what_if(&master_at(at)?, &wish)),
        Command::Rebalance { at, flags } => {
            main_runtime()?.block_on(cli::ask::rebalance(&master_at(at)?, &flags))
        }
        Command::SecretCreate => secrets::create(),
        Command::SecretAgent { cluster_secret_file } => secrets::agent(&cluster_secret_file),
        Command::Shim { dir } => std::process::exit(crate::agent::shim::main(&dir)),
        Command::Hello { port } => crate::hello::serve(port).map_err(|error| {
            ExitError::new(exit_code::PORT, format!("cannot listen on port {port}: {error}; choose another"))
        }),
    }
}

/// A master to ask, with the name and password to show it.
fn master_at(at: cli::MasterAt) -> Result<cli::ask::Asked, ExitError> {
    let known = secrets::credentials(at.http_credentials.as_deref())?;
    Ok(cli::ask::Asked { url: at.url, authorization: known.map(|known| known.authorization().to_owned()) })
}

fn start_log(log: &LogSettings) -> Result<(), ExitError> {
    telemetry::start_tracing(&log.filter, log.format).map_err(|why| ExitError::new(exit_code::USAGE, why))
}

fn main_runtime() -> Result<Runtime, ExitError> {
    let built = Builder::new_multi_thread().enable_all().thread_name("platformd").build();
    built.map_err(|error| no_threads(&error))
}

/// A runtime of the quorum's own, on one thread: it mostly waits for disks and peers, and with
/// one thread nobody has to be woken for work that is there already. Lives until the process ends.
fn raft_runtime() -> Result<Handle, ExitError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| no_threads(&error))?;
    let handle = runtime.handle().clone();
    let drive = move || runtime.block_on(std::future::pending::<()>());
    let thread = std::thread::Builder::new().name("platformd-raft".to_owned()).spawn(drive);
    thread.map(|_| handle).map_err(|error| no_threads(&error))
}

fn no_threads(error: &std::io::Error) -> ExitError {
    ExitError::new(exit_code::FAILED, format!("cannot start threads: {error}; raise the limit of processes"))
}

/// The process ends next: what is not done by then goes with it. Taken down before, the runtime
/// would be missed by work that the quorum's thread still does.
fn to_the_end<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let done = runtime.block_on(work);
    std::mem::forget(runtime);
    done
}

/// Waits until the master's quorum cannot go on; the process should end with this.
pub(super) async fn failed(master: &RunningMaster) -> ExitError {
    let mut failed = master.failed();
    let reason = match failed.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "the quorum's member ended".to_owned(),
    };
    cannot_go_on(&master.data_dir, &reason)
}

fn cannot_go_on(data_dir: &Path, reason: &str) -> ExitError {
    let dir = data_dir.display();
    let advice = "look after that disk, then start again";
    ExitError::new(exit_code::FAILED, format!("cannot go on with data directory {dir}: {reason}; {advice}"))
}

impl From<StartError> for ExitError {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::InUse { .. }
            | StartError::DataDir { .. }
            | StartError::Identity { .. }
            | StartError::Log(_)
            | StartError::Snapshot { .. } => exit_code::DATA,
            StartError::Timing(_) => exit_code::USAGE,
            StartError::Raft(_) => exit_code::FAILED,
        };
        // Each is whole by itself, its cause before what helps.
        match error {
            StartError::InUse { .. } => Self::new(code, error.to_string()),
            _ => Self::new(code, format!("failed to {error}")),
        }
    }
}

impl From<HomeError> for ExitError {
    fn from(error: HomeError) -> Self {
        AgentError::Home(error).into()
    }
}

impl From<AgentError> for ExitError {
    fn from(error: AgentError) -> Self {
        let what = telemetry::error_chain(&error);
        match &error {
            AgentError::Info(_) => Self::new(exit_code::USAGE, what.to_string()),
            AgentError::Home(HomeError::Io { source, .. }) | AgentError::Checkpoints { source, .. } => {
                Self::new(exit_code::DATA, format!("failed to {what}; {}", cli::disk_advice(source)))
            }
            AgentError::Home(_) => Self::new(exit_code::DATA, format!("failed to {what}")),
        }
    }
}

/// A master answers `/ping` from the start, as Marathon did; without a leader the API itself
/// waits for one and says so.
struct AlwaysReady;

impl api::Readiness for AlwaysReady {
    fn missing(&self) -> Option<String> {
        None
    }
}

async fn run_master(settings: MasterSettings, raft_runtime: &Handle, stop: &Stop) -> Result<(), ExitError> {
    let security = secrets::of_master(settings.cluster_secret_file.as_deref())?;
    let credentials = secrets::credentials(settings.http_credentials.as_deref())?;
    let http = bind("--http", &settings.http).await?;
    let cluster = bind("--cluster", &settings.cluster).await?;
    let advertise = |given: &crate::settings::Address, bound: &Bound| {
        if given.port() == 0 { given.with_port(bound.address.port()) } else { given.clone() }.to_string()
    };
    let advertise_http = advertise(&settings.advertise_http, &http);
    let advertise_cluster = advertise(&settings.advertise_cluster, &cluster);
    let masters = match settings.masters.as_slice() {
        [] => vec![advertise_cluster.clone()],
        masters => masters.iter().map(ToString::to_string).collect(),
    };
    let raft = RaftSettings {
        security,
        ..RaftSettings::new(settings.data_dir, masters, advertise_cluster, advertise_http)
    };
    let config = MasterConfig {
        raft,
        http: http.listener,
        cluster: cluster.listener,
        strategy: settings.placement_strategy,
        liveness: LivenessLimits {
            agent_timeout: settings.agent_timeout,
            restart_grace: settings.agent_restart_grace,
            ..LivenessLimits::default()
        },
        raft_runtime: Some(raft_runtime.clone()),
        credentials,
        ready: Arc::new(AlwaysReady),
    };
    let running = master::start(config, Arc::new(SystemClock)).await?;
    tracing::info!(node = running.me.node, http = running.me.http, cluster = running.me.cluster, "listening");
    let ended = tokio::select! {
        () = stop.asked() => Ok(()),
        reason = failed(&running) => Err(reason),
    };
    tracing::info!("stopping");
    running.stop().await;
    ended
}

async fn run_agent(settings: AgentSettingsFlags, stop: &Stop) -> Result<(), ExitError> {
    let security = secrets::of_agent(settings.cluster_secret_file.as_deref())?;
    let credentials = secrets::credentials(settings.http_credentials.as_deref())?;
    let http = bind("--http", &settings.http).await?;
    let home = AgentHome::open(&settings.data_dir, &SystemClock)?;
    let wanted = runtimes::Wanted {
        agent: home.agent_id(),
        data_dir: &settings.data_dir,
        runtime: settings.runtime,
        docker_socket: &settings.docker_socket,
        docker_config: settings.docker_config.as_deref(),
        allow: &settings.allow,
        publish_on: publish_on(&settings),
    };
    // The wait for an engine must not outlive a wish to stop.
    let found = tokio::select! {
        found = runtimes::find(&wanted) => found?,
        () = stop.asked() => return Ok(()),
    };
    if let Some(why) = &found.without_docker {
        tracing::warn!(why, "no Docker engine: this agent runs processes only");
    }
    runtimes::warn_of_unseen(&settings.attributes);
    let masters = settings.masters.iter().map(ToString::to_string).collect();
    let hostname = settings.hostname.clone().unwrap_or_else(runtimes::hostname);
    let unreserved = runtimes::unreserved(&settings.resources, &settings.data_dir)?;
    let resources = (unreserved, settings.resources.reserved.clone());
    let agent_settings = AgentSettings {
        security,
        http: http.address.to_string(),
        attributes: settings.attributes.clone(),
        has_docker: found.has_docker,
        ..runtimes::settings(masters, hostname, resources, runtimes::boot_id()?)
    };
    let running = agent::start(home, agent_settings, means(found.driver))?;
    let serving = CancellationToken::new();
    let server = runtimes::serve(&running, http.listener, &settings.data_dir, credentials, serving.clone());
    stop.asked().await;
    tracing::info!("stopping; tasks run on");
    running.stop().await;
    serving.cancel();
    // It ends within its own deadline.
    let _ = server.await;
    Ok(())
}

/// A cluster that lives on loopback keeps its containers' ports there, too.
fn publish_on(settings: &AgentSettingsFlags) -> IpAddr {
    let is_local = settings.masters.iter().all(crate::settings::Address::is_loopback);
    IpAddr::V4(if is_local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED })
}

/// What an agent acts through on a real machine.
pub(super) fn means(driver: Arc<dyn TaskDriver>) -> agent::Means {
    agent::Means { driver, ports: Some(Arc::new(KernelPorts)), clock: Arc::new(SystemClock) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_cannot_start_says_what_helps() {
        let full = || std::io::Error::from(rustix::io::Errno::NOSPC);
        let home = AgentError::Home(HomeError::Io { path: "/d".into(), source: full() });
        let records = AgentError::Checkpoints { path: "/d".into(), source: full() };
        for error in [home, records] {
            let ExitError { code, message } = error.into();
            assert_eq!(code, exit_code::DATA);
            assert!(message.contains("No space left") && message.contains("make room"), "{message}");
        }
        let ExitError { code, message } = AgentError::Info("has 65 roles".to_owned()).into();
        assert_eq!((code, message.as_str()), (exit_code::USAGE, "this agent has 65 roles"));
    }

    #[test]
    fn a_cause_is_told_once() {
        let source = std::io::Error::from(rustix::io::Errno::ACCESS);
        let ExitError { message, .. } = StartError::DataDir { dir: "/d".into(), source }.into();
        assert_eq!(message.matches("Permission denied").count(), 1, "{message}");
    }
}
