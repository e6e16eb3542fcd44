//! Containers of a real Docker engine. Without one these tests pass and say so, except on CI.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use platformd::agent::driver::docker::{Allow, DEFAULT_SOCKET, DockerDriver, DockerSettings};
use platformd::agent::driver::{DriverError, TaskDriver, TaskHandle};
use platformd::domain::{
    AgentId, LaunchContainer, PortBinding, Process, Scalar, TaskId, TaskLaunch, Transport, Volume,
};
use platformd::testkit::image::{self, TestImage, docker};

use super::proxy::Proxy;
use super::suite::{self, Bench, DEADLINE, clear, driver_suite, end, eventually, start, within};

/// Less than the engine gives a silent registry: 25 s when this was written.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(20);

struct Containers {
    image: Arc<TestImage>,
    agent: AgentId,
    dir: tempfile::TempDir,
    driver: Arc<DockerDriver>,
    second: Arc<DockerDriver>,
    asked: std::sync::atomic::AtomicBool,
}

impl Drop for Containers {
    fn drop(&mut self) {
        image::remove_containers_of(self.agent.as_str());
    }
}

impl Containers {
    fn settings(&self) -> DockerSettings {
        settings(&self.agent, self.dir.path().join("tasks"))
    }

    fn as_it_is(&self, process: Process) -> TaskLaunch {
        TaskLaunch { process, ..self.launch("") }
    }
}

fn settings(agent: &AgentId, tasks: PathBuf) -> DockerSettings {
    DockerSettings {
        publish_on: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ..DockerSettings::usual(agent.clone(), tasks)
    }
}

impl Bench for Containers {
    fn driver(&self) -> Arc<dyn TaskDriver> {
        // The first and all later runs of the agent.
        let again = self.asked.swap(true, std::sync::atomic::Ordering::SeqCst);
        if again { self.second.clone() } else { self.driver.clone() }
    }

    fn launch(&self, line: &str) -> TaskLaunch {
        let mut launch = suite::a_launch(line);
        launch.container = Some(LaunchContainer {
            image: self.image.name().to_owned(),
            force_pull: false,
            privileged: false,
            parameters: Vec::new(),
            host_network: true,
            volumes: Vec::new(),
            tty: false,
        });
        launch
    }
}

async fn bench() -> Option<Containers> {
    let image = TestImage::shared("v1")?;
    let agent = AgentId::new(platformd::world::random_uuid().to_string());
    let dir = tempfile::tempdir().unwrap();
    let connect = async || {
        let settings = settings(&agent, dir.path().join("tasks"));
        Arc::new(DockerDriver::connect(DEFAULT_SOCKET, settings).await.unwrap())
    };
    let (driver, second) = (connect().await, connect().await);
    Some(Containers { image, agent, dir, driver, second, asked: false.into() })
}

driver_suite!(bench());

fn container(launch: &mut TaskLaunch) -> &mut LaunchContainer {
    launch.container.as_mut().unwrap()
}

fn id_of(handle: &TaskHandle) -> &str {
    handle.container.as_deref().unwrap()
}

fn logs(handle: &TaskHandle) -> Vec<String> {
    docker(&["logs", id_of(handle)]).unwrap().lines().map(str::to_owned).collect()
}

fn inspect(handle: &TaskHandle, format: &str) -> String {
    docker(&["inspect", "--format", format, id_of(handle)]).unwrap().trim().to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What an HTTP server there answers, once one does.
async fn answer_at(port: u16) -> String {
    eventually("the server answers", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.split_once("\r\n\r\n")
            .filter(|(head, _)| head.contains("200 OK"))
            .map(|(_, body)| body.to_owned())
    })
    .await
}

