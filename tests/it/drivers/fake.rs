//! Tasks in memory.

use std::sync::Arc;

use platformd::agent::driver::fake::FakeMachine;
use platformd::agent::driver::{DriverError, TaskDriver};
use platformd::domain::{Exit, TaskLaunch};

use super::suite::{self, Bench, driver_suite};

struct Fake(Arc<FakeMachine>);

impl Bench for Fake {
    fn driver(&self) -> Arc<dyn TaskDriver> {
        Arc::new(self.0.driver())
    }

    fn launch(&self, line: &str) -> TaskLaunch {
        suite::a_launch(line)
    }
}

fn bench() -> std::future::Ready<Option<Fake>> {
    std::future::ready(Some(Fake(FakeMachine::new())))
}

driver_suite!(bench());

#[tokio::test]
async fn a_task_ends_when_told_and_is_counted_once() {
    let machine = FakeMachine::new();
    let driver: Arc<dyn TaskDriver> = Arc::new(machine.driver());
    let launch = suite::a_launch("serve");
    let handle = suite::start(&driver, &launch).await;
    suite::start(&driver, &launch).await;
    assert_eq!((machine.starts(&launch.task), machine.running().len()), (1, 1));
    machine.end(&launch.task, Exit { code: Some(3), ..Exit::default() }, "told to");
    assert_eq!(suite::end(&driver, &handle).await.exit.code, Some(3));
    assert!(machine.running().is_empty());
}

#[tokio::test]
async fn a_reboot_leaves_no_trace_and_an_absence_no_damage() {
    let machine = FakeMachine::new();
    let driver: Arc<dyn TaskDriver> = Arc::new(machine.driver());
    let handle = suite::start(&driver, &suite::a_launch("serve")).await;
    machine.set_away(true);
    assert!(matches!(driver.list().await, Err(DriverError::Unavailable { .. })));
    assert_eq!(machine.running().len(), 1);
    machine.set_away(false);
    machine.reboot();
    assert!(matches!(driver.wait(&handle).await, Err(DriverError::Missing)));
}
