//! From POST to TASK_RUNNING, beside raw Docker in the same run, and what idle processes cost.
//!
//! `cargo bench --bench start_latency` prints medians. Rounds of one kind and the other
//! take turns, so that a busy minute hits both.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark may end at once"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, ContainerSummary, HostConfig, HostConfigLogConfig, Mount, MountType,
};
use bollard::query_parameters::ListContainersOptionsBuilder;
use platformd::testkit::image::TestImage;
use serde_json::{Value, json};

const ROUNDS: usize = 20;
const IDLE: Duration = Duration::from_secs(10);

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(words: &[&str]) -> Process {
    let program = env!("CARGO_BIN_EXE_platformd");
    let mut command = Command::new(program);
    Process(
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start platformd"),
    )
}

fn ask(api: &str, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(api).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("write");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or(Value::Null)
}

/// Between two questions about a process, which runs after some milliseconds.
const PROCESS_PAUSE: Duration = Duration::from_micros(500);
/// And about a container. Who asks takes from the engine one of the two processors that it starts
/// containers with, which the raw starts have to themselves: nobody asks before the fastest raw one so far.
const CONTAINER_PAUSE: Duration = Duration::from_millis(4);

fn until(what: &str, pause: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(pause);
    }
}

/// From POST to a readable TASK_RUNNING, of which nobody asks before `asks_after`.
fn post_to_running(api: &str, app: &Value, asks_after: Duration, pause: Duration) -> Duration {
    let id = app["id"].as_str().expect("an id").to_owned();
    let began = Instant::now();
    ask(api, "POST", "/v2/apps", &app.to_string());
    std::thread::sleep(asks_after.saturating_sub(began.elapsed()));
    let path = format!("/v2/apps{id}");
    until("it runs", pause, || ask(api, "GET", &path, "")["app"]["tasksRunning"] == 1);
    let took = began.elapsed();
    ask(api, "DELETE", &path, "");
    until("it is gone", pause, || ask(api, "GET", "/v2/tasks", "")["tasks"] == json!([]));
    took
}

/// What a task's container is created with beside its image: limits, capped logs and a sandbox.
fn as_tasks_are(sandbox: &Path) -> HostConfig {
    let logs =
        [("max-size", "10m"), ("max-file", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    HostConfig {
        init: Some(true),
        cpu_shares: Some(102),
        memory: Some(32 << 20),
        pids_limit: Some(1024),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from(logs)),
        }),
        mounts: Some(vec![Mount {
            typ: Some(MountType::BIND),
            source: Some(sandbox.display().to_string()),
            target: Some("/mnt/mesos/sandbox".to_owned()),
            ..Mount::default()
        }]),
        ..HostConfig::default()
    }
}

/// Create and start of one container, nothing else.
async fn raw_docker(docker: &Docker, image: &str, host: HostConfig, round: usize) -> Duration {
    let name = format!("platformd-bench-{}-{round}", std::process::id());
    let began = Instant::now();
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(HashMap::from([("platformd.bench".to_owned(), "1".to_owned())])),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    let options = bollard::query_parameters::CreateContainerOptions {
        name: Some(name.clone()),
        platform: String::new(),
    };
    docker.create_container(Some(options), body).await.expect("create");
    docker.start_container(&name, None).await.expect("start");
    let took = began.elapsed();
    let options = bollard::query_parameters::RemoveContainerOptions { force: true, ..Default::default() };
    docker.remove_container(&name, Some(options)).await.expect("remove");
    took
}

