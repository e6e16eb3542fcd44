//! Runs tasks as plain processes, each below a shim that outlives the agent.
//!
//! Way in: [`ProcessDriver::new`]. A task has one directory, named after it, with the
//! files of `shim::records`; whoever finds the directory finds the task, so that a new
//! agent needs no memory of its own. A task that never got a shim leaves no process.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::cgroup::Cgroups;
use super::kill_times::{KillTimes, Stop};
use super::limits::Limits;
use super::task_dir::{self, SANDBOX, make_task, make_tasks, task_dir};
use super::{DriverError, Ended, Started, TaskDriver, TaskHandle};
use crate::agent::shim::output::OUTPUT_BYTES_MAX;
use crate::agent::shim::records::{self, Exit, Launch, Run};
use crate::domain::{self, Process, TaskId, TaskLaunch};
use crate::world;

/// From spawning a shim until it has started the task or said why not.
const START_WAIT: Duration = Duration::from_secs(10);
/// Between two looks for the record of a shim that another run of the agent spawned.
const START_PAUSE: Duration = Duration::from_millis(20);
/// Of a shim's complaint, this much is read.
const MESSAGE_BYTES_MAX: u64 = 4096;

/// What the driver needs to be told.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// Directory of the tasks' directories.
    pub tasks: PathBuf,
    /// Program that is run as `<shim> shim <dir>`: this very binary.
    pub shim: PathBuf,
    /// Where limits are kept.
    pub cgroups: Cgroups,
    /// Size at which an output file is put aside; [`OUTPUT_BYTES_MAX`] unless a test says otherwise.
    pub output_bytes_max: u64,
}

impl ProcessSettings {
    /// Usual settings: shims are this binary, limits wherever the machine lets us.
    ///
    /// # Errors
    /// When the path of this binary cannot be found out.
    pub fn usual(tasks: PathBuf) -> io::Result<Self> {
        let shim = std::env::current_exe()?;
        Ok(Self { tasks, shim, cgroups: Cgroups::detect(), output_bytes_max: OUTPUT_BYTES_MAX })
    }
}

/// Runs tasks as plain processes.
#[derive(Debug)]
pub struct ProcessDriver {
    settings: ProcessSettings,
    /// When tasks under way to their end will be killed.
    kills: KillTimes,
}

impl ProcessDriver {
    /// A driver over the tasks in `settings.tasks`, which is made when absent.
    ///
    /// # Errors
    /// When that directory cannot be made or found.
    pub fn new(mut settings: ProcessSettings) -> io::Result<Self> {
        settings.tasks = make_tasks(&settings.tasks)?;
        Ok(Self { settings, kills: KillTimes::default() })
    }

    /// Directory of a task: `stdout` and `stderr` lie there.
    ///
    /// # Errors
    /// [`DriverError::Refused`] when the id cannot be the name of a directory.
    pub fn task_dir(&self, task: &TaskId) -> Result<PathBuf, DriverError> {
        task_dir(&self.settings.tasks, task)
    }

    async fn start_task(&self, launch: &TaskLaunch) -> Result<Started, DriverError> {
        let dir = self.task_dir(&launch.task)?;
        if let Some(found) = found(&launch.task, &dir) {
            return found;
        }
        let record = self.record(launch, &dir)?;
        let prepared = dir.clone();
        blocking(move || prepare(&prepared, &record)).await?;
        let said = self.spawn_shim(&dir).await?;
        let until = Instant::now() + START_WAIT;
        loop {
            match found(&launch.task, &dir) {
                Some(found) => return found,
                None if !said.is_empty() => {
                    return Err(DriverError::Failed(format!("start the task: {said}")));
                }
                // Another shim has the task: an agent before us spawned it a moment ago.
                None if is_locked(&dir) && Instant::now() < until => sleep(START_PAUSE).await,
                None => {
                    let found = found(&launch.task, &dir);
                    return found.unwrap_or_else(|| {
                        Err(DriverError::Failed("start the task: its shim ended without a word".to_owned()))
                    });
                }
            }
        }
    }

    fn record(&self, launch: &TaskLaunch, dir: &Path) -> Result<Launch, DriverError> {
        let argv = match &launch.process {
            Process::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Process::Args(argv) if !argv.is_empty() => argv.clone(),
            Process::Args(_) | Process::Image => {
                return Err(DriverError::Refused(
                    "the app has neither an image nor a command; set 'cmd' or 'args'".to_owned(),
                ));
            }
        };
        let limits = Limits::of(&launch.resources);
        let cgroups = self.settings.cgroups.make(&launch.task, &limits).unwrap_or_else(|error| {
            tracing::warn!(task = %launch.task, %error, "task runs without limits: its cgroup could not be made");
            Default::default()
        });
        let mut env = launch.env.clone();
        env.insert("MESOS_SANDBOX".to_owned(), dir.join(SANDBOX).display().to_string());
        Ok(Launch {
            task: launch.task.clone(),
            argv,
            env,
            user: launch.user.clone(),
            cgroups,
            output_bytes_max: self.settings.output_bytes_max,
        })
    }

