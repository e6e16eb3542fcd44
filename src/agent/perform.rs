//! Carries out slow effects beside the loop: driver calls, probes, times. Each hands its
//! outcome back as an [`Input`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::AgentParts;
use super::PortProbe;
use super::checkpoint::Checkpoints;
use super::driver::{DriverError, TaskDriver, TaskHandle};
use super::effect::{DiskRoom, HeldPort, Input, Timer};
use super::health::{self, PROBES_MAX, Watch};
use crate::domain::{LaunchCheck, PortRanges, TaskId, TaskLaunch};
use crate::telemetry::RuntimeMetrics;
use crate::world;

/// Starts at the same time: an engine gets slower, not faster, with more.
const STARTS_MAX: usize = 32;
/// Stops and removals at the same time; apart from starts, which may wait for images.
const ENDINGS_MAX: usize = 32;

/// Operations under way. Dropping it ends none of the tasks that they concern.
pub(super) struct Operations {
    driver: Arc<dyn TaskDriver>,
    ports: Option<Arc<dyn PortProbe>>,
    metrics: RuntimeMetrics,
    probe_host: String,
    results: mpsc::Sender<Input>,
    running: JoinSet<()>,
    checks: BTreeMap<TaskId, Vec<AbortHandle>>,
    /// Starts of tasks that nothing was removed of since.
    given_up: BTreeMap<TaskId, CancellationToken>,
    starts: Arc<Semaphore>,
    endings: Arc<Semaphore>,
    probes: Arc<Semaphore>,
}

impl Operations {
    pub(super) fn new(parts: AgentParts, probe_host: String, results: mpsc::Sender<Input>) -> Self {
        Self {
            driver: parts.driver,
            ports: parts.ports,
            metrics: parts.metrics,
            probe_host,
            results,
            running: JoinSet::new(),
            checks: BTreeMap::new(),
            given_up: BTreeMap::new(),
            starts: Arc::new(Semaphore::new(STARTS_MAX)),
            endings: Arc::new(Semaphore::new(ENDINGS_MAX)),
            probes: Arc::new(Semaphore::new(PROBES_MAX)),
        }
    }

    fn spawn(&mut self, work: impl Future<Output = Input> + Send + 'static) -> AbortHandle {
        let results = self.results.clone();
        self.running.spawn(world::inherit(async move {
            let input = work.await;
            let _ = results.send(input).await;
        }))
    }

    pub(super) fn start(&mut self, launch: Box<TaskLaunch>, check_ports: bool) {
        let (driver, starts) = (self.driver.clone(), self.starts.clone());
        let timed = self.timed("start", launch.container.is_some());
        let probe = self.ports.clone().filter(|_| check_ports);
        let given_up = CancellationToken::new();
        self.given_up.insert(launch.task.clone(), given_up.clone());
        self.spawn(async move {
            let task = launch.task.clone();
            let _permit = tokio::select! {
                biased;
                () = given_up.cancelled() => {
                    let reason = "the start was given up".to_owned();
                    let error = DriverError::Unavailable { means: timed.means, reason, made_nothing: true };
                    return Input::Started { task, result: Err(error) };
                }
                permit = starts.acquire() => permit,
            };
            if let Some(probe) = probe {
                let wanted = PortRanges::of(launch.ports.iter().map(|port| port.host));
                let taken = world::blocking(move || taken(&*probe, &wanted)).await;
                if !taken.is_empty() {
                    return Input::PortsTaken { task, taken };
                }
            }
            let result = timed.of(driver.start(&launch, given_up)).await;
            Input::Started { task, result }
        });
    }

    /// Hands back that a start was not tried.
    pub(super) fn no_room_to_start(&mut self, task: TaskId, reason: String) {
        self.spawn(std::future::ready(Input::NoRoom { task, reason }));
    }

    pub(super) fn give_up_start(&mut self, task: &TaskId) {
        if let Some(given_up) = self.given_up.get(task) {
            given_up.cancel();
        }
    }

    pub(super) fn wait(&mut self, handle: TaskHandle) {
        let driver = self.driver.clone();
        self.spawn(async move {
            let result = driver.wait(&handle).await;
            Input::Ended { task: handle.task, result }
        });
    }

