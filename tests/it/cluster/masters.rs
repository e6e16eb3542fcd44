//! Three masters: acknowledged writes survive their leaders, standbys pass requests on.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::rig::{Cluster, Process, eventually, get, http, put};

/// Leaders killed in one test; `PLATFORMD_TEST_KILLS` asks for more.
fn kills() -> usize {
    std::env::var("PLATFORMD_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

fn sleeper(id: &str) -> serde_json::Value {
    json!({"id": id, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16})
}

/// Writes through any master, with a key, until the answer is known.
fn write(cluster: &Cluster, n: usize) {
    let (id, key) = (format!("/written/n{n}"), format!("key-{n}"));
    let body =
        json!({"id": id, "cmd": "exec sleep 1000", "cpus": 0.01, "mem": 1, "instances": 0}).to_string();
    eventually("a write is acknowledged", || {
        cluster.http.iter().find_map(|master| {
            let answer = http(master, "PUT", &format!("/v2/apps{id}"), &[("Idempotency-Key", &key)], &body)?;
            (answer.status < 300).then_some(())
        })
    });
}

#[test]
fn acknowledged_writes_and_running_tasks_survive_killed_leaders() {
    let mut cluster = Cluster::start(3, 2, "process");
    let steady = json!({"id": "/steady", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "instances": 4});
    eventually("the app is taken", || {
        put(&cluster.http[0], "/steady", &steady).filter(|answer| answer.status < 300)
    });
    let before = cluster.running("/steady", 4);
    let mut pauses = Vec::new();
    let mut written = 0;
    for _ in 0..kills() {
        for _ in 0..3 {
            write(&cluster, written);
            written += 1;
        }
        let leader = cluster.leader();
        cluster.masters[leader].as_mut().unwrap().kill();
        let began = Instant::now();
        write(&cluster, written);
        written += 1;
        pauses.push(began.elapsed());
        cluster.start_master(leader);
    }
    let listed = eventually("the apps are listed", || cluster.ask("/v2/apps")).json();
    let ids: Vec<&str> =
        listed["apps"].as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap()).collect();
    for n in 0..written {
        assert!(ids.contains(&format!("/written/n{n}").as_str()), "write {n} is lost");
    }
    let ids = |tasks: &[serde_json::Value]| {
        let mut ids: Vec<String> = tasks.iter().map(|task| task["id"].to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&before), ids(&cluster.running("/steady", 4)), "tasks were restarted");
    pauses.sort();
    println!("{} leaders killed, {written} writes kept; pauses {pauses:?}", kills());
    let median = pauses[pauses.len() / 2];
    println!("median pause {median:?}");
    assert!(median < Duration::from_secs(30));
}

#[test]
fn standbys_pass_requests_on_and_name_the_leader() {
    let cluster = Cluster::start(3, 1, "process");
    let leader = cluster.leader();
    let standby = &cluster.http[(leader + 1) % 3];
    let answer = put(standby, "/a", &sleeper("/a")).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.header("X-Marathon-Leader"), Some(format!("http://{}", cluster.http[leader]).as_str()));
    assert_eq!(answer.header("X-Marathon-Via"), Some(format!("1.1 {standby}").as_str()));
    assert!(answer.header("Marathon-Deployment-Id").is_some());
    for master in &cluster.http {
        assert_eq!(get(master, "/v2/leader").unwrap().json(), json!({"leader": cluster.http[leader]}));
        assert_eq!(get(master, "/").unwrap().header("Location"), Some("/ui/"));
    }
}

#[test]
fn a_leader_that_is_asked_to_stop_hands_over_first() {
    let mut cluster = Cluster::start(3, 1, "process");
    let leader = cluster.leader();
    let process = cluster.masters[leader].as_mut().unwrap();
    process.signal(Signal::TERM);
    assert!(process.wait().success(), "{}", process.text());
    let standby = cluster.http[(leader + 1) % 3].clone();
    let answer = put(&standby, "/a", &sleeper("/a")).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn a_standby_left_alone_with_a_frozen_leader_says_so_soon() {
    let cluster = Cluster::start(3, 0, "process");
    let leader = cluster.leader();
    let alone = (leader + 1) % 3;
    let others =
        || cluster.masters.iter().enumerate().filter(|(n, _)| *n != alone).filter_map(|(_, it)| it.as_ref());
    others().for_each(|master| master.signal(Signal::STOP));
    let alone = &cluster.http[alone];
    let began = Instant::now();
    // Passed on before the silence is noticed.
    assert_eq!(get(alone, "/v2/apps").unwrap().status, 502);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let ready = get(alone, "/ready").unwrap();
    assert!(ready.status == 503 && ready.body.contains("hears of no leader"), "{}", ready.body);
    let began = Instant::now();
    assert_eq!(get(alone, "/v2/apps").unwrap().status, 502);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    others().for_each(|master| master.signal(Signal::CONT));
    eventually("all is well again", || {
        (get(alone, "/ready")?.status == 200 && get(alone, "/v2/apps")?.status == 200).then_some(())
    });
}

#[test]
fn a_master_alone_whose_log_vanished_does_not_start() {
    let mut cluster = Cluster::start(1, 0, "process");
    cluster.leader();
    cluster.masters[0].as_mut().unwrap().kill();
    std::fs::write(find_log(std::path::Path::new(&cluster.data_dir("master0"))), b"").unwrap();
    cluster.start_master(0);
    let again = cluster.masters[0].as_mut().unwrap();
    assert_eq!(again.wait().code(), Some(3));
    eventually("a sentence", || again.text().contains("missing or empty").then_some(()));
}

#[test]
fn a_data_directory_in_use_and_a_corrupt_log_are_named() {
    let mut cluster = Cluster::start(1, 1, "process");
    let dir = cluster.data_dir("master0");
    let words = ["master", "--data-dir", &dir, "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0"];
    let mut second = Process::start(&words);
    assert_eq!(second.wait().code(), Some(3));
    eventually("a sentence", || second.text().contains("in use").then_some(()));
    cluster.masters[0].as_mut().unwrap().kill();
    let garbage = find_log(std::path::Path::new(&dir));
    let mut bytes = std::fs::read(&garbage).unwrap();
    // Inside the first record, which later ones follow: no torn tail.
    bytes[12] ^= 0xff;
    std::fs::write(&garbage, bytes).unwrap();
    let mut third = Process::start(&words);
    let status = third.wait();
    assert_eq!(status.code(), Some(3), "{}", third.text());
    let name = garbage.file_name().unwrap().to_string_lossy().into_owned();
    eventually("a sentence", || third.text().contains(&name).then_some(()));
}

fn find_log(dir: &std::path::Path) -> std::path::PathBuf {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.path().is_dir() {
                todo.push(entry.path());
            } else if entry.path().extension().is_some_and(|end| end == "wal") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found.first().expect("a log segment").clone()
}