    /// Starts a shim and waits until it closes its pipe; gives what it complained about.
    async fn spawn_shim(&self, dir: &Path) -> Result<String, DriverError> {
        let mut command = Command::new(&self.settings.shim);
        command.arg("shim").arg(dir).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shim = command
            .spawn()
            .map_err(|error| DriverError::Failed(format!("run {}: {error}", self.settings.shim.display())))?;
        let mut said = Vec::new();
        if let Some(pipe) = shim.stdout.take() {
            let read = timeout(START_WAIT, pipe.take(MESSAGE_BYTES_MAX).read_to_end(&mut said)).await;
            let heard = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).and_then(|read| read);
            heard.map_err(|error| DriverError::Failed(format!("hear from the task's shim: {error}")))?;
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    async fn wait_for_end(&self, task: &TaskId) -> Result<Ended, DriverError> {
        let dir = self.task_dir(task)?;
        if let Some(exit) = records::read::<Exit>(&dir, records::EXIT) {
            return Ok(exit.ended);
        }
        let run = await_run(&dir).await.ok_or(DriverError::Missing)?;
        await_shim(&run).await?;
        if let Some(exit) = records::read::<Exit>(&dir, records::EXIT) {
            return Ok(exit.ended);
        }
        blocking(move || bury(&dir, &run)).await
    }

    async fn stop_task(&self, task: &TaskId, grace: Duration) -> Result<(), DriverError> {
        let dir = self.task_dir(task)?;
        if dir.join(records::EXIT).exists() || !dir.exists() {
            return Ok(());
        }
        let Some(run) = await_run(&dir).await else { return Ok(()) };
        let at = Instant::now() + grace;
        match self.kills.note(task, at) {
            Stop::First => signal_group(&run, Signal::TERM),
            Stop::Sooner => {}
            Stop::UnderWay => return Ok(()),
        }
        let task = task.clone();
        world::spawn(async move {
            if !matches!(timeout_at(at, await_shim(&run)).await, Ok(Ok(()))) {
                tracing::info!(%task, ?grace, "task did not end after TERM: killing it");
                signal_group(&run, Signal::KILL);
                if let Some(launch) = records::read::<Launch>(&dir, records::LAUNCH) {
                    launch.cgroups.kill_all();
                }
            }
        });
        Ok(())
    }

    async fn check(&self, task: &TaskId, line: &str, limit: Duration) -> Result<i32, DriverError> {
        let dir = self.task_dir(task)?;
        let launch: Launch = records::read(&dir, records::LAUNCH).ok_or(DriverError::Missing)?;
        let run: Run = records::read(&dir, records::RUN).ok_or(DriverError::Missing)?;
        if !run.task.is_there() {
            return Err(DriverError::Missing);
        }
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).env_clear().envs(&launch.env).current_dir(dir.join(SANDBOX));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        become_owner(&mut command, &launch, &dir)?;
        let mut child =
            command.spawn().map_err(|error| DriverError::Failed(format!("run /bin/sh: {error}")))?;
        let group = child
            .id()
            .inspect(|pid| launch.cgroups.admit(*pid))
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let ended = timeout(limit, child.wait()).await;
        if let Some(group) = group {
            // What the check left behind goes with it, in time or not.
            let _none_left = kill_process_group(group, Signal::KILL);
        }
        match ended {
            Ok(Ok(status)) => Ok(exit_code(status)),
            Ok(Err(error)) => Err(DriverError::Failed(format!("wait for the check: {error}"))),
            Err(_) => Err(DriverError::Failed(format!("end the check within {limit:?}; it was killed"))),
        }
    }

    async fn remove_task(&self, task: &TaskId) -> Result<(), DriverError> {
        let dir = self.task_dir(task)?;
        if !dir.join(records::LAUNCH).exists() {
            return Ok(()); // Nothing of ours: a container's directory may lie beside.
        }
        let run: Option<Run> = records::read(&dir, records::RUN);
        if run.is_some_and(|run| run.task.is_there() && !dir.join(records::EXIT).exists()) {
            return Err(DriverError::Failed(format!("remove what {task} left: it still runs")));
        }
        self.kills.forget(task);
        blocking(move || {
            if let Some(launch) = records::read::<Launch>(&dir, records::LAUNCH) {
                launch.cgroups.remove();
            }
            task_dir::remove(&dir)
        })
        .await
    }
}

impl TaskDriver for ProcessDriver {
    fn name(&self) -> &'static str {
        "process"
    }

    /// Takes milliseconds, so that it is never given up.
    fn start<'a>(
        &'a self,
        launch: &'a TaskLaunch,
        _given_up: CancellationToken,
    ) -> BoxFuture<'a, Result<Started, DriverError>> {
        self.start_task(launch).boxed()
    }

    fn wait<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<Ended, DriverError>> {
        self.wait_for_end(&handle.task).boxed()
    }

    fn stop<'a>(&'a self, handle: &'a TaskHandle, grace: Duration) -> BoxFuture<'a, Result<(), DriverError>> {
        self.stop_task(&handle.task, grace).boxed()
    }

    fn run_check<'a>(
        &'a self,
        handle: &'a TaskHandle,
        command: &'a str,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<i32, DriverError>> {
        self.check(&handle.task, command, timeout).boxed()
    }

    fn remove<'a>(&'a self, handle: &'a TaskHandle) -> BoxFuture<'a, Result<(), DriverError>> {
        self.remove_task(&handle.task).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<TaskHandle>, DriverError>> {
        let tasks = self.settings.tasks.clone();
        blocking(move || list(&tasks)).boxed()
    }
}

