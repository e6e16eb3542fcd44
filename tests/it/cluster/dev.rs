//! `platformd dev`, as the README tells a new user.

use std::path::PathBuf;

use platformd::testkit::image::{TestImage, docker};
use rustix::process::Signal;
use serde_json::json;

use super::rig::{Process, eventually, get, http, kill_tasks_below, put, running};
use crate::spawned::{free_addresses, platformd};

struct Dev {
    dir: tempfile::TempDir,
}

impl Drop for Dev {
    fn drop(&mut self) {
        kill_tasks_below(self.dir.path());
    }
}

impl Dev {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn start(&self, more: &[&str]) -> (Process, String) {
        let dir = self.dir.path().join("state").to_string_lossy().into_owned();
        let resources = format!("cpus:4;mem:2048;{}", super::rig::task_ports());
        let mut words = vec![
            "dev",
            "--http",
            "127.0.0.1:0",
            "--cluster",
            "127.0.0.1:0",
            "--data-dir",
            &dir,
            "--resources",
            &resources,
        ];
        words.extend(more);
        let mut process = Process::start(&words);
        let api = process.word_after("API      http://");
        (process, api)
    }
}

const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.json");

#[test]
fn dev_runs_the_example_scales_replaces_and_resumes_it() {
    let dev = Dev::new();
    let (mut process, api) = dev.start(&["--runtime", "process", HELLO]);
    eventually("ready", || get(&api, "/ping").filter(|answer| answer.status == 200));
    let place = process.word_after("answers at http://");
    assert!(get(&place, "/").unwrap().body.starts_with("hello from /hello"));

    let started = put(&api, "//hello", &json!({"instances": 3})).unwrap();
    assert_eq!(started.status, 200, "{}", started.body);
    let tasks = running(std::slice::from_ref(&api), "/hello", 3);
    for task in &tasks {
        let place = format!("localhost:{}", task["ports"][0]);
        eventually("it listens", || get(&place, "/").filter(|answer| answer.status == 200));
    }

    let env = json!({"env": {"GREETING": "welcome"}});
    assert_eq!(put(&api, "/hello", &env).unwrap().status, 200);
    let replaced = running(std::slice::from_ref(&api), "/hello", 3);
    assert!(replaced.iter().all(|task| tasks.iter().all(|old| old["id"] != task["id"])));
    let port = &replaced[0]["ports"][0];
    eventually("the new task answers", || {
        get(&format!("localhost:{port}"), "/").filter(|answer| answer.body.starts_with("welcome from /hello"))
    });

    process.signal(Signal::INT);
    assert!(process.wait().success(), "{}", process.text());
    assert!(get(&format!("localhost:{port}"), "/").is_none(), "Ctrl-C stops the tasks");

    let (mut process, api) = dev.start(&["--runtime", "process"]);
    running(std::slice::from_ref(&api), "/hello", 3);
    let gone = http(&api, "DELETE", "/v2/apps/hello", &[], "").unwrap();
    assert_eq!(gone.status, 200);
    eventually("the app is gone", || get(&api, "/v2/apps/hello").filter(|answer| answer.status == 404));
    eventually("its tasks are gone", || {
        get(&api, "/v2/tasks").filter(|answer| answer.json()["tasks"] == json!([]))
    });
    process.signal(Signal::TERM);
    assert!(process.wait().success());
}

#[test]
fn a_bad_file_ends_dev_with_the_path_of_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.json");
    std::fs::write(&file, r#"{"id": "/x", "cmd": "true", "instances": -1}"#).unwrap();
    let words = ["dev", "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--data-dir"].map(PathBuf::from);
    let mut process = Process::start(&[words.as_slice(), &[dir.path().join("d"), file]].concat());
    assert_eq!(process.wait().code(), Some(2));
    eventually("a sentence", || process.text().contains("/instances").then_some(()));
}

#[test]
fn fresh_leaves_a_running_dev_alone_and_stops_what_a_killed_one_left() {
    let dev = Dev::new();
    let (mut first, api) = dev.start(&["--runtime", "process", HELLO]);
    let place = first.word_after("answers at http://");
    let dir = dev.dir.path().join("state").to_string_lossy().into_owned();
    let words = ["dev", "--fresh", "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--data-dir", &dir];
    let mut second = Process::start(&words);
    assert_eq!(second.wait().code(), Some(3));
    eventually("a sentence", || second.text().contains("data directory in use").then_some(()));
    assert!(get(&place, "/").is_some_and(|answer| answer.status == 200));
    assert_eq!(get(&api, "/v2/apps/hello").unwrap().status, 200);

    first.kill();
    assert!(get(&place, "/").is_some(), "tasks outlive a killed dev");
    let (mut third, api) = dev.start(&["--runtime", "process", "--fresh"]);
    assert!(get(&place, "/").is_none(), "nobody would find it again");
    assert_eq!(get(&api, "/v2/apps").unwrap().json(), json!({"apps": []}));
    third.signal(Signal::INT);
    assert!(third.wait().success());
}

