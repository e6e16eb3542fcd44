//! Runs tasks as containers of the Docker engine on this machine.
//!
//! Way in: [`DockerDriver::connect`]. A container is named after its task and labelled with
//! the agent's id: the engine is the driver's memory, and whatever lacks that label is
//! somebody else's and never touched. Containers stay after their end until
//! [`TaskDriver::remove`], because only they know how they ended. The client library's
//! types stay in this directory.

mod allow;
mod create;
mod credentials;
mod engine;
mod parameters;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use self::allow::Allow;
pub use self::credentials::check_config;
use self::engine::{CallError, Engine, Seen, away};
use super::kill_times::{KillTimes, Stop};
use super::task_dir::{self, make_task, make_tasks, task_dir};
use super::{DriverError, Ended, Started, TaskDriver, TaskHandle};
use crate::agent::known_process::KnownProcess;
use crate::domain::{AgentId, Exit, LaunchContainer, TaskId, TaskLaunch, Timestamp};
use crate::world;

/// A task's directory with this file is the process driver's, which may share the place with us.
const PROCESS_RECORD: &str = crate::agent::shim::records::LAUNCH;
/// Where the engine listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Begins every label of ours.
const LABEL_PREFIX: &str = "platformd.";
const LABEL_AGENT: &str = "platformd.agent";
const LABEL_TASK: &str = "platformd.task";
const LABEL_APP: &str = "platformd.app";
/// Starts at once per processor: more only queue up inside the engine.
const STARTS_PER_PROCESSOR: usize = 2;
/// Pulls at once: they share one line to the registry.
const PULLS_MAX: usize = 3;
/// First and longest pause before an absent engine is asked again.
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The engine hears of a kill for memory beside the end itself, and maybe after it.
const OOM_NEWS_PAUSE: Duration = Duration::from_millis(200);

/// What the driver needs to be told.
#[derive(Clone, Debug)]
pub struct DockerSettings {
    /// Whose containers these are.
    pub agent: AgentId,
    /// Directory of the tasks' sandboxes.
    pub tasks: PathBuf,
    /// Address of the host on which ports are published.
    pub publish_on: IpAddr,
    /// Network of containers that do not share the host's.
    pub bridge: String,
    /// What apps may ask for beyond their share.
    pub allow: Allow,
    /// File with registry credentials.
    pub docker_config: Option<PathBuf>,
}

impl DockerSettings {
    /// Usual settings: ports published on every address of the host, nothing special allowed.
    pub fn usual(agent: AgentId, tasks: PathBuf) -> Self {
        Self {
            agent,
            tasks,
            publish_on: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            bridge: "bridge".to_owned(),
            allow: Allow::default(),
            docker_config: None,
        }
    }
}

/// Runs tasks as Docker containers.
#[derive(Debug)]
pub struct DockerDriver {
    engine: Engine,
    settings: DockerSettings,
    starts: Semaphore,
    pulls: Semaphore,
    kills: KillTimes,
}

impl DockerDriver {
    /// Connects to the engine behind `socket`; takes at most 3 s, whatever the engine does.
    ///
    /// # Errors
    /// [`DriverError::Unavailable`] without an engine, [`DriverError::Failed`] when the
    /// directory of the tasks cannot be made.
    pub async fn connect(socket: &str, settings: DockerSettings) -> Result<Self, DriverError> {
        let engine = Engine::connect(socket)
            .await
            .map_err(|error| error.during(format!("connect to the Docker engine at {socket}")))?;
        Self::on(engine, settings)
    }

    /// The same for an engine that may be away: until it answers [`TaskDriver::is_there`], every call is
    /// [`DriverError::Unavailable`].
    ///
    /// # Errors
    /// [`DriverError::Failed`] when the directory of the tasks cannot be made.
    pub fn awaiting(socket: &str, settings: DockerSettings) -> Result<Self, DriverError> {
        Self::on(Engine::unasked(socket), settings)
    }