async fn refused(driver: &Arc<dyn TaskDriver>, launch: &TaskLaunch) -> String {
    match within(driver.start(launch, CancellationToken::new())).await {
        Err(DriverError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_environment_holds_what_was_given_and_the_sandbox() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("env")).await;
    end(&driver, &handle).await;
    let lines = logs(&handle);
    let name = format!("MESOS_CONTAINER_NAME=pd-{}", handle.task);
    for wanted in ["GREETING=hello", "MESOS_SANDBOX=/mnt/mesos/sandbox", "PATH=/bin", name.as_str()] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted} in {lines:?}");
    }
    let ours = ["GREETING", "HOME", "HOSTNAME", "MESOS_CONTAINER_NAME", "MESOS_SANDBOX", "PATH", "PWD", "_"];
    let strange = lines.iter().find(|line| !ours.contains(&line.split('=').next().unwrap()));
    assert_eq!(strange, None);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn arguments_keep_the_entrypoint_and_an_image_runs_as_it_is() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let words = ["say", "$HOME is not expanded", "two"].map(str::to_owned).to_vec();
    let handle = start(&driver, &bench.as_it_is(Process::Args(words))).await;
    assert_eq!(end(&driver, &handle).await.exit.code, Some(0));
    assert_eq!(logs(&handle), ["$HOME is not expanded", "two"]);
    clear(&driver, &handle).await;

    let mut launch = bench.as_it_is(Process::Image);
    container(&mut launch).host_network = false;
    let port = free_port();
    launch.ports = vec![PortBinding { host: port, container: image::PORT, transport: Transport::Tcp }];
    let started = within(driver.start(&launch, CancellationToken::new())).await.unwrap();
    assert_eq!(answer_at(port).await, "v1", "published on the host's loopback address");
    let bound = inspect(&started.handle, "{{json .HostConfig.PortBindings}}");
    assert!(bound.contains("\"HostIp\":\"127.0.0.1\""), "{bound}");
    let [address] = started.ip_addresses.try_into().unwrap();
    assert!(address.parse::<Ipv4Addr>().is_ok(), "{address}");
    clear(&driver, &started.handle).await;
}

#[tokio::test]
async fn a_container_on_the_hosts_network_listens_there() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let port = free_port();
    let launch = bench.launch(&format!("exec /probe serve {port}"));
    let started = within(driver.start(&launch, CancellationToken::new())).await.unwrap();
    assert_eq!(started.ip_addresses, Vec::<String>::new());
    assert_eq!(answer_at(port).await, "v1");
    clear(&driver, &started.handle).await;
}

#[tokio::test]
async fn names_labels_and_limits_are_those_of_the_task() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    let format = "{{.Name}} {{.HostConfig.CpuShares}} {{.HostConfig.Memory}} {{.HostConfig.AutoRemove}} \
                  {{index .Config.Labels \"MESOS_TASK_ID\"}} {{index .Config.Labels \"platformd.app\"}} \
                  {{index .HostConfig.LogConfig.Config \"max-size\"}}";
    let wanted =
        format!("/pd-{task} 102 {memory} false {task} /suite 10m", task = handle.task, memory = 64 << 20);
    assert_eq!(inspect(&handle, format), wanted);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn a_missing_image_or_command_is_named() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let mut launch = bench.launch("exit 0");
    // A registry on a closed port: says no at once, wherever the test runs.
    let image = format!("127.0.0.1:{}/no-such-image:7", free_port());
    container(&mut launch).image.clone_from(&image);
    assert!(refused(&driver, &launch).await.contains(&image));

    // Below an init the container starts and the init ends with 127; without, it never starts.
    let mut launch = bench.as_it_is(Process::Image);
    container(&mut launch).parameters.push(("entrypoint".to_owned(), "/no/such/program".to_owned()));
    let mut settings = bench.settings();
    settings.allow.parameters = true;
    let allowing: Arc<dyn TaskDriver> =
        Arc::new(DockerDriver::connect(DEFAULT_SOCKET, settings).await.unwrap());
    let handle = start(&allowing, &launch).await;
    let ended = end(&allowing, &handle).await;
    assert!(ended.exit.code == Some(127) && ended.message.contains("/no/such/program"), "{ended:?}");
    clear(&allowing, &handle).await;
    container(&mut launch).parameters.push(("init".to_owned(), "false".to_owned()));
    assert!(refused(&allowing, &launch).await.contains("/no/such/program"));
    assert_eq!(within(driver.list()).await.unwrap(), [], "nothing is left of either");

    let handle = start(&driver, &bench.launch("no-such-program-here --flag")).await;
    let ended = end(&driver, &handle).await;
    assert_eq!(ended.exit.code, Some(127));
    assert!(ended.message.contains("no-such-program-here"), "{}", ended.message);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn a_start_that_is_given_up_does_not_wait_for_the_pull() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    // A registry that takes connections and never answers.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut launch = bench.launch("exit 0");
    container(&mut launch).image = format!("{}/slow:1", registry.local_addr().unwrap());
    let given_up = CancellationToken::new();
    let (asked, giving_up) = (given_up.clone(), registry.try_clone().unwrap());
    let asking = std::thread::spawn(move || {
        let connection = giving_up.accept().unwrap();
        asked.cancel();
        connection
    });
    let began = Instant::now();
    let outcome = within(driver.start(&launch, given_up)).await;
    assert!(matches!(outcome, Err(DriverError::Unavailable { .. })), "{outcome:?}");
    assert!(began.elapsed() < GIVEN_UP_WITHIN, "{:?}", began.elapsed());
    drop(asking.join().unwrap());
    assert_eq!(within(driver.list()).await.unwrap(), []);
}

