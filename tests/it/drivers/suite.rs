//! What is true of every driver. Way in: the macro [`driver_suite`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use platformd::agent::driver::{DriverError, Ended, Started, TaskDriver, TaskHandle};
use platformd::domain::{Process, Resources, Scalar, TaskId, TaskLaunch};

/// Nothing here takes this long unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A runtime with room for tasks of one test.
pub trait Bench: Send + Sync {
    /// A driver as an agent makes it at its start; each call stands for another run of the agent.
    fn driver(&self) -> Arc<dyn TaskDriver>;
    /// A launch for this runtime, ready to be changed.
    fn launch(&self, line: &str) -> TaskLaunch;
}

/// Makes one test of each sentence below; `$bench` is an expression that gives a [`Bench`] or nothing
/// when the runtime is not there.
macro_rules! driver_suite {
    ($bench:expr; $($sentence:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $sentence() {
                if let Some(bench) = $bench.await {
                    $crate::drivers::suite::$sentence(&bench).await;
                }
            }
        )+
    };
    ($bench:expr) => {
        driver_suite!($bench;
            a_repeated_start_finds_the_first,
            the_exit_code_is_reported,
            stop_sends_term_and_the_end_says_so,
            a_task_that_ignores_term_is_killed_after_its_grace,
            a_repeated_stop_kills_no_later,
            stopping_or_removing_what_has_ended_is_no_error,
            what_runs_is_not_removed,
            a_new_agent_finds_the_task_and_learns_its_end,
            removed_tasks_are_listed_no_more,
            checks_run_beside_the_task,
            an_unknown_task_is_missing,
        );
    };
}

pub(crate) use driver_suite;

/// A launch of a plain process with a fresh id.
pub fn a_launch(line: &str) -> TaskLaunch {
    TaskLaunch {
        task: TaskId::new(format!("suite.instance-{}._app.1", platformd::world::random_uuid())),
        app: "/suite".to_owned(),
        process: Process::Shell(line.to_owned()),
        container: None,
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        user: None,
        resources: Resources {
            cpus: Scalar::from_thousandths(100),
            mem: Scalar::from_thousandths(64_000),
            ..Resources::default()
        },
        ports: Vec::new(),
        health_checks: Vec::new(),
        kill_grace: Duration::from_secs(3),
    }
}

pub async fn start(driver: &Arc<dyn TaskDriver>, launch: &TaskLaunch) -> TaskHandle {
    let started: Started = within(driver.start(launch, CancellationToken::new())).await.expect("starts");
    started.handle
}

pub async fn end(driver: &Arc<dyn TaskDriver>, handle: &TaskHandle) -> Ended {
    within(driver.wait(handle)).await.expect("has an end")
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("within the deadline")
}

/// Ends and removes a task of a test.
pub async fn clear(driver: &Arc<dyn TaskDriver>, handle: &TaskHandle) {
    within(driver.stop(handle, Duration::ZERO)).await.expect("stops");
    end(driver, handle).await;
    within(driver.remove(handle)).await.expect("is removed");
}

fn died_of(ended: &Ended, signal: i32) -> bool {
    ended.exit.signal == Some(signal) || ended.exit.code == Some(128 + signal)
}

pub async fn a_repeated_start_finds_the_first(bench: &impl Bench) {
    let (driver, launch) = (bench.driver(), bench.launch("sleep 600"));
    let first = start(&driver, &launch).await;
    assert_eq!(start(&driver, &launch).await, first);
    assert_eq!(start(&bench.driver(), &launch).await, first, "nor does another run of the agent");
    clear(&driver, &first).await;
}

pub async fn the_exit_code_is_reported(bench: &impl Bench) {
    let driver = bench.driver();
    for code in [0, 7] {
        let handle = start(&driver, &bench.launch(&format!("exit {code}"))).await;
        let ended = end(&driver, &handle).await;
        assert_eq!((ended.exit.code, ended.exit.signal), (Some(code), None), "{ended:?}");
        assert!(!ended.exit.out_of_memory && ended.at.is_some(), "{ended:?}");
        assert_eq!(end(&driver, &handle).await, ended, "asked again it says the same");
        clear(&driver, &handle).await;
    }
}