    fn on(engine: Engine, mut settings: DockerSettings) -> Result<Self, DriverError> {
        let tasks = make_tasks(&settings.tasks);
        settings.tasks = tasks
            .map_err(|error| DriverError::Failed(format!("make {}: {error}", settings.tasks.display())))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            engine,
            settings,
            starts: Semaphore::new(STARTS_PER_PROCESSOR * processors),
            pulls: Semaphore::new(PULLS_MAX),
            kills: KillTimes::default(),
        })
    }

    async fn start_task(
        &self,
        launch: &TaskLaunch,
        given_up: CancellationToken,
    ) -> Result<Started, DriverError> {
        let Some(container) = &launch.container else {
            return Err(DriverError::Refused(
                "the app has no image; this agent runs containers only".to_owned(),
            ));
        };
        let dir = task_dir(&self.settings.tasks, &launch.task)?;
        let sandbox = make_task(&dir)
            .map_err(|error| DriverError::Failed(format!("prepare {}: {error}", dir.display())))?;
        let started = self.create_and_start(launch, container, &sandbox, &given_up).await;
        if matches!(started, Err(DriverError::Refused(_))) {
            // No container, hence no handle by which anyone could remove this later.
            let _left_for_the_next_try = task_dir::remove(&dir);
        }
        started
    }

    async fn create_and_start(
        &self,
        launch: &TaskLaunch,
        container: &LaunchContainer,
        sandbox: &std::path::Path,
        given_up: &CancellationToken,
    ) -> Result<Started, DriverError> {
        let body = create::body_of(launch, container, sandbox, &self.settings)?;
        let name = name_of(&launch.task);
        if container.force_pull && !self.exists(&name).await? {
            self.pull(&container.image, given_up).await?;
        }
        let mut created = self.create(&name, body.clone()).await;
        if matches!(&created, Err(CallError::NotFound(_))) {
            self.pull(&container.image, given_up).await?;
            created = self.create(&name, body).await;
        }
        match created {
            Ok(id) => self.start_new(&id, &launch.task, container).await,
            Err(CallError::Conflict(_)) => self.take_up(&name, launch, container).await,
            Err(error) => Err(error.during(format!("create a container of image '{}'", container.image))),
        }
    }

    async fn exists(&self, name: &str) -> Result<bool, DriverError> {
        match self.engine.inspect(name).await {
            Ok(_) => Ok(true),
            Err(CallError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.during("look for the container")),
        }
    }

    async fn create(
        &self,
        name: &str,
        body: bollard::models::ContainerCreateBody,
    ) -> Result<String, CallError> {
        let _permit = self.starts.acquire().await;
        self.engine.create(name, body).await
    }

    /// Starts a container that never ran. One that cannot be started is removed again.
    async fn start_new(
        &self,
        id: &str,
        task: &TaskId,
        container: &LaunchContainer,
    ) -> Result<Started, DriverError> {
        let permit = self.starts.acquire().await;
        let outcome = self.engine.start(id).await;
        drop(permit);
        match outcome {
            Ok(()) => self.started(id, task, container).await,
            Err(error @ (CallError::Away(_) | CallError::Unheard(_))) => {
                Err(error.after_changes("start the container"))
            }
            Err(error) => {
                let _found_by_its_name_next_time = self.engine.remove(id).await;
                Err(why_not_started(error, &container.image))
            }
        }
    }

    /// Finds what an earlier start made: starts it if it never ran, and never a second time.
    async fn take_up(
        &self,
        name: &str,
        launch: &TaskLaunch,
        container: &LaunchContainer,
    ) -> Result<Started, DriverError> {
        let seen = self
            .engine
            .inspect(name)
            .await
            .map_err(|error| error.after_changes(format!("find container {name}")))?;
        if !self.is_ours(&seen.inspect, &launch.task) {
            return Err(DriverError::Failed(format!(
                "create container {name}: another one has the name and lacks this agent's label; rename or remove it"
            )));
        }
        if has_run(&seen.inspect) {
            self.started(&seen.id, &launch.task, container).await
        } else {
            self.start_new(&seen.id, &launch.task, container).await
        }
    }

    async fn started(
        &self,
        id: &str,
        task: &TaskId,
        container: &LaunchContainer,
    ) -> Result<Started, DriverError> {
        let ip_addresses = if container.host_network {
            Vec::new()
        } else {
            // It runs; an engine that cannot tell its address now is no reason to say otherwise.
            self.engine.inspect(id).await.map(|seen| addresses(&seen.inspect)).unwrap_or_default()
        };
        Ok(Started { handle: handle(task, id), ip_addresses })
    }

    /// Fetches an image. Nothing is half made meanwhile, so here a start can be given up.
    async fn pull(&self, image: &str, given_up: &CancellationToken) -> Result<(), DriverError> {
        tokio::select! {
            biased;
            () = given_up.cancelled() => {
                Err(away(format!("the pull of image '{image}' was given up"), true))
            }
            pulled = self.pull_whole(image) => pulled,
        }
    }

    async fn pull_whole(&self, image: &str) -> Result<(), DriverError> {
        let credentials = match &self.settings.docker_config {
            Some(file) => credentials::for_image(file, image).map_err(DriverError::Failed)?,
            None => None,
        };
        let _permit = self.pulls.acquire().await;
        tracing::info!(image, "pulling");
        self.engine.pull(image, credentials).await.map_err(|error| match error {
            CallError::NotFound(reason) | CallError::Conflict(reason) | CallError::Refused(reason) => {
                DriverError::Refused(format!(
                    "image '{image}' is not on this agent and cannot be pulled: {reason}; check its name, its registry and --docker-config"
                ))
            }
            CallError::Away(reason) | CallError::Unheard(reason) => {
                DriverError::Failed(format!("pull image '{image}': {reason}"))
            }
        })
    }

    /// A container of this agent; an error when it is not there or somebody else's.
    async fn own(&self, handle: &TaskHandle) -> Result<Seen, DriverError> {
        let name = name_of(&handle.task);
        let reference = handle.container.as_deref().filter(|id| !id.is_empty()).unwrap_or(&name);
        match self.engine.inspect(reference).await {
            Ok(seen) if self.is_ours(&seen.inspect, &handle.task) => Ok(seen),
            Ok(_) | Err(CallError::NotFound(_)) => Err(DriverError::Missing),
            Err(error) => Err(error.during("look at the container")),
        }
    }

    fn is_ours(&self, inspect: &ContainerInspectResponse, task: &TaskId) -> bool {
        let labels = inspect.config.as_ref().and_then(|config| config.labels.as_ref());
        let has =
            |name, value: &str| labels.and_then(|labels| labels.get(name)).is_some_and(|has| has == value);
        has(LABEL_AGENT, self.settings.agent.as_str()) && has(LABEL_TASK, task.as_str())
    }

    /// Waits for the end, over any absence of the engine: what it runs may go on without it.
    async fn wait_for_end(&self, handle: &TaskHandle) -> Result<Ended, DriverError> {
        let mut pause = RETRY_PAUSE_FIRST;
        loop {
            let round = match self.own(handle).await {
                Ok(seen) if is_over(&seen.inspect) => return Ok(self.end_of(handle, seen).await),
                Ok(seen) if has_run(&seen.inspect) => self.engine.wait(&seen.id).await,
                Ok(_) | Err(DriverError::Missing) => return Err(DriverError::Missing),
                Err(DriverError::Unavailable { reason, .. }) => Err(CallError::Away(reason)),
                Err(other) => return Err(other),
            };
            match round {
                Ok(()) => pause = RETRY_PAUSE_FIRST,
                Err(error) => {
                    tracing::debug!(task = %handle.task, ?error, ?pause, "wait for the container interrupted");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
            }
        }
    }

    async fn end_of(&self, handle: &TaskHandle, seen: Seen) -> Ended {
        let mut state = seen.inspect.state.unwrap_or_default();
        if state.exit_code == Some(137) && state.oom_killed != Some(true) {
            sleep(OOM_NEWS_PAUSE).await;
            if let Ok(Seen { inspect: ContainerInspectResponse { state: Some(later), .. }, .. }) =
                self.own(handle).await
            {
                state = later;
            }
        }
        let last_words = match state.exit_code {
            Some(0) => String::new(),
            _ => self.engine.last_words(&seen.id).await,
        };
        ended(&state, &last_words)
    }

    async fn stop_task(&self, handle: &TaskHandle, grace: Duration) -> Result<(), DriverError> {
        let seen = match self.own(handle).await {
            Ok(seen) => seen,
            Err(DriverError::Missing) => return Ok(()),
            Err(error) => return Err(error),
        };
        if is_over(&seen.inspect) || self.kills.note(&handle.task, Instant::now() + grace) == Stop::UnderWay {
            return Ok(());
        }
        let (engine, task) = (self.engine.clone(), handle.task.clone());
        // The engine keeps the time from here on, even when this agent ends.
        world::spawn(async move {
            if let Err(error) = engine.stop(&seen.id, grace).await {
                tracing::warn!(%task, ?error, "stop of the container not confirmed");
            }
        });
        Ok(())
    }

    async fn check(&self, handle: &TaskHandle, line: &str, limit: Duration) -> Result<i32, DriverError> {
        let seen = self.own(handle).await?;
        match self.engine.execute(&seen.id, line, limit).await {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(pid)) => {
                // The engine has no way to end a command that it runs; its session has.
                if let Some(process) = pid.and_then(KnownProcess::look) {
                    process.kill_session();
                }
                Err(DriverError::Failed(format!("end the check within {limit:?}; it was killed")))
            }
            Err(CallError::NotFound(_) | CallError::Conflict(_)) => Err(DriverError::Missing),
            Err(error) => Err(error.during("run the check")),
        }
    }

    async fn remove_task(&self, handle: &TaskHandle) -> Result<(), DriverError> {
        match self.own(handle).await {
            Ok(seen) => match self.engine.remove(&seen.id).await {
                Ok(()) | Err(CallError::NotFound(_)) => {}
                Err(error) => return Err(error.during(format!("remove what {} left", handle.task))),
            },
            Err(DriverError::Missing) => {}
            Err(error) => return Err(error),
        }
        self.kills.forget(&handle.task);
        let dir = task_dir(&self.settings.tasks, &handle.task)?;
        if dir.join(PROCESS_RECORD).exists() {
            return Ok(());
        }
        tokio::task::spawn_blocking(move || task_dir::remove(&dir))
            .await
            .unwrap_or_else(|error| Err(DriverError::Failed(format!("remove the sandbox: {error}"))))
    }

    async fn list_tasks(&self) -> Result<Vec<TaskHandle>, DriverError> {
        let label = format!("{LABEL_AGENT}={}", self.settings.agent);
        let found = self.engine.labelled(label).await.map_err(|error| error.during("list containers"))?;
        let mut handles: Vec<TaskHandle> = found
            .into_iter()
            .filter_map(|container| {
                let task = TaskId::new(container.labels?.remove(LABEL_TASK)?);
                Some(handle(&task, &container.id?))
            })
            .collect();
        handles.sort_by(|a, b| a.task.cmp(&b.task));
        Ok(handles)
    }
}