    pub(super) fn stop(&mut self, handle: TaskHandle, grace: Duration) {
        let (driver, endings) = (self.driver.clone(), self.endings.clone());
        let timed = self.timed("stop", handle.container.is_some());
        self.spawn(async move {
            let _permit = endings.acquire().await;
            let result = timed.of(driver.stop(&handle, grace)).await;
            Input::StopPassed { task: handle.task, result }
        });
    }

    pub(super) fn remove(&mut self, handle: TaskHandle) {
        let (driver, endings) = (self.driver.clone(), self.endings.clone());
        let timed = self.timed("remove", handle.container.is_some());
        self.given_up.remove(&handle.task);
        self.spawn(async move {
            let _permit = endings.acquire().await;
            let result = timed.of(driver.remove(&handle)).await;
            Input::Removed { task: handle.task, result }
        });
    }

    pub(super) fn list(&mut self) {
        let driver = self.driver.clone();
        self.spawn(async move { Input::Listed(driver.list().await) });
    }

    fn timed(&self, operation: &'static str, in_container: bool) -> Timed {
        let means = if in_container { "docker" } else { "process" };
        Timed { metrics: self.metrics.clone(), means, operation }
    }

    /// Looks for strangers on `among`, which are none of our tasks' ports.
    pub(super) fn look_at_ports(&mut self, among: PortRanges) {
        let Some(probe) = self.ports.clone() else { return };
        self.spawn(async move { Input::HeldPorts(world::blocking(move || probe.held(&among)).await) });
    }

    /// Asks whether the engine of containers answers.
    pub(super) fn look_at_engine(&mut self) {
        let (driver, metrics) = (self.driver.clone(), self.metrics.clone());
        self.spawn(async move {
            let began = Instant::now();
            let away = driver.is_there().await.err();
            if let Some(DriverError::Unavailable { means, .. }) = &away {
                metrics.called(means, "look", true, began.elapsed());
            }
            Input::EngineLooked(away.map(|why| why.to_string()))
        });
    }

    /// Tries whether the disk takes a record; one that was full, whether also far more.
    pub(super) fn look_at_disk(&mut self, checkpoints: Checkpoints, was_full: bool) {
        self.spawn(
            async move { Input::DiskTried(world::blocking(move || checkpoints.look(was_full)).await) },
        );
    }

    /// Hands back that the disk took no record, once what is under way is done.
    pub(super) fn tried_disk(&mut self, why: String) {
        self.spawn(std::future::ready(Input::DiskTried(DiskRoom::No(why))));
    }

    pub(super) fn after(&mut self, delay: Duration, timer: Timer) {
        self.spawn(async move {
            sleep(delay).await;
            Input::Timer(timer)
        });
    }

    pub(super) fn start_checks(&mut self, handle: &TaskHandle, checks: Vec<LaunchCheck>, is_new: bool) {
        self.stop_checks(&handle.task);
        let mut started = Vec::with_capacity(checks.len());
        for check in checks {
            let watch = health::watch(Watch {
                check,
                handle: handle.clone(),
                host: self.probe_host.clone(),
                is_new,
                driver: self.driver.clone(),
                probes: self.probes.clone(),
                results: self.results.clone(),
            });
            started.push(self.running.spawn(world::inherit(watch)));
        }
        self.checks.insert(handle.task.clone(), started);
    }

    pub(super) fn stop_checks(&mut self, task: &TaskId) {
        for check in self.checks.remove(task).into_iter().flatten() {
            check.abort();
        }
    }

    /// Waits for one operation to end; a bug in one ends the process.
    pub(super) async fn next_ended(&mut self) {
        if let Some(Err(error)) = self.running.join_next().await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Drops what is under way and waits until all of it is gone. Tasks run on.
    pub(super) async fn shut_down(&mut self) {
        self.running.shutdown().await;
    }
}

/// Counts one call of a driver.
struct Timed {
    metrics: RuntimeMetrics,
    means: &'static str,
    operation: &'static str,
}

impl Timed {
    async fn of<T>(&self, call: impl Future<Output = Result<T, DriverError>>) -> Result<T, DriverError> {
        let began = Instant::now();
        let result = call.await;
        self.metrics.called(self.means, self.operation, result.is_err(), began.elapsed());
        result
    }
}

fn taken(probe: &dyn PortProbe, wanted: &PortRanges) -> Vec<HeldPort> {
    let held = probe.held(wanted);
    held.iter().map(|port| HeldPort { port, holder: probe.holder(port) }).collect()
}
