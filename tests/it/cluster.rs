//! Masters and agents as separate processes that are killed. Promises N1, N3, N6.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::spawned::{DEADLINE, Running, ask, await_answer, free_addresses, get};

/// Leaders killed in the test; enough to meet each master once or twice.
const KILLS: usize = 4;

struct Master {
    http: String,
    words: Vec<String>,
    running: Option<Running>,
}

impl Master {
    fn start(&mut self) {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        self.running = Some(Running::start_quietly(&words));
    }
}

fn masters(dir: &str, count: usize) -> (Vec<Master>, String) {
    let mut addresses = free_addresses(2 * count);
    let https = addresses.split_off(count);
    let listed = addresses.join(",");
    let masters = https.into_iter().zip(&addresses).enumerate().map(|(n, (http, cluster))| {
        let data_dir = format!("{dir}/master-{n}");
        let words = ["master", "--data-dir", &data_dir, "--http", &http, "--cluster", cluster, "--masters"];
        let words = words.into_iter().chain([listed.as_str()]).map(str::to_owned).collect();
        let mut master = Master { http, words, running: None };
        master.start();
        master
    });
    (masters.collect(), listed)
}

fn agent(dir: &str, masters: &str) -> Running {
    let data_dir = format!("{dir}/agent");
    let resources = "cpus:4;mem:1024;ports:[31000-31999]";
    let names = ["--hostname", "127.0.0.1", "--http", "127.0.0.1:0", "--runtime", "process"];
    let words = ["agent", "--data-dir", &data_dir, "--masters", masters, "--resources", resources];
    Running::start_quietly(&[words.as_slice(), names.as_slice()].concat())
}

/// Puts the hello example and gives its task id and where it answers.
fn run_hello(http: &str) -> (String, String) {
    await_answer(http, "/v2/leader", "200 OK");
    let hello = include_str!("../../examples/hello.json");
    let answer = ask("PUT", http, "/v2/apps//hello", hello).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let tasks = await_answer(http, "/v2/apps//hello/tasks", "TASK_RUNNING");
    let id = between(&tasks, "\"id\":\"", "\"");
    let port = between(&tasks, "\"ports\":[", "]");
    (id, format!("127.0.0.1:{port}"))
}

fn between(text: &str, from: &str, to: &str) -> String {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}")).1;
    rest.split_once(to).unwrap().0.to_owned()
}

fn process_of(answer: &str) -> String {
    answer.trim().rsplit_once("process ").unwrap().1.to_owned()
}

/// Writes until a master acknowledges; the same key makes repeats harmless.
fn write_acknowledged(https: &[String], name: &str) {
    let body = format!("{{\"id\": \"/{name}\", \"cmd\": \"true\", \"instances\": 0}}");
    let until = Instant::now() + DEADLINE;
    for http in https.iter().cycle() {
        let answer = ask("PUT", http, &format!("/v2/apps//{name}"), &body).unwrap_or_default();
        if answer.starts_with("HTTP/1.1 20") {
            return;
        }
        assert!(Instant::now() < until, "nobody acknowledges {name}: {answer}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn apps(http: &str) -> BTreeSet<String> {
    let answer = get(http, "/v2/apps").unwrap();
    answer.split("\"id\":\"/").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn killed_leaders_lose_no_acknowledged_write_and_restart_no_task() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let (mut masters, listed) = masters(dir, 3);
    let _agent = agent(dir, &listed);
    let https: Vec<String> = masters.iter().map(|master| master.http.clone()).collect();
    let (id, hello) = run_hello(&https[0]);
    let process = process_of(&await_answer(&hello, "/", "hello from"));

    let mut written = BTreeSet::from(["hello".to_owned()]);
    let mut pauses = Vec::new();
    for kill in 0..KILLS {
        for n in 0..5 {
            let name = format!("before-{kill}-{n}");
            write_acknowledged(&https, &name);
            written.insert(name);
        }
        let leader = between(&await_answer(&https[0], "/v2/leader", "200 OK"), "\"leader\":\"", "\"");
        let dead = masters.iter_mut().find(|master| master.http == leader).unwrap();
        dead.running.take().unwrap().stop(Signal::KILL);
        let begun = Instant::now();
        let alive: Vec<String> = https.iter().filter(|http| **http != leader).cloned().collect();
        let name = format!("after-{kill}");
        write_acknowledged(&alive, &name);
        pauses.push(begun.elapsed());
        written.insert(name);
        dead.start();
        await_answer(&leader, "/v2/leader", "200 OK");
    }
    for http in &https {
        assert_eq!(apps(http), written, "{http}");
        assert!(get(http, "/v2/apps//hello/tasks").unwrap().contains(&id));
    }
    assert_eq!(process_of(&get(&hello, "/").unwrap()), process, "the task was restarted");
    println!("pauses of writes after kill -9 of the leader: {pauses:?}");
    ask("DELETE", &https[0], "/v2/apps//hello", "").unwrap();
    await_silence(&hello);
}

#[test]
fn a_killed_agent_finds_its_running_task_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let (masters, listed) = masters(dir, 1);
    let http = &masters[0].http;
    let first = agent(dir, &listed);
    let (id, hello) = run_hello(http);
    let process = process_of(&await_answer(&hello, "/", "hello from"));

    first.stop(Signal::KILL);
    assert_eq!(process_of(&get(&hello, "/").unwrap()), process);
    let second = agent(dir, &listed);
    await_answer(http, "/v1/agents", "\"registered\"");
    let tasks = await_answer(http, "/v2/apps//hello/tasks", "TASK_RUNNING");
    assert!(tasks.contains(&id), "{tasks}");
    assert_eq!(process_of(&get(&hello, "/").unwrap()), process);

    // The new agent has it in hand: what it is told to stop, stops.
    ask("DELETE", http, "/v2/apps//hello", "").unwrap();
    await_silence(&hello);
    assert_eq!(second.stop(Signal::TERM), Some(0));
}

/// Waits until nobody answers any more.
fn await_silence(address: &str) {
    let until = Instant::now() + DEADLINE;
    while get(address, "/").is_ok() {
        assert!(Instant::now() < until, "{address} still answers");
        std::thread::sleep(Duration::from_millis(20));
    }
}
