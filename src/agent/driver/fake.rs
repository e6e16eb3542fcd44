//! Tasks that exist in memory only: for tests and the simulator.
//!
//! Way in: [`FakeMachine`], which outlives agents as real machines do; [`FakeMachine::driver`]
//! gives an agent's door to it. Tasks follow their command as far as it is understood:
//! `sleep 5`, `exit 7` and `trap '' TERM` joined by `;` do what they say, and anything
//! else serves until stopped. Ends fall due by the clock, so that nothing has to run
//! while no agent does. Deterministic: same calls at the same times, same history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{DriverError, Ended, Started, TaskDriver, TaskHandle};
use crate::domain::{Exit, Process, TaskId, TaskLaunch};
use crate::world::{Clock, SystemClock};

/// What a machine's first process number would be for a task.
const FIRST_PID: i32 = 1000;
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A machine without substance, shared by the runs of an agent on it.
#[derive(Debug)]
pub struct FakeMachine {
    inner: Mutex<Inner>,
    #[cfg(not(feature = "sim"))]
    born: tokio::time::Instant,
}

#[derive(Debug, Default)]
struct Inner {
    tasks: BTreeMap<TaskId, FakeTask>,
    /// How often each task was really started, over all boots.
    starts: BTreeMap<TaskId, u32>,
    lost_images: BTreeSet<String>,
    check_results: BTreeMap<String, i32>,
    started: i32,
    start_takes: Duration,
    away: bool,
}

#[derive(Debug)]
struct FakeTask {
    launch: TaskLaunch,
    pid: i32,
    ignores_term: bool,
    /// When it will end, and how, unless something ends it sooner.
    due: Option<(Duration, Ended)>,
    ended: Option<Ended>,
    changed: Arc<Notify>,
}

/// An agent's door to a [`FakeMachine`].
#[derive(Clone, Debug)]
pub struct FakeDriver {
    machine: Arc<FakeMachine>,
}

