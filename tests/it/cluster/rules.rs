//! Placement rules on real machines: who waits says why, and a change lets it run.

use serde_json::{Value, json};

use super::rig::{Cluster, eventually, put};
use crate::spawned::platformd;

fn app(rule: &Value) -> Value {
    json!({"id": "/ruled", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "instances": 2,
           "constraints": [rule]})
}

#[test]
fn an_app_waits_for_its_rule_says_so_and_runs_when_it_changes() {
    let cluster = Cluster::start(1, 1, "process");
    let master = &cluster.http[0];
    let unique = json!(["hostname", "UNIQUE"]);
    let answer = put(master, "/ruled", &app(&unique)).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    let queued = eventually("one of two waits", || {
        let queue = cluster.ask("/v2/queue?embed=lastUnusedOffers")?.json();
        let found = queue["queue"].as_array()?.iter().find(|item| item["app"]["id"] == "/ruled").cloned();
        found.filter(|item| item["count"] == 1)
    });
    let summary = queued["processedOffersSummary"]["rejectSummaryLaunchAttempt"].as_array().unwrap();
    let rule = summary.iter().find(|row| row["reason"] == "UnfulfilledConstraint").unwrap();
    assert_eq!((&rule["declined"], &rule["processed"]), (&json!(1), &json!(1)), "{queued}");

    let shown = eventually("the other one runs", || {
        let shown = cluster.ask("/v2/apps//ruled")?.json();
        (shown["app"]["tasksRunning"] == 1).then_some(shown)
    });
    assert_eq!(shown["app"]["constraints"], json!([unique]));

    let answer = put(master, "/ruled?force=true", &app(&json!(["hostname", "MAX_PER", "2"]))).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    cluster.running("/ruled", 2);
}

/// The transcript of docs/scheduler.md: `--nocapture` shows it.
#[test]
fn the_first_change_that_is_advised_lets_an_app_run_and_then_its_upgrade() {
    let cluster = Cluster::start(1, 1, "process");
    let master = &cluster.http[0];
    let put = |more: Value| {
        let mut body = json!({"id": "/wide", "cmd": "exec sleep 1000", "cpus": 6, "mem": 16});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        println!("PUT {body}");
        let answer = put(master, "/wide?force=true", &body).unwrap();
        assert!(matches!(answer.status, 200 | 201), "{}", answer.body);
    };
    let advised = || {
        let why = eventually("it waits", || {
            let why = cluster.ask("/v2/apps//wide/explain")?.json();
            (why["waiting"] == 1).then_some(why)
        });
        let output = platformd(&["explain", "--url", &format!("http://{master}"), "/wide"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{told}");
        assert!(told.contains(why["changes"][0]["sentence"].as_str().unwrap()), "{told}");
        (why["changes"][0].clone(), told)
    };
    let is_done = || cluster.ask("/v2/deployments")?.json().as_array()?.is_empty().then_some(());

    put(json!({}));
    let (change, told) = advised();
    assert!(
        told.contains("Any one of these would let it run:") && told.contains("1 agent lacks cpus"),
        "{told}"
    );
    assert_eq!((&change["what"], &change["to"]), (&json!("cpus"), &json!(4.0)));
    put(json!({"cpus": change["to"]}));
    cluster.running("/wide", 1);
    eventually("it is deployed", is_done);

    put(json!({"cpus": 4, "env": {"A": "1"}}));
    let (change, told) = advised();
    assert!(told.contains("1 older copy on "), "{told}");
    assert_eq!(change["what"], "upgradeStrategy.minimumHealthCapacity");
    let strategy = json!({"minimumHealthCapacity": change["to"], "maximumOverCapacity": 1});
    put(json!({"cpus": 4, "env": {"A": "1"}, "upgradeStrategy": strategy}));
    eventually("the upgrade is done", is_done);
    let shown = cluster.ask("/v2/apps//wide").unwrap().json();
    let tasks = cluster.running("/wide", 1);
    assert_eq!(tasks[0]["version"], shown["app"]["version"]);
}

#[test]
fn wishes_choose_agents_and_masters_may_pack() {
    let mut cluster = Cluster::start_with(1, 2, "process", &["--placement-strategy", "binpack"]);
    let master = cluster.http[0].clone();
    let app = |id: &str, more: Value| {
        let mut body = json!({"id": id, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        put(&master, id, &body).unwrap()
    };
    assert_eq!(app("/packed", json!({"instances": 3})).status, 201);
    let tasks = cluster.running("/packed", 3);
    assert!(tasks.iter().all(|task| task["slaveId"] == tasks[0]["slaveId"]), "{tasks:?}");

    cluster.agents[0].as_mut().unwrap().kill();
    cluster.describe_agent(0, "cpus:4;mem:2048;disk:1000", "disk:ssd");
    cluster.start_agent(0);
    let liked = eventually("an agent says that it has an ssd", || {
        let agents = cluster.ask("/v1/agents")?.json();
        agents["agents"].as_array()?.iter().find(|agent| agent["attributes"]["disk"] == "ssd").cloned()
    });
    let wishes =
        json!({"strategy": "spread", "preferences": [{"attribute": "disk", "value": "ssd", "weight": 100}]});
    assert_eq!(app("/liked", json!({"instances": 2, "placement": wishes})).status, 201);
    let tasks = cluster.running("/liked", 2);
    assert!(tasks.iter().all(|task| task["slaveId"] == liked["id"]), "{tasks:?}");
    let shown = cluster.ask("/v2/apps//liked").unwrap().json();
    assert_eq!(shown["app"]["placement"], wishes);
    assert_eq!(cluster.ask("/v2/apps//packed").unwrap().json()["app"].get("placement"), None);

    let here = |app: &str| {
        cluster.ask(&format!("/v2/apps{app}/explain")).unwrap().json()["placed"][0]["here"].clone()
    };
    let parts = here("/liked")["parts"].clone();
    assert_eq!(parts[0], json!({"wish": "preferences(0)", "why": "disk is \"ssd\"", "points": 100.0}));
    assert!(here("/liked")["points"].as_f64().unwrap() < 100.0 + 10.0 - 25.0 + 0.1, "a sibling costs 25");
    let load = here("/packed")["parts"][0].clone();
    assert!(load["why"].as_str().unwrap().starts_with("binpack, "), "{load}");

    let answer = app("/liked", json!({"placement": {"preferences": [{"attribute": "disk", "weight": 500}]}}));
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(answer.body.contains("must have either a value or a pattern"), "{}", answer.body);
}