/// Runs file work away from the threads that must not wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DriverError> + Send + 'static,
) -> Result<T, DriverError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(DriverError::Failed(format!("do file work: {error}"))))
}

/// What the records of a task tell of its start; nothing when they do not tell yet.
fn found(task: &TaskId, dir: &Path) -> Option<Result<Started, DriverError>> {
    let exit: Option<Exit> = records::read(dir, records::EXIT);
    if let Some(Exit { started: false, ended }) = exit {
        return Some(Err(DriverError::Refused(ended.message)));
    }
    let run: Run = records::read(dir, records::RUN)?;
    Some(Ok(Started { handle: handle(task, Some(&run)), ip_addresses: Vec::new() }))
}

fn handle(task: &TaskId, run: Option<&Run>) -> TaskHandle {
    TaskHandle {
        task: task.clone(),
        container: None,
        pid: run.map(|run| run.task.pid),
        pid_started: run.map(|run| run.task.started),
    }
}

/// Makes the task's directory. The launch file holds the environment, hence its mode.
fn prepare(dir: &Path, launch: &Launch) -> Result<(), DriverError> {
    let write = || -> io::Result<()> {
        make_task(dir)?;
        let path = dir.join(records::LAUNCH);
        let temporary = dir.join(format!(".launch-{:016x}.tmp", world::random_u64()));
        let file =
            std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        serde_json::to_writer(io::BufWriter::new(file), launch)?;
        std::fs::rename(temporary, path)
    };
    write().map_err(|error| DriverError::Failed(format!("prepare {}: {error}", dir.display())))
}

/// The record of a running task; waits for it while a shim is about to write it.
async fn await_run(dir: &Path) -> Option<Run> {
    let until = Instant::now() + START_WAIT;
    loop {
        if let Some(run) = records::read(dir, records::RUN) {
            return Some(run);
        }
        if !is_locked(dir) || Instant::now() >= until {
            return records::read(dir, records::RUN);
        }
        sleep(START_PAUSE).await;
    }
}

fn is_locked(dir: &Path) -> bool {
    let Ok(file) = std::fs::File::open(dir.join(records::LOCK)) else { return false };
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}

async fn await_shim(run: &Run) -> Result<(), DriverError> {
    run.shim.end().await.map_err(|error| DriverError::Failed(format!("watch the task's shim: {error}")))
}

fn signal_group(run: &Run, signal: Signal) {
    if !run.task.is_there() {
        return;
    }
    if let Some(group) = run.task.raw() {
        let _gone = kill_process_group(group, signal);
    }
}

/// A shim went without a word: ends what it left and writes down that nobody knows more.
fn bury(dir: &Path, run: &Run) -> Result<Ended, DriverError> {
    run.task.kill_session();
    if let Some(launch) = records::read::<Launch>(dir, records::LAUNCH) {
        launch.cgroups.kill_all();
        launch.cgroups.remove();
    }
    let rebooted = run.shim.boot != crate::agent::known_process::boot_id();
    let message = if rebooted {
        "The machine was restarted while the task ran"
    } else {
        "The task's shim was killed by someone; what it ran was ended, its exit code is not known"
    };
    let ended = Ended { exit: domain::Exit::default(), at: None, message: message.to_owned() };
    // Not written down it would only be found out again.
    let _found_again = records::write(dir, records::EXIT, &Exit { started: true, ended: ended.clone() });
    Ok(ended)
}

/// Lets a check run as the task's user; the sandbox belongs to it.
fn become_owner(command: &mut Command, launch: &Launch, dir: &Path) -> Result<(), DriverError> {
    use std::os::unix::fs::MetadataExt;
    if launch.user.is_none() {
        return Ok(());
    }
    let owner = std::fs::metadata(dir.join(SANDBOX)).map_err(|_| DriverError::Missing)?;
    if owner.uid() != rustix::process::getuid().as_raw() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    Ok(())
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    // As a shell would say it.
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn list(tasks: &Path) -> Result<Vec<TaskHandle>, DriverError> {
    let entries = std::fs::read_dir(tasks)
        .map_err(|error| DriverError::Failed(format!("list {}: {error}", tasks.display())))?;
    let mut found: Vec<TaskHandle> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let task = TaskId::new(entry.file_name().to_str()?);
            entry.path().join(records::LAUNCH).exists().then(|| {
                let run: Option<Run> = records::read(&entry.path(), records::RUN);
                handle(&task, run.as_ref())
            })
        })
        .collect();
    found.sort_by(|a, b| a.task.cmp(&b.task));
    Ok(found)
}
