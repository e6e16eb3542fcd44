//! Sends each task to the means that can run it: containers to one driver, plain
//! processes to another.
//!
//! Way in: [`AnyDriver::new`]. Knows nothing of either.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{DriverError, Ended, Started, TaskDriver, TaskHandle};
use crate::domain::TaskLaunch;

/// One driver made of those that this agent has.
pub struct AnyDriver {
    containers: Option<Arc<dyn TaskDriver>>,
    processes: Option<Arc<dyn TaskDriver>>,
}

impl AnyDriver {
    /// Routes to the drivers given; tasks that need an absent one are refused.
    pub fn new(containers: Option<Arc<dyn TaskDriver>>, processes: Option<Arc<dyn TaskDriver>>) -> Self {
        Self { containers, processes }
    }

    fn route(&self, in_container: bool) -> Result<&dyn TaskDriver, DriverError> {
        let (driver, refusal) = if in_container {
            (
                &self.containers,
                "this agent runs no containers: it has no Docker engine; start one and the agent with --runtime docker or auto",
            )
        } else {
            (
                &self.processes,
                "this agent runs no plain processes; give the app an image, or start the agent with --runtime process or auto",
            )
        };
        driver.as_deref().ok_or_else(|| DriverError::Refused(refusal.to_owned()))
    }

    /// The driver that has the task, and the handle as it knows it.
    fn of(&self, handle: &TaskHandle) -> Result<(&dyn TaskDriver, TaskHandle), DriverError> {
        let driver = self.route(handle.container.is_some())?;
        let container = handle.container.clone().filter(|id| !id.is_empty());
        Ok((driver, TaskHandle { container, ..handle.clone() }))
    }
}

impl TaskDriver for AnyDriver {
    fn name(&self) -> &'static str {
        match (&self.containers, &self.processes) {
            (Some(containers), None) => containers.name(),
            (None, Some(processes)) => processes.name(),
            _ => "any",
        }
    }

    fn is_there(&self) -> BoxFuture<'_, Result<(), DriverError>> {
        match &self.containers {
            Some(containers) => containers.is_there(),
            None => std::future::ready(Ok(())).boxed(),
        }
    }

    fn start<'a>(
        &'a self,
        launch: &'a TaskLaunch,
        given_up: CancellationToken,
    ) -> BoxFuture<'a, Result<Started, DriverError>> {
        match self.route(launch.container.is_some()) {
            Ok(driver) => driver.start(launch, given_up),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn wait<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<Ended, DriverError>> {
        match self.of(handle) {
            Ok((driver, handle)) => async move { driver.wait(&handle).await }.boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn stop<'a>(&'a self, handle: &'a TaskHandle, grace: Duration) -> BoxFuture<'a, Result<(), DriverError>> {
        match self.of(handle) {
            Ok((driver, handle)) => async move { driver.stop(&handle, grace).await }.boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn run_check<'a>(
        &'a self,
        handle: &'a TaskHandle,
        command: &'a str,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<i32, DriverError>> {
        match self.of(handle) {
            Ok((driver, handle)) => async move { driver.run_check(&handle, command, timeout).await }.boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn remove<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<(), DriverError>> {
        match self.of(handle) {
            Ok((driver, handle)) => async move { driver.remove(&handle).await }.boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    /// All or nothing: a list without the tasks of a driver that is away would look as if they were gone.
    fn list(&self) -> BoxFuture<'_, Result<Vec<TaskHandle>, DriverError>> {
        async move {
            let mut all = Vec::new();
            for driver in [&self.containers, &self.processes].into_iter().flatten() {
                all.extend(driver.list().await?);
            }
            Ok(all)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::agent::driver::fake::FakeMachine;
    use crate::domain::{LaunchContainer, Process, Resources, TaskId};
    use crate::testkit::a_container;

    fn launch(task: &str, in_container: bool) -> TaskLaunch {
        let container = LaunchContainer { host_network: true, ..a_container("web:1") };
        TaskLaunch {
            task: TaskId::new(task),
            app: "/web".to_owned(),
            process: Process::Shell("serve".to_owned()),
            container: in_container.then_some(container),
            env: BTreeMap::new(),
            user: None,
            resources: Resources::default(),
            ports: Vec::new(),
            health_checks: Vec::new(),
            kill_grace: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn containers_and_processes_go_their_ways() {
        let (engine, host) = (FakeMachine::new(), FakeMachine::new());
        let any = AnyDriver::new(Some(Arc::new(engine.driver())), Some(Arc::new(host.driver())));
        any.start(&launch("a", true), CancellationToken::new()).await.unwrap();
        any.start(&launch("b", false), CancellationToken::new()).await.unwrap();
        assert_eq!((engine.running().len(), host.running().len()), (1, 1));
        assert_eq!(any.list().await.unwrap().len(), 2);
        engine.set_away(true);
        assert!(matches!(any.list().await, Err(DriverError::Unavailable { .. })));
    }

    #[tokio::test]
    async fn an_absent_driver_is_named() {
        let host = FakeMachine::new();
        let any = AnyDriver::new(None, Some(Arc::new(host.driver())));
        let Err(DriverError::Refused(text)) = any.start(&launch("a", true), CancellationToken::new()).await
        else {
            panic!("it started")
        };
        assert!(text.contains("no containers"), "{text}");
    }

    #[tokio::test]
    async fn a_task_known_by_name_only_is_found() {
        let (engine, host) = (FakeMachine::new(), FakeMachine::new());
        let any = AnyDriver::new(Some(Arc::new(engine.driver())), Some(Arc::new(host.driver())));
        for (task, in_container) in [("a", true), ("b", false)] {
            any.start(&launch(task, in_container), CancellationToken::new()).await.unwrap();
            let name = TaskHandle {
                task: TaskId::new(task),
                container: in_container.then(String::new),
                pid: None,
                pid_started: None,
            };
            any.stop(&name, Duration::ZERO).await.unwrap();
            assert_eq!(any.wait(&name).await.unwrap().exit.signal, Some(15));
            any.remove(&name).await.unwrap();
            assert!(matches!(any.wait(&name).await, Err(DriverError::Missing)));
        }
        assert_eq!(any.list().await.unwrap(), []);
    }
}