pub async fn stop_sends_term_and_the_end_says_so(bench: &impl Bench) {
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    let asked = Instant::now();
    within(driver.stop(&handle, DEADLINE)).await.expect("stops");
    let ended = end(&driver, &handle).await;
    assert!(died_of(&ended, 15), "{ended:?}");
    assert!(asked.elapsed() < DEADLINE / 2, "it did not wait for the grace to pass");
    clear(&driver, &handle).await;
}

pub async fn a_task_that_ignores_term_is_killed_after_its_grace(bench: &impl Bench) {
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("trap '' TERM; sleep 600")).await;
    settle().await;
    let (asked, grace) = (Instant::now(), Duration::from_secs(1));
    within(driver.stop(&handle, grace)).await.expect("stops");
    let ended = end(&driver, &handle).await;
    assert!(died_of(&ended, 9) && !ended.exit.out_of_memory, "{ended:?}");
    assert!(asked.elapsed() >= grace, "{:?}", asked.elapsed());
    clear(&driver, &handle).await;
}

pub async fn a_repeated_stop_kills_no_later(bench: &impl Bench) {
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("trap '' TERM; sleep 600")).await;
    settle().await;
    within(driver.stop(&handle, Duration::from_secs(600))).await.expect("stops");
    within(driver.stop(&handle, Duration::ZERO)).await.expect("stops");
    assert!(died_of(&end(&driver, &handle).await, 9));
    clear(&driver, &handle).await;
}

pub async fn stopping_or_removing_what_has_ended_is_no_error(bench: &impl Bench) {
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("exit 0")).await;
    end(&driver, &handle).await;
    for _ in 0..2 {
        within(driver.stop(&handle, Duration::from_secs(1))).await.expect("stops");
    }
    for _ in 0..2 {
        within(driver.remove(&handle)).await.expect("is removed");
    }
    within(driver.stop(&handle, Duration::from_secs(1))).await.expect("stops what is removed");
}

pub async fn what_runs_is_not_removed(bench: &impl Bench) {
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    assert!(matches!(within(driver.remove(&handle)).await, Err(DriverError::Failed(_))));
    clear(&driver, &handle).await;
}

pub async fn a_new_agent_finds_the_task_and_learns_its_end(bench: &impl Bench) {
    let launch = bench.launch("sleep 600");
    let handle = start(&bench.driver(), &launch).await;
    let second = bench.driver();
    let listed = within(second.list()).await.expect("lists");
    let found = listed.iter().find(|found| found.task == launch.task).expect("is listed");
    assert_eq!((&found.container, found.pid), (&handle.container, handle.pid));
    assert!(tokio::time::timeout(Duration::from_millis(100), second.wait(&handle)).await.is_err(), "it runs");
    within(second.stop(found, DEADLINE)).await.expect("stops");
    assert!(died_of(&end(&second, found).await, 15));
    clear(&second, found).await;
}

pub async fn removed_tasks_are_listed_no_more(bench: &impl Bench) {
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("exit 0")).await;
    end(&driver, &handle).await;
    let is_listed =
        async || within(driver.list()).await.expect("lists").iter().any(|h| h.task == handle.task);
    assert!(is_listed().await, "an ended task stays until it is removed");
    within(driver.remove(&handle)).await.expect("is removed");
    assert!(!is_listed().await);
}

pub async fn checks_run_beside_the_task(bench: &impl Bench) {
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    assert_eq!(within(driver.run_check(&handle, "true", DEADLINE)).await.expect("runs"), 0);
    clear(&driver, &handle).await;
    let after = within(driver.run_check(&handle, "true", DEADLINE)).await;
    assert!(matches!(after, Err(DriverError::Missing)), "{after:?}");
}

pub async fn an_unknown_task_is_missing(bench: &impl Bench) {
    let driver = bench.driver();
    let mut handle = start(&driver, &bench.launch("exit 0")).await;
    clear(&driver, &handle).await;
    assert!(matches!(within(driver.wait(&handle)).await, Err(DriverError::Missing)));
    handle.task = TaskId::new("suite.instance-never._app.1");
    assert!(matches!(within(driver.wait(&handle)).await, Err(DriverError::Missing)));
}

/// A shell needs a moment until it has run its first words; nothing outside shows when.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// Looks again until `look` gives something or the deadline has passed.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