impl TaskDriver for DockerDriver {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn is_there(&self) -> BoxFuture<'_, Result<(), DriverError>> {
        async move { self.engine.look().await.map_err(|error| error.during("ask the engine whether it is there")) }
            .boxed()
    }

    fn start<'a>(
        &'a self,
        launch: &'a TaskLaunch,
        given_up: CancellationToken,
    ) -> BoxFuture<'a, Result<Started, DriverError>> {
        self.start_task(launch, given_up).boxed()
    }

    fn wait<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<Ended, DriverError>> {
        self.wait_for_end(handle).boxed()
    }

    fn stop<'a>(&'a self, handle: &'a TaskHandle, grace: Duration) -> BoxFuture<'a, Result<(), DriverError>> {
        self.stop_task(handle, grace).boxed()
    }

    fn run_check<'a>(
        &'a self,
        handle: &'a TaskHandle,
        command: &'a str,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<i32, DriverError>> {
        self.check(handle, command, timeout).boxed()
    }

    fn remove<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<(), DriverError>> {
        self.remove_task(handle).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<TaskHandle>, DriverError>> {
        self.list_tasks().boxed()
    }
}

/// The container's name, the same at every try.
fn name_of(task: &TaskId) -> String {
    format!("pd-{task}")
}

fn handle(task: &TaskId, id: &str) -> TaskHandle {
    TaskHandle { task: task.clone(), container: Some(id.to_owned()), pid: None, pid_started: None }
}

