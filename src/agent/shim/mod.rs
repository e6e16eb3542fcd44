//! `platformd shim DIR`: the parent of one process task, which outlives the agent.
//!
//! Way in: [`main`], before any runtime is made: this process has one thread until the
//! task runs, then a second that carries output. It exists because only a parent learns
//! how a process ended, and output needs a reader while the agent is away. Talks to the
//! agent by the files of [`records`] alone; its own standard output is a pipe on which
//! it closes once those tell that the task runs or never will. Knows no masters.

pub(crate) mod leftovers;
pub mod output;
pub(crate) mod records;
mod user;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::{WaitOptions, WaitStatus};

use self::records::{Exit, Launch, Run};
use self::user::User;
use crate::agent::driver::Ended;
use crate::agent::driver::task_dir::SANDBOX;
use crate::agent::known_process::KnownProcess;
use crate::domain;
use crate::domain::Timestamp;
use crate::world::{Clock, SystemClock};

/// Carrying two pipes needs little stack.
const COPIER_STACK_BYTES: usize = 128 << 10;
/// How long output may still flow after every process of the task was killed.
const LAST_OUTPUT_WAIT: Duration = Duration::from_secs(5);
/// Of what was written to stderr last, this much is looked at for the end's message.
const STDERR_TAIL_BYTES: u64 = 1024;
/// Characters of the last line of stderr in the end's message.
const LAST_LINE_CHARS_MAX: usize = 200;

/// Runs the task that `dir` describes and stays until it has ended. Gives the exit code
/// for this process: 0 when the files in `dir` tell what happened.
pub fn main(dir: &Path) -> i32 {
    detach();
    match run(dir) {
        Ok(()) => 0,
        Err(error) => {
            // The agent reads this from the pipe when there is no file to read.
            let _agent_is_away = write!(io::stdout(), "{error}");
            1
        }
    }
}

/// Leaves the agent's session and lets go of what was inherited from it.
fn detach() {
    // Fails only where we lead a session already, which is as good.
    let _leads_already = rustix::process::setsid();
    let _cosmetic = rustix::thread::set_name(c"platformd-shim");
    let _may_hold_a_mount = std::env::set_current_dir("/");
    close_inherited();
    // Orphans of the task become our children, so that we can find and reap them.
    let _without_they_become_inits = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Closes every descriptor but the standard three: whatever the agent or its parent left
/// open would otherwise stay open as long as the task runs.
#[expect(unsafe_code, reason = "descriptors that nobody in this process owns can only be closed by number")]
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The directory read above was among them and is closed by now.
        if std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok() {
            // SAFETY: called first in a process of one thread that holds no descriptor itself,
            // so that nobody loses what is closed here.
            unsafe { rustix::io::close(fd) };
        }
    }
}

fn run(dir: &Path) -> Result<(), String> {
    let Some(_lock) = lock(dir)? else { return Ok(()) };
    if dir.join(records::RUN).exists() || dir.join(records::EXIT).exists() {
        return Ok(()); // An earlier shim had this task: a task is never run twice.
    }
    let launch: Launch = records::read(dir, records::LAUNCH)
        .ok_or_else(|| format!("{} is not a readable launch file", dir.join(records::LAUNCH).display()))?;
    records::take_room(dir);
    match spawn(dir, &launch) {
        Ok(child) => attend(dir, &launch, child),
        Err(message) => finish(dir, &launch, false, Ended { message, ..never() }),
    }
}

/// Takes the task for this process; nothing when another shim has it.
fn lock(dir: &Path) -> Result<Option<File>, String> {
    let file = File::create(dir.join(records::LOCK))
        .map_err(|error| format!("cannot create the lock file in {}: {error}", dir.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(format!("cannot lock {}: {error}", dir.display())),
    }
}

/// Starts the task's first process: own session, own user, in its cgroups.
#[expect(unsafe_code, reason = "the only way to act between fork and exec")]
fn spawn(dir: &Path, launch: &Launch) -> Result<Child, String> {
    let (program, arguments) = launch.argv.split_first().ok_or("there is no command to run")?;
    let user = launch.user.as_deref().map(User::named).transpose()?;
    let sandbox = dir.join(SANDBOX);
    if let Some(user) = &user {
        std::os::unix::fs::chown(&sandbox, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|error| format!("cannot give the sandbox to {:?}: {error}", launch.user))?;
    }
    let mut entrances =
        launch.cgroups.entrances().map_err(|error| format!("cannot enter the task's cgroup: {error}"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&launch.env).current_dir(&sandbox);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: this process has a single thread, so that the copy made by fork is whole and
    // may do anything; what follows are plain system calls without allocation all the same.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            for entrance in &mut entrances {
                entrance.write_all(b"0")?;
            }
            user.as_ref().map_or(Ok(()), become_user)
        });
    }
    command.spawn().map_err(|error| why_not_started(program, launch.user.as_deref(), &error))
}