/// Waits until the engine has removed every task's container of this benchmark.
async fn none_is_left(docker: &Docker) {
    let ours = HashMap::from([("label".to_owned(), vec!["platformd.app".to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_ours = |container: &ContainerSummary| {
        let app = container.labels.as_ref().and_then(|labels| labels.get("platformd.app"));
        app.is_some_and(|app| app.starts_with("/bench-"))
    };
    while docker.list_containers(Some(options.clone())).await.expect("list").iter().any(is_ours) {
        assert!(Instant::now() < deadline, "not in time: containers are removed");
        tokio::time::sleep(CONTAINER_PAUSE).await;
    }
}

fn show(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    let (least, most) = (times[0], times[times.len() - 1]);
    println!("{what:<44} median {median:>9.1?}   least {least:>9.1?}   most {most:>9.1?}");
    median
}

fn containers(api: &str) {
    let Some(image) = TestImage::shared("bench") else {
        println!("containers: NOT RUN, no Docker engine answers");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let docker = Docker::connect_with_unix_defaults().expect("docker");
    let sandbox = tempfile::tempdir().expect("a directory");
    let (mut bare, mut alike, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Each kind comes after each of the others equally often.
        for kind in (0..3).map(|turn| (round + turn) % 3) {
            match kind {
                0 => {
                    let host = HostConfig { init: Some(true), ..HostConfig::default() };
                    bare.push(runtime.block_on(raw_docker(&docker, image.name(), host, round)));
                }
                1 => {
                    let host = as_tasks_are(sandbox.path());
                    alike.push(runtime.block_on(raw_docker(&docker, image.name(), host, round)));
                }
                _ => {
                    let app = json!({"id": format!("/bench-{round}"), "cpus": 0.1, "mem": 32,
                        "container": {"type": "DOCKER", "docker": {"image": image.name()}},
                        "networks": [{"mode": "container/bridge"}], "portDefinitions": []});
                    let fastest = bare.iter().chain(&alike).min().copied().unwrap_or_default();
                    ours.push(post_to_running(api, &app, fastest, CONTAINER_PAUSE));
                    // What is left of it would slow the next start down.
                    runtime.block_on(none_is_left(&docker));
                }
            }
        }
    }
    let bare = show("raw Docker, create and start", bare);
    let alike = show("the same with a task's limits and sandbox", alike);
    let ours = show("POST to TASK_RUNNING, container", ours);
    for (what, raw) in [("above raw", bare), ("above raw with a task's limits", alike)] {
        let ratio = ours.as_secs_f64() / raw.as_secs_f64();
        println!("{what:<44} {:.1?}, ratio {ratio:.2}", ours.saturating_sub(raw));
    }
}

fn processes(api: &str) {
    let times = (0..ROUNDS).map(|round| {
        let app =
            json!({"id": format!("/process-{round}"), "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32});
        post_to_running(api, &app, Duration::ZERO, PROCESS_PAUSE)
    });
    show("POST to TASK_RUNNING, process", times.collect());
}

/// Resident memory in MiB and share of a core over [`IDLE`].
fn idle(what: &str, pid: u32) {
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split_whitespace().collect();
        fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime")
    };
    let before = ticks();
    std::thread::sleep(IDLE);
    // The kernel counts in hundredths of a second.
    let share = (ticks() - before) / 100.0 / IDLE.as_secs_f64() * 100.0;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    let kib: f64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    println!("{what:<44} {:.1} MiB resident, {share:.2} % of a core", kib / 1024.0);
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let mut dev =
        start(&["dev", "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--data-dir", &path("dev")]);
    let stdout = BufReader::new(dev.0.stdout.take().expect("stdout"));
    let mut lines = stdout.lines().map_while(Result::ok);
    let api = lines.find_map(|line| {
        let (_, rest) = line.split_once("http://")?;
        rest.split_whitespace().next().map(str::to_owned)
    });
    let api = api.expect("the address of the API");
    until("an agent is there", PROCESS_PAUSE, || {
        ask(&api, "GET", "/v1/agents", "")["agents"].as_array().is_some_and(|a| !a.is_empty())
    });
    containers(&api);
    processes(&api);
    let _ = Command::new("kill").args(["-INT", &dev.0.id().to_string()]).status();
    let _ = dev.0.wait();

    idle_cluster(&path, 1);
    idle_cluster(&path, 3);
}

/// Addresses that nobody listens on.
fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address").to_string()).collect()
}

/// What masters and one agent cost that have nothing to do.
fn idle_cluster(path: &dyn Fn(&str) -> String, masters: usize) {
    let (http, cluster) = (free_addresses(masters), free_addresses(masters));
    let listed = cluster.join(",");
    let running: Vec<Process> = (0..masters)
        .map(|n| {
            let dir = path(&format!("master-{n}-of-{masters}"));
            start(&[
                "master",
                "--http",
                &http[n],
                "--cluster",
                &cluster[n],
                "--masters",
                &listed,
                "--data-dir",
                &dir,
            ])
        })
        .collect();
    let dir = path(&format!("agent-of-{masters}"));
    let words = ["agent", "--http", "127.0.0.1:0", "--masters", &listed, "--data-dir", &dir];
    let agent = start(&[&words[..], &["--runtime", "process", "--hostname", "localhost"]].concat());
    until("the agent registers", PROCESS_PAUSE, || {
        TcpStream::connect(&http[0]).is_ok()
            && ask(&http[0], "GET", "/v1/agents", "")["agents"].as_array().is_some_and(|a| !a.is_empty())
    });
    std::thread::sleep(Duration::from_secs(3));
    let leader = ask(&http[0], "GET", "/v2/leader", "")["leader"].clone();
    for (process, address) in running.iter().zip(&http) {
        let role = if *address == leader { "leads" } else { "stands by" };
        idle(&format!("idle master of {masters}, {role}"), process.0.id());
    }
    idle(&format!("idle agent of {masters} masters"), agent.0.id());
}
