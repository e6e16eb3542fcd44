//! Sends each task to the means that can run it: containers to one driver, plain
//! processes to another.
//!
//! Way in: [`AnyDriver::new`]. Knows nothing of either.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

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

    fn start<'a>(&'a self, launch: &'a TaskLaunch) -> BoxFuture<'a, Result<Started, DriverError>> {
        match self.route(launch.container.is_some()) {
            Ok(driver) => driver.start(launch),
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