/// Groups first: without the rights of the old user they could not be changed any more.
fn become_user(user: &User) -> io::Result<()> {
    let now = rustix::process::getuid();
    if now == user.uid && rustix::process::getgid() == user.gid {
        return Ok(());
    }
    rustix::thread::set_thread_groups(&user.groups)?;
    rustix::thread::set_thread_res_gid(user.gid, user.gid, user.gid)?;
    rustix::thread::set_thread_res_uid(user.uid, user.uid, user.uid)?;
    Ok(())
}

fn why_not_started(program: &str, user: Option<&str>, error: &io::Error) -> String {
    match (error.kind(), user) {
        (io::ErrorKind::NotFound, _) => format!(
            "command '{program}' does not exist on this agent (or, for a script, its interpreter); check the spelling and PATH"
        ),
        (io::ErrorKind::PermissionDenied, Some(user)) => {
            format!("command '{program}' may not be run as '{user}': {error}")
        }
        (io::ErrorKind::PermissionDenied, None) => format!("command '{program}' may not be run: {error}"),
        _ => format!("command '{program}' could not be run: {error}"),
    }
}

/// Stays with a running task until its end.
fn attend(dir: &Path, launch: &Launch, mut child: Child) -> Result<(), String> {
    let pid = child.id().cast_signed();
    let oom_kills_before = launch.cgroups.oom_kills();
    // It is our child and not waited for, hence there, be it as a zombie.
    let task = KnownProcess::look(pid).ok_or("the kernel does not show the task's process")?;
    let shim = KnownProcess::look(std::process::id().cast_signed()).ok_or("/proc is not mounted")?;
    if let Err(error) = records::write(dir, records::RUN, &Run { shim, task: task.clone() }) {
        leftovers::end_all(&task, &launch.cgroups);
        return Err(format!("cannot write to {}: {error}", dir.display()));
    }
    let output_ended = carry_output(dir, &mut child, launch.output_bytes_max);
    tell_agent();
    let status = await_end(pid);
    let at = now();
    let out_of_memory = launch.cgroups.oom_kills() > oom_kills_before;
    leftovers::end_all(&task, &launch.cgroups);
    if let Some(ended) = output_ended {
        let _still_flowing = ended.recv_timeout(LAST_OUTPUT_WAIT);
    }
    finish(dir, launch, true, ended(dir, status, out_of_memory, at))
}

/// Carries output in a thread; the receiver hears when both pipes are closed.
fn carry_output(dir: &Path, child: &mut Child, bytes_max: u64) -> Option<mpsc::Receiver<()>> {
    let (stdout, stderr) = (child.stdout.take()?, child.stderr.take()?);
    let (done, ended) = mpsc::channel();
    let dir = dir.to_owned();
    let copier = move || {
        output::copy(&dir, stdout, stderr, bytes_max);
        let _nobody_waits = done.send(());
    };
    thread::Builder::new().name("output".to_owned()).stack_size(COPIER_STACK_BYTES).spawn(copier).ok()?;
    Some(ended)
}

/// Closes the pipe to the agent, which now reads the files.
fn tell_agent() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _stays_open = rustix::stdio::dup2_stdout(&null);
    }
}

/// Reaps children, orphans of the task among them, until the task's first process has ended.
fn await_end(task: i32) -> Option<WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == task => return Some(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

fn ended(dir: &Path, status: Option<WaitStatus>, oom_kill_seen: bool, at: Timestamp) -> Ended {
    let code = status.and_then(WaitStatus::exit_status);
    let signal = status.and_then(WaitStatus::terminating_signal);
    // A shell reports the killed child as 128 + 9.
    let out_of_memory = oom_kill_seen && (signal == Some(9) || code == Some(137));
    let message = match (code, signal) {
        _ if out_of_memory => "Killed by the kernel: used more memory than the app's 'mem' allows".to_owned(),
        (Some(0), _) => "Command exited with status 0".to_owned(),
        (Some(code), _) => format!("Command exited with status {code}{}", last_line(dir)),
        (None, Some(signal)) => format!("Command terminated with signal {signal}{}", last_line(dir)),
        (None, None) => "How the command ended is not known".to_owned(),
    };
    Ended { exit: domain::Exit { code, signal, out_of_memory }, at: Some(at), message }
}

/// `: <last line of stderr>`, since that is where programs say why they end.
fn last_line(dir: &Path) -> String {
    let Ok(text) = tail(&dir.join("stderr")) else { return String::new() };
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if line.is_empty() {
        return String::new();
    }
    format!(": {}", line.chars().take(LAST_LINE_CHARS_MAX).collect::<String>())
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(length.min(STDERR_TAIL_BYTES)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, length.saturating_sub(STDERR_TAIL_BYTES))?;
    Ok(bytes)
}

/// Writes down the end; the last act, so that everything is over once it can be read.
fn finish(dir: &Path, launch: &Launch, started: bool, ended: Ended) -> Result<(), String> {
    launch.cgroups.remove();
    records::write_end(dir, &Exit { started, ended })
        .map_err(|error| format!("cannot write to {}: {error}", dir.display()))
}

fn never() -> Ended {
    Ended { exit: domain::Exit::default(), at: Some(now()), message: String::new() }
}

fn now() -> Timestamp {
    Timestamp::from_millis(SystemClock.now_millis())
}