impl FakeMachine {
    /// A machine on which nothing runs. Must be called within a runtime.
    #[allow(clippy::new_ret_no_self, reason = "only useful when shared")]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            #[cfg(not(feature = "sim"))]
            born: tokio::time::Instant::now(),
        })
    }

    /// A door for one run of an agent.
    pub fn driver(self: &Arc<Self>) -> FakeDriver {
        FakeDriver { machine: Arc::clone(self) }
    }

    /// Ends a running task of itself.
    pub fn end(&self, task: &TaskId, exit: Exit, message: &str) {
        let ended = self.ended(exit, message);
        if let Some(task) = self.lock().tasks.get_mut(task) {
            task.end(ended);
        }
    }

    /// Restarts the machine: every task is gone without a trace.
    pub fn reboot(&self) {
        let gone = std::mem::take(&mut self.lock().tasks);
        gone.values().for_each(|task| task.changed.notify_waiters());
    }

    /// Makes an image unknown; launches that need it are refused.
    pub fn lose_image(&self, image: &str) {
        self.lock().lost_images.insert(image.to_owned());
    }

    /// Lets every call answer [`DriverError::Unavailable`], or work again. Tasks go on.
    pub fn set_away(&self, away: bool) {
        self.lock().away = away;
    }

    /// How long each start takes from now on.
    pub fn set_start_takes(&self, duration: Duration) {
        self.lock().start_takes = duration;
    }

    /// What COMMAND checks of an app's tasks answer from now on; 0 unless told.
    pub fn set_check_result(&self, app: &str, code: i32) {
        self.lock().check_results.insert(app.to_owned(), code);
    }

    /// Every task that runs now, in order, with its launch.
    pub fn running(&self) -> Vec<TaskLaunch> {
        let running = self.settled();
        running.tasks.values().filter(|task| task.ended.is_none()).map(|task| task.launch.clone()).collect()
    }

    /// How often a task was really started; more than once is a fault of the agent's.
    pub fn starts(&self, task: &TaskId) -> u32 {
        self.lock().starts.get(task).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state after everything that fell due until now.
    fn settled(&self) -> MutexGuard<'_, Inner> {
        let now = self.now();
        let mut inner = self.lock();
        inner.tasks.values_mut().for_each(|task| task.settle(now));
        inner
    }

    /// How often tasks of an app were really started. Source of the app: the task's name.
    pub fn starts_of(&self, app: &str) -> u32 {
        let prefix = format!("{}.instance-", app.trim_start_matches('/').replace('/', "_"));
        let inner = self.lock();
        inner
            .starts
            .iter()
            .filter(|(task, _)| task.as_str().starts_with(&prefix))
            .map(|(_, starts)| starts)
            .sum()
    }

    /// Time since the machine began; goes on over restarts of the agent's runtime.
    fn now(&self) -> Duration {
        #[cfg(not(feature = "sim"))]
        return self.born.elapsed();
        #[cfg(feature = "sim")]
        return turmoil::sim_elapsed().unwrap_or_default();
    }

    fn ended(&self, exit: Exit, message: &str) -> Ended {
        let at = crate::domain::Timestamp::from_millis(SystemClock.now_millis());
        Ended { exit, at: Some(at), message: message.to_owned() }
    }

    fn started(&self, launch: &TaskLaunch) -> Result<Started, DriverError> {
        let script = Script::of(&launch.process);
        let now = self.now();
        let mut inner = self.lock();
        if let Some(found) = inner.tasks.get(&launch.task) {
            return Ok(found.started());
        }
        if let Some(missing) = launch.container.as_ref().filter(|c| inner.lost_images.contains(&c.image)) {
            return Err(DriverError::Refused(format!("image '{}' does not exist", missing.image)));
        }
        inner.started += 1;
        *inner.starts.entry(launch.task.clone()).or_default() += 1;
        let due = script.end.map(|(after, code)| {
            let exit = Exit { code: Some(code), ..Exit::default() };
            (now + after, self.ended(exit, &format!("Command exited with status {code}")))
        });
        let task = FakeTask {
            launch: launch.clone(),
            pid: FIRST_PID + inner.started,
            ignores_term: script.ignores_term,
            due,
            ended: None,
            changed: Arc::default(),
        };
        let started = task.started();
        inner.tasks.insert(launch.task.clone(), task);
        Ok(started)
    }

    async fn end_of(&self, task: &TaskId) -> Result<Ended, DriverError> {
        loop {
            let (changed, due) = {
                let now = self.now();
                let mut inner = self.lock();
                inner.present()?;
                let task = inner.tasks.get_mut(task).ok_or(DriverError::Missing)?;
                task.settle(now);
                if let Some(ended) = &task.ended {
                    return Ok(ended.clone());
                }
                (Arc::clone(&task.changed), task.due.as_ref().map(|(at, _)| at.saturating_sub(now)))
            };
            // Nothing can change between the look and this: both happen without a pause.
            match due {
                Some(left) => drop(tokio::time::timeout(left, changed.notified()).await),
                None => changed.notified().await,
            }
        }
    }

    fn stop(&self, task: &TaskId, grace: Duration) -> Result<(), DriverError> {
        let now = self.now();
        let signalled = |signal: i32| {
            let exit = Exit { signal: Some(signal), ..Exit::default() };
            self.ended(exit, &format!("Command terminated with signal {signal}"))
        };
        let mut inner = self.lock();
        inner.present()?;
        let Some(task) = inner.tasks.get_mut(task) else { return Ok(()) };
        task.settle(now);
        if task.ended.is_some() {
            return Ok(());
        }
        if !task.ignores_term {
            task.end(signalled(SIGTERM));
            return Ok(());
        }
        let at = now + grace;
        if task.due.as_ref().is_none_or(|(due, _)| at < *due) {
            task.due = Some((at, signalled(SIGKILL)));
            task.changed.notify_waiters();
        }
        Ok(())
    }
}

impl Inner {
    fn present(&self) -> Result<(), DriverError> {
        if self.away {
            let reason = "told to be away".to_owned();
            return Err(DriverError::Unavailable { means: "fake", reason, made_nothing: true });
        }
        Ok(())
    }
}

