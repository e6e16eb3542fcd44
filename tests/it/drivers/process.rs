//! Plain processes below their shims.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use platformd::agent::driver::cgroup::Cgroups;
use platformd::agent::driver::process::{ProcessDriver, ProcessSettings};
use platformd::agent::driver::{DriverError, TaskDriver, TaskHandle};
use platformd::domain::{Process, Scalar, TaskLaunch};

use super::suite::{self, Bench, clear, driver_suite, end, eventually, start, within};

struct Processes {
    dir: tempfile::TempDir,
    cgroups: Cgroups,
}

impl Processes {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), cgroups: Cgroups::detect() }
    }

    fn settings(&self) -> ProcessSettings {
        ProcessSettings {
            tasks: self.dir.path().join("tasks"),
            shim: PathBuf::from(env!("CARGO_BIN_EXE_platformd")),
            cgroups: self.cgroups.clone(),
            output_bytes_max: 10_000,
        }
    }

    fn task_dir(&self, handle: &TaskHandle) -> PathBuf {
        self.dir.path().join("tasks").join(handle.task.as_str())
    }
}

impl Bench for Processes {
    fn driver(&self) -> Arc<dyn TaskDriver> {
        Arc::new(ProcessDriver::new(self.settings()).unwrap())
    }

    fn launch(&self, line: &str) -> TaskLaunch {
        suite::a_launch(line)
    }
}

fn bench() -> std::future::Ready<Option<Processes>> {
    std::future::ready(Some(Processes::new()))
}