#[test]
fn dev_goes_on_with_as_many_masters_as_its_directory_has() {
    for (made, other) in [("3", "1"), ("1", "3")] {
        let dev = Dev::new();
        let (mut first, api) = dev.start(&["--runtime", "process", "--masters", made]);
        eventually("ready", || get(&api, "/ping").filter(|answer| answer.status == 200));
        assert_eq!(put(&api, "/a", &json!({"cmd": "true", "instances": 0})).unwrap().status, 201);
        first.signal(Signal::INT);
        assert_eq!(first.wait().code(), Some(0));
        assert!(
            !first.text().contains("WARN"),
            "all go together, and nobody is waited for: {}",
            first.text()
        );

        let dir = dev.dir.path().join("state").to_string_lossy().into_owned();
        let words = ["dev", "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--data-dir", &dir];
        let mut refused = Process::start(&[words.as_slice(), &["--masters", other]].concat());
        assert_eq!(refused.wait().code(), Some(2));
        let sentence = format!("a cluster with {made} master");
        eventually("a sentence", || {
            let text = refused.text();
            (text.contains(&sentence) && text.contains("--fresh")).then_some(())
        });

        let (second, api) = dev.start(&["--runtime", "process"]);
        assert_eq!(second.text().contains("Masters  3, as in the state in "), made == "3");
        eventually("the app is there", || get(&api, "/v2/apps/a").filter(|answer| answer.status == 200));
        assert_eq!(second.stop(Signal::INT), Some(0));

        let (third, api) = dev.start(&["--runtime", "process", "--fresh", "--masters", other]);
        eventually("others are there", || {
            let listed = get(&api, "/v1/members")?.json();
            (listed["members"].as_array()?.len().to_string() == other).then_some(())
        });
        let apps = eventually("they answer", || get(&api, "/v2/apps").filter(|answer| answer.status == 200));
        assert_eq!(apps.json(), json!({"apps": []}));
        assert_eq!(third.stop(Signal::INT), Some(0));
    }
}

#[test]
fn dev_goes_on_with_as_many_agents_unless_it_is_told_otherwise() {
    let dev = Dev::new();
    let listed = |api: &str| {
        let agents = get(api, "/v1/agents")?.json();
        let there = agents["agents"].as_array()?.iter().filter(|agent| agent["presence"] == "registered");
        Some(there.count())
    };
    let told = "Agents   2, as in the state in ";
    for (words, count, line) in [
        (&["--agents", "2"][..], 2, None),
        (&[][..], 2, Some(told)),
        (&["--agents", "1"][..], 1, Some("Agents   1 of 2 in the state in ")),
        (&[][..], 2, Some(told)),
    ] {
        let (process, api) = dev.start(&[&["--runtime", "process"], words].concat());
        eventually("they are there", || listed(&api).filter(|there| *there == count));
        let text = process.text();
        assert_eq!(text.contains("Agents   "), line.is_some(), "{text}");
        assert!(line.is_none_or(|line| text.contains(line)), "{text}");
        assert_eq!(process.stop(Signal::INT), Some(0));
    }
}

#[test]
fn a_second_signal_ends_dev_at_once_with_one_sentence() {
    for first in [Signal::INT, Signal::TERM] {
        let dev = Dev::new();
        let (mut process, api) = dev.start(&["--runtime", "process"]);
        let stubborn = json!({
            "cmd": "trap '' TERM; while :; do sleep 1; done", "cpus": 0.1, "mem": 16,
            "taskKillGracePeriodSeconds": 600,
        });
        eventually("ready", || get(&api, "/ping").filter(|answer| answer.status == 200));
        put(&api, "/stubborn", &stubborn).unwrap();
        running(std::slice::from_ref(&api), "/stubborn", 1);
        process.signal(first);
        eventually("it stops", || process.text().contains("stopping tasks").then_some(()));
        // One that comes too soon counts as part of the first.
        let last = eventually("a sentence", || {
            process.signal(Signal::INT);
            let text = process.text();
            text.contains("asked to stop a second time").then_some(text)
        });
        assert_eq!(process.wait().code(), Some(1));
        let said: Vec<&str> = last.lines().skip_while(|line| !line.starts_with("stopping tasks")).collect();
        assert_eq!(said.len(), 2, "{last}");
    }
}