impl FakeTask {
    fn started(&self) -> Started {
        Started { handle: self.handle(), ip_addresses: Vec::new() }
    }

    fn handle(&self) -> TaskHandle {
        TaskHandle {
            task: self.launch.task.clone(),
            container: self.launch.container.as_ref().map(|_| format!("fake-{}", self.pid)),
            pid: Some(self.pid),
            pid_started: Some(self.pid.unsigned_abs().into()),
        }
    }

    fn settle(&mut self, now: Duration) {
        if self.due.as_ref().is_some_and(|(at, _)| *at <= now)
            && let Some((_, ended)) = self.due.take()
        {
            self.end(ended);
        }
    }

    fn end(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
        self.changed.notify_waiters();
    }
}

/// What we understand of a command.
#[derive(Debug, Default, PartialEq, Eq)]
struct Script {
    ignores_term: bool,
    /// After how long it ends by itself, with which code.
    end: Option<(Duration, i32)>,
}

impl Script {
    fn of(process: &Process) -> Self {
        let Process::Shell(line) = process else { return Self::default() };
        let mut script = Self::default();
        let mut passed = Duration::ZERO;
        for step in line.split(';').map(str::trim) {
            match step.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["trap", "''", "TERM"] => script.ignores_term = true,
                ["sleep", seconds] => {
                    match seconds.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()) {
                        Some(duration) => passed += duration,
                        None => return script,
                    }
                }
                ["exit", code] => {
                    script.end = code.parse().ok().map(|code| (passed, code));
                    return script;
                }
                _ => return script,
            }
        }
        script.end = Some((passed, 0));
        script
    }
}

impl TaskDriver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn is_there(&self) -> BoxFuture<'_, Result<(), DriverError>> {
        async move { self.machine.lock().present() }.boxed()
    }

    fn start<'a>(
        &'a self,
        launch: &'a TaskLaunch,
        _given_up: CancellationToken,
    ) -> BoxFuture<'a, Result<Started, DriverError>> {
        async move {
            let takes = {
                let inner = self.machine.lock();
                inner.present()?;
                inner.start_takes
            };
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            self.machine.started(launch)
        }
        .boxed()
    }

    fn wait<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<Ended, DriverError>> {
        self.machine.end_of(&handle.task).boxed()
    }

    fn stop<'a>(&'a self, handle: &'a TaskHandle, grace: Duration) -> BoxFuture<'a, Result<(), DriverError>> {
        async move { self.machine.stop(&handle.task, grace) }.boxed()
    }

    fn run_check<'a>(
        &'a self,
        handle: &'a TaskHandle,
        _command: &'a str,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<i32, DriverError>> {
        async move {
            let inner = self.machine.settled();
            inner.present()?;
            let task = inner.tasks.get(&handle.task).filter(|task| task.ended.is_none());
            let task = task.ok_or(DriverError::Missing)?;
            Ok(inner.check_results.get(&task.launch.app).copied().unwrap_or(0))
        }
        .boxed()
    }

    fn remove<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            let mut inner = self.machine.settled();
            inner.present()?;
            if inner.tasks.get(&handle.task).is_some_and(|task| task.ended.is_none()) {
                return Err(DriverError::Failed(format!("remove what {} left: it still runs", handle.task)));
            }
            inner.tasks.remove(&handle.task);
            Ok(())
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<TaskHandle>, DriverError>> {
        async move {
            let inner = self.machine.settled();
            inner.present()?;
            Ok(inner.tasks.values().map(FakeTask::handle).collect())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, ignores_term: bool, end: Option<(u64, i32)>) {
        let end = end.map(|(seconds, code)| (Duration::from_secs(seconds), code));
        assert_eq!(Script::of(&Process::Shell(line.to_owned())), Script { ignores_term, end });
    }

    #[test]
    fn commands_are_followed_as_far_as_understood() {
        check("exit 7", false, Some((0, 7)));
        check("sleep 2; sleep 3; exit 1", false, Some((5, 1)));
        check("trap '' TERM; sleep 60", true, Some((60, 0)));
        check("python3 -m http.server $PORT0", false, None);
        check("sleep 2; serve", false, None);
    }
}