driver_suite!(bench());

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Whether a process is there and not just waiting to be reaped.
fn lives(pid: i32) -> bool {
    read(format!("/proc/{pid}/stat")).rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The process ids that a task wrote to its output, once there are `count`.
async fn pids_written(bench: &Processes, handle: &TaskHandle, count: usize) -> Vec<i32> {
    let file = bench.task_dir(handle).join("stdout");
    eventually("the task writes its process ids", || {
        let pids: Vec<i32> = read(&file).split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        (pids.len() == count).then_some(pids)
    })
    .await
}

fn shim_of(bench: &Processes, handle: &TaskHandle) -> i32 {
    let run: serde_json::Value = serde_json::from_str(&read(bench.task_dir(handle).join("run"))).unwrap();
    i32::try_from(run["shim"]["pid"].as_i64().unwrap()).unwrap()
}

fn kill_9(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given_and_the_sandbox() {
    let bench = Processes::new();
    let driver = bench.driver();
    let mut launch = bench.launch("");
    launch.process = Process::Args(vec!["/usr/bin/env".to_owned()]);
    let handle = start(&driver, &launch).await;
    assert_eq!(end(&driver, &handle).await.exit.code, Some(0));
    let sandbox = bench.task_dir(&handle).canonicalize().unwrap().join("sandbox");
    let mut lines: Vec<String> =
        read(bench.task_dir(&handle).join("stdout")).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["GREETING=hello".to_owned(), format!("MESOS_SANDBOX={}", sandbox.display())]);
    clear(&driver, &handle).await;
    assert!(!bench.task_dir(&handle).exists());
}

#[tokio::test]
async fn a_task_works_in_its_sandbox_in_a_session_of_its_own_with_nothing_inherited() {
    let bench = Processes::new();
    let driver = bench.driver();
    let _left_open =
        rustix::fs::open("/dev/zero", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    let handle =
        start(&driver, &bench.launch("pwd; ls /proc/$$/fd; cut -d' ' -f1,5,6 /proc/$$/stat; exit 0")).await;
    end(&driver, &handle).await;
    let pid = handle.pid.unwrap();
    let sandbox = bench.task_dir(&handle).canonicalize().unwrap().join("sandbox");
    let wanted = format!("{}\n0\n1\n2\n{pid} {pid} {pid}\n", sandbox.display());
    assert_eq!(read(bench.task_dir(&handle).join("stdout")), wanted);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_named() {
    let bench = Processes::new();
    let driver = bench.driver();
    let mut launch = bench.launch("no-such-program-here --flag");
    let handle = start(&driver, &launch).await;
    let ended = end(&driver, &handle).await;
    assert_eq!(ended.exit.code, Some(127));
    assert!(ended.message.contains("no-such-program-here"), "{}", ended.message);
    clear(&driver, &handle).await;

    launch = bench.launch("");
    launch.process = Process::Args(vec!["/no/such/program".to_owned()]);
    for _ in 0..2 {
        let Err(DriverError::Refused(text)) = within(driver.start(&launch, CancellationToken::new())).await
        else {
            panic!("it started")
        };
        assert!(text.contains("'/no/such/program' does not exist"), "{text}");
    }
    let [left] = within(driver.list()).await.unwrap().try_into().unwrap();
    assert!(end(&driver, &left).await.message.contains("does not exist"));
    within(driver.remove(&left)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_user_is_named() {
    let bench = Processes::new();
    let mut launch = bench.launch("exit 0");
    launch.user = Some("nobody-of-this-name".to_owned());
    let Err(DriverError::Refused(text)) =
        within(bench.driver().start(&launch, CancellationToken::new())).await
    else {
        panic!("it started")
    };
    assert!(text.contains("No such user 'nobody-of-this-name'"), "{text}");
}

#[tokio::test]
async fn a_task_runs_as_its_user_and_so_do_its_checks() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root may become another user.
    }
    let bench = Processes::new();
    // A temporary directory is closed to others; an agent's data directory is not.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(bench.dir.path(), open).unwrap();
    let driver = bench.driver();
    let mut launch = bench.launch("id -un; id -gn; touch mine; sleep 600");
    launch.user = Some("nobody".to_owned());
    let handle = start(&driver, &launch).await;
    let stdout = bench.task_dir(&handle).join("stdout");
    eventually("the task says who it is", || (read(&stdout) == "nobody\nnogroup\n").then_some(())).await;
    let check = "test \"$(id -un)\" = nobody && test -O mine && test \"$GREETING\" = hello";
    eventually("the file is there", || bench.task_dir(&handle).join("sandbox/mine").exists().then_some(()))
        .await;
    assert_eq!(within(driver.run_check(&handle, check, suite::DEADLINE)).await.unwrap(), 0);
    let forge = "echo forged > ../run || echo forged > ../stdout || cat ../launch";
    assert_ne!(within(driver.run_check(&handle, forge, suite::DEADLINE)).await.unwrap(), 0);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn checks_give_their_code_and_end_in_time() {
    let bench = Processes::new();
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    assert_eq!(within(driver.run_check(&handle, "exit 3", suite::DEADLINE)).await.unwrap(), 3);
    let slow = "sleep 600 & echo $! > pid; wait";
    let late = within(driver.run_check(&handle, slow, Duration::from_millis(300))).await;
    let Err(DriverError::Failed(text)) = late else { panic!("{late:?}") };
    assert!(text.contains("300ms"), "{text}");
    let pid = read(bench.task_dir(&handle).join("sandbox/pid")).trim().parse().unwrap();
    eventually("what the check started is gone", || (!lives(pid)).then_some(())).await;
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn what_a_task_leaves_running_ends_with_it() {
    let bench = Processes::new();
    let driver = bench.driver();
    // One in the group, one in a session of its own, one orphaned twice over.
    let line = "sleep 600 & echo $!; setsid sleep 601 & echo $!; \
                sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 602\" &' ; sleep 0.3; exit 0";
    let handle = start(&driver, &bench.launch(line)).await;
    let pids = pids_written(&bench, &handle, 3).await;
    assert_eq!(end(&driver, &handle).await.exit.code, Some(0));
    assert!(!pids.iter().any(|pid| lives(*pid)), "{pids:?}");
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn a_vanished_shim_takes_its_task_along_and_is_told() {
    let bench = Processes::new();
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600 & echo $!; wait")).await;
    let [child] = pids_written(&bench, &handle, 1).await.try_into().unwrap();
    kill_9(shim_of(&bench, &handle));
    let ended = end(&driver, &handle).await;
    assert_eq!((ended.exit.code, ended.exit.signal), (None, None));
    assert!(ended.message.contains("shim"), "{}", ended.message);
    for pid in [child, handle.pid.unwrap()] {
        eventually("nothing is left", || (!lives(pid)).then_some(())).await;
    }
    assert_eq!(end(&bench.driver(), &handle).await, ended, "it is written down");
    assert_eq!(start(&driver, &bench.launch("exit 0")).await.container, None);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn a_task_is_never_run_twice() {
    let bench = Processes::new();
    let driver = bench.driver();
    let launch = bench.launch("echo ran; exit 1");
    let handle = start(&driver, &launch).await;
    end(&driver, &handle).await;
    assert_eq!(start(&driver, &launch).await, handle, "ended as it is");
    let other = bench.driver();
    let launch = bench.launch("echo ran; sleep 600");
    let (one, two) = tokio::join!(
        driver.start(&launch, CancellationToken::new()),
        other.start(&launch, CancellationToken::new())
    );
    let (one, two) = (one.unwrap().handle, two.unwrap().handle);
    assert_eq!(one, two, "two starts at once");
    eventually("it ran", || (read(bench.task_dir(&one).join("stdout")) == "ran\n").then_some(())).await;
    clear(&driver, &one).await;
}

#[tokio::test]
async fn output_is_kept_within_twice_the_size_while_no_agent_is_there() {
    let bench = Processes::new();
    let line = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; echo over >&2; exit 0";
    let handle = start(&bench.driver(), &bench.launch(line)).await;
    let dir = bench.task_dir(&handle);
    eventually("the task ends", || dir.join("exit").exists().then_some(())).await;
    let (newest, before) = (read(dir.join("stdout")), read(dir.join("stdout.1")));
    assert!(newest.ends_with("line 4999\n"), "{newest}");
    assert!(newest.len() <= 10_000 && !before.is_empty() && before.len() <= 10_000);
    assert_eq!(read(dir.join("stderr")), "over\n");
    clear(&bench.driver(), &handle).await;
}

#[tokio::test]
async fn a_task_that_takes_too_much_memory_is_ended_and_told() {
    let bench = Processes::new();
    if !bench.cgroups.limits_memory() {
        return; // Nothing here can keep the limit; the driver has warned.
    }
    let driver = bench.driver();
    let mut launch = bench.launch("exec tail /dev/zero");
    launch.resources.mem = Scalar::from_thousandths(32_000);
    let handle = start(&driver, &launch).await;
    let ended = end(&driver, &handle).await;
    assert!(ended.exit.out_of_memory, "{ended:?}");
    assert_eq!(ended.exit.signal, Some(9));
    assert!(ended.message.contains("memory"), "{}", ended.message);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn ids_that_lead_elsewhere_are_refused() {
    let bench = Processes::new();
    for id in ["..", "a/b", "", ".hidden", "a\0b"] {
        let mut launch = bench.launch("exit 0");
        launch.task = platformd::domain::TaskId::new(id);
        let refused = within(bench.driver().start(&launch, CancellationToken::new())).await;
        assert!(matches!(refused, Err(DriverError::Refused(_))), "{id:?}: {refused:?}");
    }
}