#[test]
fn a_start_without_a_file_tells_of_what_it_resumes() {
    let dev = Dev::new();
    let (mut first, api) = dev.start(&["--runtime", "process"]);
    eventually("no app is told of", || first.text().contains("Try      curl -s -X PUT").then_some(()));
    for n in 0..12 {
        put(&api, &format!("/a{n:02}"), &json!({"cmd": "true", "instances": 0})).unwrap();
    }
    let busy = json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "portDefinitions": []});
    assert_eq!(put(&api, "/a05", &busy).unwrap().status, 200);
    put(&api, "/a05", &json!({"instances": 1})).unwrap();
    running(std::slice::from_ref(&api), "/a05", 1);
    first.signal(Signal::INT);
    assert!(first.wait().success(), "{}", first.text());

    let (mut second, _api) = dev.start(&["--runtime", "process"]);
    eventually("it has told all", || second.text().contains("\nState ").then_some(()));
    let text = second.text();
    assert!(text.contains("\nApps     1 running, 11 scaled to no instance: curl -s "), "{text}");
    assert!(text.contains("/v2/apps//a05?embed=app.tasks'"), "what is tried runs: {text}");
    assert!(text.lines().count() <= 6, "a handful of lines: {text}");
    second.signal(Signal::INT);
    assert!(second.wait().success());
}

#[test]
fn ctrl_c_and_a_deletion_leave_no_container() {
    let Some(image) = TestImage::shared("dev-1") else { return };
    let dev = Dev::new();
    let id = format!("/dev-{}", std::process::id());
    let filter = format!("label=platformd.app={id}");
    let containers = || docker(&["ps", "--all", "--quiet", "--filter", &filter]).unwrap();
    let (mut first, api) = dev.start(&["--runtime", "docker"]);
    let app = json!({"cpus": 0.1, "mem": 32, "instances": 2, "taskKillGracePeriodSeconds": 1,
        "container": {"type": "DOCKER", "docker": {"image": image.name()},
            "portMappings": [{"containerPort": 8080, "hostPort": 0}]},
        "networks": [{"mode": "container/bridge"}]});
    assert_eq!(put(&api, &id, &app).unwrap().status, 201);
    running(std::slice::from_ref(&api), &id, 2);
    assert_eq!(containers().lines().count(), 2);
    first.signal(Signal::INT);
    assert!(first.wait().success(), "{}", first.text());
    assert_eq!(containers(), "", "Ctrl-C leaves containers");

    let (mut second, api) = dev.start(&["--runtime", "docker"]);
    running(std::slice::from_ref(&api), &id, 2);
    assert_eq!(http(&api, "DELETE", &format!("/v2/apps{id}"), &[], "").unwrap().status, 200);
    eventually("no container is left", || containers().is_empty().then_some(()));
    second.signal(Signal::INT);
    assert!(second.wait().success());
    assert_eq!(containers(), "");
}

#[test]
fn a_path_is_an_app_or_a_folder() {
    let dev = Dev::new();
    let (_process, api) = dev.start(&["--runtime", "process"]);
    let app = |id: &str| put(&api, id, &json!({"cmd": "sleep 1", "instances": 0, "cpus": 0.1})).unwrap();
    assert_eq!(app("/a/b").status, 201);
    assert_eq!(app("/a-b").status, 201);
    for id in ["/a", "/a/b/c"] {
        let answer = app(id);
        assert_eq!(answer.status, 422);
        let message = "Groups and Applications may not have the same identifier.";
        assert_eq!(answer.json()["details"], json!([{"path": "/id", "errors": [message]}]));
    }
    assert_eq!(app("/a/c").status, 201);
}

/// As `platformd dev … | head -1` does.
#[test]
fn dev_goes_on_when_nobody_reads_what_it_says() {
    let dev = Dev::new();
    let dir = dev.dir.path().join("state").to_string_lossy().into_owned();
    let address = free_addresses(1).remove(0);
    let words =
        ["dev", "--http", &address, "--cluster", "127.0.0.1:0", "--data-dir", &dir, "--runtime", "process"];
    let mut child = platformd(&words).stderr(std::process::Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    eventually("ready", || get(&address, "/ping").filter(|answer| answer.status == 200));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn containers_of_further_agents_answer_where_their_agent_is_listed() {
    let Some(image) = TestImage::shared("dev-2") else { return };
    let dev = Dev::new();
    let (process, api) = dev.start(&["--runtime", "docker", "--agents", "2"]);
    eventually("ready", || get(&api, "/ping").filter(|answer| answer.status == 200));
    let app = json!({"cpus": 0.1, "mem": 32, "taskKillGracePeriodSeconds": 1,
        "constraints": [["hostname", "CLUSTER", "127.0.0.2"]],
        "container": {"type": "DOCKER", "docker": {"image": image.name()},
            "portMappings": [{"containerPort": 8080, "hostPort": 0}]},
        "networks": [{"mode": "container/bridge"}]});
    assert_eq!(put(&api, "/far", &app).unwrap().status, 201);
    let task = &running(std::slice::from_ref(&api), "/far", 1)[0];
    assert_eq!(task["host"], "127.0.0.2");
    eventually("it answers there", || get(&format!("127.0.0.2:{}", task["ports"][0]), "/"));
    assert_eq!(process.stop(Signal::INT), Some(0));
}
