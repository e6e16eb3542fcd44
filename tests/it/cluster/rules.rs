//! Placement rules on real machines: who waits says why, and a change lets it run.

use serde_json::{Value, json};

use super::rig::{Cluster, eventually, put};

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