#[tokio::test]
async fn a_container_that_takes_too_much_memory_is_ended_and_told() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let mut launch = bench.as_it_is(Process::Args(vec!["eat".to_owned(), "256".to_owned()]));
    launch.resources.mem = Scalar::from_thousandths(32_000);
    let handle = start(&driver, &launch).await;
    let ended = end(&driver, &handle).await;
    assert!(ended.exit.out_of_memory, "{ended:?}");
    assert!(ended.message.contains("memory"), "{}", ended.message);
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn what_the_agent_does_not_allow_is_refused_with_the_flag() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let volume = Volume { container_path: "/data".to_owned(), host_path: "/etc".to_owned(), read_only: true };
    let mut launch = bench.launch("exit 0");
    container(&mut launch).volumes.push(volume);
    assert!(refused(&driver, &launch).await.contains("--allow host-volumes"));
    launch = bench.launch("exit 0");
    container(&mut launch).privileged = true;
    assert!(refused(&driver, &launch).await.contains("--allow privileged"));
    assert_eq!(within(driver.list()).await.unwrap(), []);
}

#[tokio::test]
async fn allowed_volumes_and_the_sandbox_are_seen_inside() {
    let Some(bench) = bench().await else { return };
    let shared = bench.dir.path().canonicalize().unwrap().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("given"), "from outside").unwrap();
    let allow = Allow { host_volumes: vec![shared.clone()], ..Allow::default() };
    let driver: Arc<dyn TaskDriver> = Arc::new(
        DockerDriver::connect(DEFAULT_SOCKET, DockerSettings { allow, ..bench.settings() }).await.unwrap(),
    );
    let mut launch = bench.launch("cat /data/given; echo kept > $MESOS_SANDBOX/mine; echo no > /data/mine");
    container(&mut launch).volumes.push(Volume {
        container_path: "/data".to_owned(),
        host_path: shared.display().to_string(),
        read_only: true,
    });
    let handle = start(&driver, &launch).await;
    assert_ne!(end(&driver, &handle).await.exit.code, Some(0), "the volume is read-only");
    assert_eq!(logs(&handle)[0], "from outside");
    let sandbox = bench.dir.path().join("tasks").join(handle.task.as_str()).join("sandbox");
    assert_eq!(std::fs::read_to_string(sandbox.join("mine")).unwrap(), "kept\n");
    clear(&driver, &handle).await;
    assert!(!sandbox.exists() && shared.join("given").exists());
}

#[tokio::test]
async fn checks_give_their_code_and_end_in_time() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    let code =
        within(driver.run_check(&handle, "test \"$GREETING\" = hello && exit 3", DEADLINE)).await.unwrap();
    assert_eq!(code, 3);
    let late = within(driver.run_check(&handle, "sleep 777", Duration::from_millis(500))).await;
    assert!(matches!(&late, Err(DriverError::Failed(text)) if text.contains("500ms")), "{late:?}");
    eventually("the late check is gone", || {
        let processes = docker(&["top", id_of(&handle)]).unwrap();
        (!processes.contains("sleep 777")).then_some(())
    })
    .await;
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn a_strangers_container_is_never_touched() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let launch = bench.launch("sleep 600");
    let name = format!("pd-{}", launch.task);
    let stranger =
        docker(&["run", "--detach", "--name", &name, bench.image.name()]).unwrap().trim().to_owned();
    let answer = within(driver.start(&launch, CancellationToken::new())).await;
    let listed = within(driver.list()).await.unwrap();
    let handle = TaskHandle {
        task: launch.task.clone(),
        container: Some(stranger.clone()),
        pid: None,
        pid_started: None,
    };
    within(driver.stop(&handle, Duration::ZERO)).await.unwrap();
    within(driver.remove(&handle)).await.unwrap();
    let running = docker(&["inspect", "--format", "{{.State.Running}}", &stranger]);
    docker(&["rm", "--force", &stranger]).unwrap();
    assert!(matches!(&answer, Err(DriverError::Failed(text)) if text.contains(&name)), "{answer:?}");
    assert_eq!(listed, []);
    assert_eq!(running.unwrap().trim(), "true");
}

