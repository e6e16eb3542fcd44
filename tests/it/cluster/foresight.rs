//! What is foretold of a real cluster happens, and tasks move without a gap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use super::rig::{Cluster, eventually, get, http, put};
use crate::spawned::platformd;

fn app(id: &str, instances: u32, cpus: f64) -> Value {
    json!({"id": id, "cmd": "exec sleep 1000", "cpus": cpus, "mem": 16, "instances": instances})
}

/// How many tasks of each agent.
fn by_agent(tasks: &[Value]) -> BTreeMap<String, usize> {
    let mut agents = BTreeMap::new();
    for task in tasks {
        *agents.entry(task["slaveId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    agents
}

fn running_now(master: &str, app: &str) -> Option<u64> {
    get(master, &format!("/v2/apps{app}"))?.json()["app"]["tasksRunning"].as_u64()
}

#[test]
fn what_is_foretold_of_a_put_is_what_it_does() {
    let cluster = Cluster::start(1, 2, "process");
    let master = cluster.http[0].clone();
    put(&master, "/old", &app("/old", 3, 0.5)).unwrap();
    cluster.running("/old", 3);
    let question = json!({"put": [app("/new", 4, 0.3)]}).to_string();
    let answer = http(&master, "POST", "/v1/what-if", &[], &question).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut foretold: BTreeMap<String, usize> = BTreeMap::new();
    for placed in answer.json()["placements"].as_array().unwrap() {
        *foretold.entry(placed["agent"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    put(&master, "/new", &app("/new", 4, 0.3)).unwrap();
    assert_eq!(by_agent(&cluster.running("/new", 4)), foretold);

    let url = format!("http://{master}");
    let ask = |words: &[&str]| {
        let output = platformd(&[&["what-if", "--url", &url], words].concat()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = ask(&["--scale", "/new", "5"]);
    assert!(code == Some(0) && text.contains("/new: 4 running, then 5; 1 placed"), "{code:?} {text}");
    let (code, text) = ask(&["--scale", "/new", "100"]);
    assert!(code == Some(5) && text.contains("Any one of these would let "), "{code:?} {text}");
    let (code, _) = ask(&["--scale", "/nope", "1"]);
    assert_eq!(code, Some(1));
}

#[test]
fn tasks_move_to_an_agent_that_joined_and_never_fewer_run() {
    let mut cluster = Cluster::start(1, 1, "process");
    let master = cluster.http[0].clone();
    put(&master, "/web", &app("/web", 4, 0.9)).unwrap();
    let before = by_agent(&cluster.running("/web", 4));
    assert_eq!(before.len(), 1);
    cluster.add_agent();
    let url = format!("http://{master}");
    let rebalance = |words: &[&str]| {
        let output = platformd(&[&["rebalance", "--url", &url], words].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The leader takes the new agent for silent until it has heard it.
    let plan = eventually("a plan", || {
        let plan = rebalance(&[]);
        plan.contains("Would move").then_some(plan)
    });
    assert_eq!(plan.lines().filter(|line| line.contains(" from ")).count(), 2, "{plan}");
    assert_eq!(by_agent(&cluster.running("/web", 4)), before, "a plan changes nothing");

    let (is_over, looks) = (AtomicBool::new(false), AtomicU64::new(0));
    let least = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut least = u64::MAX;
            while !is_over.load(Ordering::SeqCst) {
                if let Some(running) = running_now(&master, "/web") {
                    least = least.min(running);
                    looks.fetch_add(1, Ordering::SeqCst);
                }
            }
            least
        });
        eventually("the first look", || (looks.load(Ordering::SeqCst) > 0).then_some(()));
        let asked = rebalance(&["--apply"]);
        assert!(asked.starts_with("Asked to move:"), "{asked}");
        let spread = eventually("two moved and nothing is left of the old ones", || {
            let tasks = cluster.ask("/v2/apps//web/tasks")?.json()["tasks"].as_array()?.clone();
            let spread = by_agent(&tasks);
            (tasks.len() == 4 && spread.len() == 2 && spread.values().all(|count| *count == 2))
                .then_some(spread)
        });
        assert_eq!(spread.len(), 2);
        is_over.store(true, Ordering::SeqCst);
        watching.join().unwrap()
    });
    assert!(least >= 4, "at least {least} ran in {looks:?} looks");
    assert_eq!(rebalance(&["--plan"]), "Nothing had better be elsewhere.\n");
}
