//! Many agents at once, and a leader that dies while their tasks start.

use std::collections::BTreeSet;

use platformd::domain::TaskId;
use platformd::testkit::crowd::{Crowd, CrowdSettings};
use serde_json::json;

use super::rig::{Cluster, eventually, put};

const AGENTS: usize = 50;
const INSTANCES: u64 = 500;

/// N4, N5, N8: what agents run is what masters know, and each instance runs once.
#[test]
fn a_storm_ends_with_each_instance_once_though_the_leader_dies_in_its_middle() {
    let mut cluster = Cluster::start(3, 0, "process");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let masters = (0..3).map(|n| cluster.cluster_address(n).to_owned()).collect();
    let crowd = runtime.block_on(async { Crowd::start(CrowdSettings::new(masters, AGENTS, 16.0, 65_536.0)) });
    eventually("every agent registers", || (crowd.seen().registered == AGENTS as u64).then_some(()));
    let leader = cluster.leader();
    let app = json!({"id": "/storm", "cmd": "sleep 1000", "cpus": 0.1, "mem": 16, "instances": INSTANCES,
        "portDefinitions": []});
    eventually("the app is taken", || {
        put(&cluster.http[leader], "/storm", &app).filter(|answer| answer.status == 201)
    });
    eventually("the first tasks run", || (crowd.seen().told > 0).then_some(()));
    cluster.masters[leader] = None;
    let known: BTreeSet<(String, String)> = cluster
        .running("/storm", INSTANCES)
        .iter()
        .map(|task| (task["id"].as_str().unwrap().to_owned(), task["slaveId"].as_str().unwrap().to_owned()))
        .collect();
    let running = || -> BTreeSet<(String, String)> {
        crowd.running().iter().map(|(task, agent)| (task.to_string(), agent.to_string())).collect()
    };
    eventually("agents run what masters know", || (running() == known).then_some(()));
    let instances: BTreeSet<String> =
        known.iter().map(|(task, _)| TaskId::new(task.as_str()).parts().unwrap().0.to_string()).collect();
    assert_eq!(instances.len() as u64, INSTANCES);
    assert_eq!(crowd.seen().doubles, 0);
}