#[tokio::test]
async fn a_container_made_but_not_started_by_a_dead_agent_is_started() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let launch = bench.launch("exit 5");
    let (name, task) = (format!("pd-{}", launch.task), launch.task.as_str());
    let labels = [format!("platformd.agent={}", bench.agent), format!("platformd.task={task}")];
    let create =
        ["create", "--name", &name, "--label", &labels[0], "--label", &labels[1], "--entrypoint", "/bin/sh"];
    docker(&[&create[..], &[bench.image.name(), "-c", "exit 5"]].concat()).unwrap();
    let handle = start(&driver, &launch).await;
    assert_eq!(end(&driver, &handle).await.exit.code, Some(5));
    assert_eq!(start(&driver, &launch).await, handle, "and never a second time");
    assert_eq!(inspect(&handle, "{{.State.Running}}"), "false");
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn tasks_are_waited_for_over_an_absence_of_the_engine() {
    let Some(bench) = bench().await else { return };
    let mut proxy = Proxy::before(DEFAULT_SOCKET, bench.dir.path().join("engine.sock"));
    let driver: Arc<dyn TaskDriver> =
        Arc::new(DockerDriver::connect(proxy.path(), bench.settings()).await.unwrap());
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    let waiting = platformd::world::spawn({
        let (driver, handle) = (driver.clone(), handle.clone());
        async move { driver.wait(&handle).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.cut();
    let away = within(driver.list()).await;
    assert!(matches!(away, Err(DriverError::Unavailable { means: "docker", .. })), "{away:?}");
    docker(&["kill", "--signal", "TERM", id_of(&handle)]).unwrap();
    assert!(!waiting.is_finished(), "nobody knows of the end yet");
    proxy.mend();
    let ended = within(waiting).await.unwrap().unwrap();
    assert_eq!(ended.exit.code, Some(143), "{ended:?}");
    clear(&driver, &handle).await;
}

#[tokio::test]
async fn an_engine_that_hangs_or_is_absent_is_told_from_one_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let agent = AgentId::new("nobody");
    let socket = dir.path().join("engine.sock");
    let path = socket.display().to_string();
    let absent = DockerDriver::connect(&path, settings(&agent, dir.path().join("tasks"))).await;
    assert!(
        matches!(&absent, Err(DriverError::Unavailable { reason, .. }) if reason.contains(&path)),
        "{absent:?}"
    );
    let _never_answers = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let asked = Instant::now();
    let hanging = DockerDriver::connect(&path, settings(&agent, dir.path().join("tasks"))).await;
    assert!(matches!(hanging, Err(DriverError::Unavailable { .. })), "{hanging:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn another_agents_tasks_are_not_listed() {
    let Some(bench) = bench().await else { return };
    let driver = bench.driver();
    let handle = start(&driver, &bench.launch("sleep 600")).await;
    let other = DockerSettings { agent: AgentId::new("another"), ..bench.settings() };
    let other = DockerDriver::connect(DEFAULT_SOCKET, other).await.unwrap();
    assert_eq!(within(other.list()).await.unwrap(), []);
    assert!(matches!(within(other.wait(&handle)).await, Err(DriverError::Missing)));
    let nobody = TaskHandle { task: TaskId::new("t"), ..handle.clone() };
    assert!(
        matches!(within(driver.wait(&nobody)).await, Err(DriverError::Missing)),
        "the id belongs to another task"
    );
    clear(&driver, &handle).await;
}