/// The engine gives this for a moment that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn has_run(inspect: &ContainerInspectResponse) -> bool {
    let started = inspect.state.as_ref().and_then(|state| state.started_at.as_deref());
    started.is_some_and(|at| !at.is_empty() && at != NEVER)
}

fn is_over(inspect: &ContainerInspectResponse) -> bool {
    let alive = |state: &ContainerState| {
        [state.running, state.paused, state.restarting].into_iter().any(|flag| flag == Some(true))
    };
    has_run(inspect) && !inspect.state.as_ref().is_some_and(alive)
}

fn addresses(inspect: &ContainerInspectResponse) -> Vec<String> {
    let networks = inspect.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let mut found: Vec<String> = networks
        .into_iter()
        .flat_map(|networks| networks.values().filter_map(|network| network.ip_address.clone()))
        .filter(|address| !address.is_empty())
        .collect();
    found.sort();
    found
}

fn ended(state: &ContainerState, last_words: &str) -> Ended {
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
    let out_of_memory = state.oom_killed == Some(true);
    let said = state.error.as_deref().filter(|text| !text.is_empty()).unwrap_or(last_words);
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let message = match code {
        _ if out_of_memory => "Killed by the kernel: used more memory than the app's 'mem' allows".to_owned(),
        Some(code) => format!("Container exited with status {code}{said}"),
        None => format!("Container ended{said}"),
    };
    let at = state.finished_at.as_deref().filter(|at| *at != NEVER).and_then(Timestamp::parse);
    Ended { exit: Exit { code, signal: None, out_of_memory }, at, message }
}

/// What the engine says to a start that will never work differs from a busy port only in its text.
fn why_not_started(error: CallError, image: &str) -> DriverError {
    let (CallError::NotFound(reason) | CallError::Conflict(reason) | CallError::Refused(reason)) = &error
    else {
        return error.during("start the container");
    };
    let is_hopeless =
        ["executable file not found", "no such file or directory", "permission denied", "exec format error"]
            .iter()
            .any(|sign| reason.to_lowercase().contains(sign));
    if is_hopeless {
        DriverError::Refused(format!("the command cannot be run in image '{image}': {reason}"))
    } else {
        DriverError::Failed(format!("start a container of image '{image}': {reason}"))
    }
}
