//! Agents that die and come back, and tasks that cannot run.

use serde_json::{Value, json};

use super::rig::{Cluster, Process, eventually, get, http, put};

#[test]
fn a_killed_agent_finds_its_tasks_again() {
    let mut cluster = Cluster::start(1, 1, "process");
    let app = json!({"id": "/a", "cmd": "echo $$ > pid; exec sleep 1000", "cpus": 0.1, "mem": 16});
    put(&cluster.http[0], "/a", &app).unwrap();
    let before = cluster.running("/a", 1);
    let pid = || {
        let tasks = std::path::Path::new(&cluster.data_dir("agent0")).join("tasks");
        find(&tasks, "pid")
            .and_then(|path| std::fs::read_to_string(path).ok())
            .filter(|pid| pid.ends_with('\n'))
    };
    let first = eventually("the task tells its process id", pid);
    cluster.agents[0].as_mut().unwrap().kill();
    assert!(
        std::path::Path::new(&format!("/proc/{}", first.trim())).exists(),
        "the task lives without its agent"
    );
    cluster.start_agent(0);
    eventually("the agent is connected again", || {
        let metrics = get(&cluster.http[0], "/metrics")?.body;
        metrics.contains("platformd_agents{presence=\"connected\"} 1").then_some(())
    });
    let after = cluster.running("/a", 1);
    assert_eq!(before[0]["id"], after[0]["id"]);
    let still = std::fs::read_to_string(format!("/proc/{}/cmdline", first.trim())).unwrap();
    assert!(still.contains("sleep"), "{still}");
    // And it is still this agent's to stop.
    http(&cluster.http[0], "DELETE", "/v2/apps/a", &[], "").unwrap();
    eventually("the task ends", || {
        (!std::path::Path::new(&format!("/proc/{}", first.trim())).exists()).then_some(())
    });
}

#[test]
fn a_copy_of_a_live_agents_directory_is_refused_and_gets_nothing() {
    let mut cluster = Cluster::start(1, 1, "process");
    let sleeps = |n| json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "instances": n});
    put(&cluster.http[0], "/a", &sleeps(1)).unwrap();
    let before = cluster.running("/a", 1);
    cluster.copy("agent0", "copy");
    let mut copy = cluster.agent_in(0, "copy");
    copy.word_after("master refuses this agent");
    assert!(copy.text().contains("of which this one is a copy"), "{}", copy.text());
    for round in 2..6 {
        cluster.agents[0].as_mut().unwrap().kill();
        cluster.start_agent(0);
        cluster.agents[0].as_mut().unwrap().word_after("registered with the");
        put(&cluster.http[0], "/a", &sleeps(round)).unwrap();
        let tasks = cluster.running("/a", round);
        assert!(tasks.iter().any(|task| task["id"] == before[0]["id"]));
        for task in tasks.iter().filter(|task| task["id"] != before[0]["id"]) {
            let has = |dir: &str| {
                walk_contains(std::path::Path::new(&cluster.data_dir(dir)), task["id"].as_str().unwrap())
            };
            assert!(has("agent0") && !has("copy"), "{task}");
        }
    }
    assert!(!copy.text().contains("registered with the"), "{}", copy.text());
}

#[test]
fn an_original_is_let_in_again_once_its_copy_is_gone() {
    let mut cluster = Cluster::start(1, 1, "process");
    cluster.agents[0].take().unwrap().stop(rustix::process::Signal::TERM);
    cluster.copy("agent0", "copy");
    let mut copy = cluster.agent_in(0, "copy");
    copy.word_after("registered with the");
    cluster.start_agent(0);
    let original = cluster.agents[0].as_mut().unwrap();
    original.word_after("master refuses this agent");
    copy.kill();
    original.word_after("registered with the");
    put(&cluster.http[0], "/a", &json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16})).unwrap();
    cluster.running("/a", 1);
}

#[test]
fn an_agent_with_a_full_disk_says_so_once_and_goes_on_when_there_is_room() {
    let mut cluster = Cluster::start(1, 1, "process");
    let sleeps = |n| json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "instances": n});
    put(&cluster.http[0], "/a", &sleeps(1)).unwrap();
    let before = cluster.running("/a", 1);
    let agent = cluster.agents[0].as_ref().unwrap();
    agent.limit_files(Some(1));
    put(&cluster.http[0], "/a", &sleeps(2)).unwrap();
    let told = || agent.text().matches("the disk takes no records").count();
    eventually("it says so", || (told() > 0).then_some(()));
    // Twice as long as it takes to try again.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(2);
    eventually("tries have passed", || (std::time::Instant::now() > until).then_some(()));
    assert_eq!(told(), 1);
    agent.limit_files(None);
    let after = cluster.running("/a", 2);
    assert!(after.iter().any(|task| task["id"] == before[0]["id"]), "what ran goes on");
    eventually("it says so, too", || {
        agent.text().contains("the disk takes records of tasks again").then_some(())
    });

    cluster.agents[0].as_mut().unwrap().kill();
    std::fs::write(cluster.data_dir("file"), "").unwrap();
    let mut refused = cluster.agent_in(0, "file");
    assert_eq!(refused.wait().code(), Some(3));
    eventually("a sentence", || {
        let text = refused.text();
        let reason = "File exists (os error 17)";
        (text.contains("error: failed to use data directory") && text.matches(reason).count() == 1)
            .then_some(())
    });
}

#[test]
fn an_agent_says_soon_that_whoever_listens_at_its_masters_address_is_silent() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let masters = silent.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let words = ["agent", "--data-dir", data_dir, "--http", "127.0.0.1:0", "--masters", &masters];
    let agent = Process::start(&[words.as_slice(), &["--runtime", "process"]].concat());
    let _dialled = silent.accept().unwrap();
    let began = std::time::Instant::now();
    eventually("it says so", || agent.text().contains("no master takes this agent").then_some(()));
    // Before the wait for an answer to its introduction is over.
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
}

/// A small file system; what runs in it is ended before it goes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Nothing where this process may not mount, unless `CI` is set.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m", "none"]).arg(dir.path());
        // Its own words would not say which test they are about.
        if !mount.output().is_ok_and(|output| output.status.success()) {
            platformd::testkit::not_run("the test of a full disk", "no file system can be mounted here");
            return None;
        }
        Some(Self(dir))
    }

    fn free(&self) -> u64 {
        rustix::fs::statvfs(self.0.path()).unwrap().f_bavail
    }

    /// What a stranger has written there, for so much to be left.
    fn filled_but_for(&self, bytes: u64) -> std::path::PathBuf {
        let free = self.free() * rustix::fs::statvfs(self.0.path()).unwrap().f_frsize;
        let path = self.0.path().join("stranger");
        std::fs::write(&path, vec![0; usize::try_from(free - bytes).unwrap()]).unwrap();
        path
    }

    /// What a stranger has written there until nothing more fits.
    fn filled(&self) -> std::path::PathBuf {
        use std::io::Write as _;
        let path = self.0.path().join("stranger");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        super::rig::kill_tasks_below(self.0.path());
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn an_app_that_fills_its_agents_disk_can_be_deleted_and_leaves_room() {
    let Some(disk) = SmallDisk::new() else { return };
    let mut cluster = Cluster::start(1, 0, "process");
    std::os::unix::fs::symlink(disk.0.path(), cluster.data_dir("agent0")).unwrap();
    cluster.add_agent();
    let api = cluster.http[0].clone();
    // At once, before the agent can record that it runs, and after that.
    for cmd in ["exec yes aaaaaaaaaaaaaaaa", "sleep 2; exec yes aaaaaaaaaaaaaaaa"] {
        put(&api, "/full", &json!({"cmd": cmd, "cpus": 0.1, "mem": 16})).unwrap();
        eventually("the disk is full", || (disk.free() == 0).then_some(()));
        // An agent that could not start there could not stop what fills it.
        cluster.agents[0].as_mut().unwrap().kill();
        cluster.start_agent(0);
        let deleted = http(&api, "DELETE", "/v2/apps/full?force=true", &[], "").unwrap();
        assert_eq!(deleted.status, 200, "{}", deleted.body);
        eventually("its task is gone", || {
            (get(&api, "/v2/tasks")?.json()["tasks"] == json!([])).then_some(())
        });
        eventually("there is room", || (disk.free() > 0).then_some(()));
    }
    put(&api, "/next", &json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16})).unwrap();
    cluster.running("/next", 1);
}

#[test]
fn a_full_disk_is_an_alarm_before_anything_waits_and_is_over_once_there_is_more_than_a_little_room() {
    let Some(disk) = SmallDisk::new() else { return };
    let mut cluster = Cluster::start(1, 0, "process");
    std::os::unix::fs::symlink(disk.0.path(), cluster.data_dir("agent0")).unwrap();
    cluster.add_agent();
    let api = cluster.http[0].clone();
    put(&api, "/a", &json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16})).unwrap();
    let before = cluster.running("/a", 1);
    let agents = || get(&api, "/v1/agents").map(|answer| answer.json()["agents"][0].clone());
    let stranger = disk.filled();
    for round in 0..2 {
        if round > 0 {
            cluster.agents[0].as_mut().unwrap().kill();
            cluster.start_agent(0);
        }
        let agent = cluster.agents[0].as_ref().unwrap();
        eventually("it says so", || agent.text().contains("the disk takes no records").then_some(()));
        let metrics = || get(agents()?["http"].as_str()?, "/metrics").map(|answer| answer.body);
        eventually("its metrics say so", || {
            let metrics = metrics()?;
            let withheld = metrics.contains("platformd_agent_withheld 0");
            (withheld && metrics.contains("platformd_agent_disk_full 1")).then_some(())
        });
    }
    assert_eq!(before[0]["id"], cluster.running("/a", 1)[0]["id"], "it adopts what runs");
    // As much as a task that is given back leaves, and more.
    let file = std::fs::OpenOptions::new().write(true).open(&stranger).unwrap();
    file.set_len(file.metadata().unwrap().len() - (512 << 10)).unwrap();
    drop(file);
    put(&api, "/b", &json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16})).unwrap();
    eventually("a little room is not enough", || {
        let why = agents()?["hindrances"][0].as_str()?.to_owned();
        why.contains("nothing is started before 1024 KiB fit").then_some(())
    });
    let agent = cluster.agents[0].as_ref().unwrap();
    assert!(!agent.text().contains("takes records of tasks again"), "{}", agent.text());
    std::fs::remove_file(stranger).unwrap();
    eventually("it says that it is over", || {
        agent.text().contains("the disk takes records of tasks again").then_some(())
    });
    assert_eq!(agent.text().matches("the disk takes no records").count(), 1);
    assert!(cluster.running("/b", 1)[0]["id"].as_str().unwrap().ends_with("._app.1"), "at the first try");
}

#[test]
fn a_task_that_runs_and_whose_record_has_no_room_is_not_said_to_wait_for_its_start() {
    let Some(disk) = SmallDisk::new() else { return };
    let mut cluster = Cluster::start(1, 0, "process");
    std::os::unix::fs::symlink(disk.0.path(), cluster.data_dir("agent0")).unwrap();
    cluster.add_agent();
    let api = cluster.http[0].clone();
    // Enough for a look, to accept the task and to start it, not to record that it runs.
    let stranger = disk.filled_but_for(16 << 10);
    put(&api, "/a", &json!({"cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16})).unwrap();
    let held = || get(&api, "/v2/apps/a/explain").map(|answer| answer.json()["held"][0].clone());
    eventually("it may run", || (held()?["mayRun"] == true).then_some(()));
    cluster.agents[0].as_mut().unwrap().kill();
    cluster.start_agent(0);
    let agent = cluster.agents[0].as_ref().unwrap();
    eventually("it says so", || agent.text().contains("may run already, and is looked for").then_some(()));
    eventually("it may run still", || (held()?["mayRun"] == true).then_some(()));
    assert!(!agent.text().contains("cannot start task"), "{}", agent.text());
    std::fs::remove_file(stranger).unwrap();
    assert!(cluster.running("/a", 1)[0]["id"].as_str().unwrap().ends_with("._app.1"), "the same one");
}

fn find(dir: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.iter().find_map(|path| {
        if path.is_dir() { find(path, name) } else { path.ends_with(name).then(|| path.clone()) }
    })
}

#[test]
fn a_task_that_ends_is_launched_again_under_the_same_instance() {
    let cluster = Cluster::start(1, 1, "process");
    let app = json!({"id": "/a", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16, "backoffSeconds": 0});
    put(&cluster.http[0], "/a", &app).unwrap();
    let task = cluster.running("/a", 1).remove(0);
    let id = task["id"].as_str().unwrap().to_owned();
    let killed = http(&cluster.http[0], "DELETE", &format!("/v2/apps/a/tasks/{id}"), &[], "").unwrap();
    assert_eq!(killed.status, 200, "{}", killed.body);
    let next = id.replace("._app.1", "._app.2");
    eventually("the second attempt runs", || {
        let tasks = cluster.ask("/v2/tasks")?.json();
        let task = tasks["tasks"].as_array()?.iter().find(|task| task["id"] == next.as_str())?.clone();
        (task["state"] == "TASK_RUNNING").then_some(())
    });
}

#[test]
fn an_agent_may_come_back_with_other_resources_roles_and_attributes() {
    let mut cluster = Cluster::start(1, 1, "process");
    let api = cluster.http[0].clone();
    let app = |id: &str, cpus: f64, more: Value| {
        let mut body = json!({"id": id, "cmd": "exec sleep 1000", "cpus": cpus, "mem": 16});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = put(&api, id, &body).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    app("/a", 3.0, json!({}));
    let before = cluster.running("/a", 1).remove(0);
    let only_db = json!({"role": "db", "acceptedResourceRoles": ["db"], "portDefinitions": []});
    app("/db/one", 0.5, only_db);
    app("/there", 0.1, json!({"constraints": [["rack", "LIKE", "r9"]]}));
    eventually("the role is told", || {
        let verdict = get(&api, "/v2/apps/db/one/explain")?.json()["verdicts"][0]["lacks"][0].clone();
        (verdict["what"] == "role" && verdict["why"].as_str()?.contains("accepts only db")).then_some(())
    });
    cluster.agents[0].as_mut().unwrap().kill();
    cluster.describe_agent(0, "cpus:1;cpus(db):1;mem:512;mem(db):256;disk:1000", "rack:r9");
    cluster.start_agent(0);
    let spare = |role: &str, name: &str| -> Option<Value> {
        let offer = get(&api, "/v1/offers")?.json()["offers"][0].clone();
        let all = offer["resources"].as_array()?.clone();
        let one = all.into_iter().find(|one| one["role"] == role && one["name"] == name)?;
        Some(one["scalar"].clone())
    };
    eventually("the offer shrinks to nothing", || {
        (spare("*", "cpus")? == 0 && spare("db", "cpus")? == 0 && spare("db", "mem")? == 256).then_some(())
    });
    let agent = cluster.ask("/v1/agents").unwrap().json()["agents"][0].clone();
    assert_eq!((&agent["totals"]["cpus"], &agent["used"]["cpus"]), (&json!(2.0), &json!(3.0)));
    assert_eq!((&agent["reserved"]["db"]["cpus"], &agent["attributes"]["rack"]), (&json!(1.0), &json!("r9")));
    let after = cluster.running("/a", 1).remove(0);
    assert_eq!(before["id"], after["id"], "nothing that runs is killed");
    for id in ["/db/one", "/there"] {
        let waits = get(&api, &format!("/v2/apps{id}")).unwrap().json()["app"]["tasks"].clone();
        assert_eq!(waits, json!([]), "{id} has no room yet");
    }
    http(&api, "DELETE", "/v2/apps/a", &[], "").unwrap();
    cluster.running("/db/one", 1);
    cluster.running("/there", 1);
    let agent = cluster.ask("/v1/agents").unwrap().json()["agents"][0].clone();
    assert_eq!(agent["usedReserved"]["db"]["cpus"], json!(0.5));
    eventually("each role has its own rest", || {
        (spare("*", "cpus")? == 0.9 && spare("db", "cpus")? == 0.5).then_some(())
    });
}

#[test]
fn what_cannot_run_says_why_and_others_go_on() {
    let cluster = Cluster::start(1, 1, "process");
    let api = &cluster.http[0];
    let app = |id: &str, more: Value| {
        let mut body = json!({"id": id, "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(put(api, id, &body).unwrap().status, 201);
    };
    app("/no-command", json!({"cmd": null, "args": ["/nonexistent/program"]}));
    app("/too-big", json!({"cpus": 12345}));
    app("/no-user", json!({"user": "nobody-of-that-name"}));
    app("/fine", json!({}));
    cluster.running("/fine", 1);
    let failure = |id: &'static str, word: &'static str| {
        eventually(&format!("{id} tells {word}"), || {
            let found = get(api, &format!("/v2/apps{id}"))?.json();
            let message = found["app"]["lastTaskFailure"]["message"].as_str()?.to_owned();
            message.contains(word).then_some(())
        });
    };
    failure("/no-command", "/nonexistent/program");
    failure("/no-user", "No such user 'nobody-of-that-name'");
    let queue = get(api, "/v2/queue").unwrap().json();
    let waiting = queue["queue"].as_array().unwrap();
    let too_big = waiting.iter().find(|item| item["app"]["id"] == "/too-big").expect("it waits").clone();
    let reasons = too_big["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap();
    let cpus = reasons.iter().find(|reason| reason["reason"] == "InsufficientCpus").unwrap();
    assert_eq!((&cpus["declined"], &cpus["processed"]), (&json!(1), &json!(1)));
}

#[test]
fn a_lost_agents_tasks_run_elsewhere_and_one_copy_is_left_when_it_returns() {
    let mut cluster =
        Cluster::start_with(1, 2, "process", &["--agent-timeout", "3s", "--agent-restart-grace", "1s"]);
    let app = json!({"id": "/a", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16});
    put(&cluster.http[0], "/a", &app).unwrap();
    let before = cluster.running("/a", 1).remove(0);
    let agents = cluster.ask("/v1/agents").unwrap().json();
    let holder = before["slaveId"].as_str().unwrap().to_owned();
    let n = (0..2)
        .find(|n| {
            let dir = cluster.data_dir(&format!("agent{n}"));
            walk_contains(std::path::Path::new(&dir), before["id"].as_str().unwrap())
        })
        .expect("an agent has the task");
    assert_eq!(agents["agents"].as_array().unwrap().len(), 2);
    cluster.agents[n].as_mut().unwrap().kill();
    let moved = eventually("the task runs elsewhere", || {
        let found = get(&cluster.http[0], "/v2/apps/a")?.json();
        let task = found["app"]["tasks"].as_array()?.first()?.clone();
        (task["slaveId"] != holder.as_str() && task["state"] == "TASK_RUNNING").then_some(task)
    });
    cluster.start_agent(n);
    let live = || {
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let below = cluster.dir.path().to_string_lossy().into_owned();
        pids.filter(|entry| {
            std::fs::read_link(entry.path().join("cwd"))
                .is_ok_and(|cwd| cwd.to_string_lossy().starts_with(&below))
        })
        .count()
    };
    eventually("one copy is left", || {
        let tasks = get(&cluster.http[0], "/v2/tasks")?.json();
        (tasks["tasks"].as_array()?.len() == 1 && live() == 1).then_some(())
    });
    let after = cluster.running("/a", 1).remove(0);
    assert_eq!(after["id"], moved["id"]);
}

fn walk_contains(dir: &std::path::Path, name: &str) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        path.file_name().is_some_and(|file| file.to_string_lossy().contains(name))
            || (path.is_dir() && walk_contains(&path, name))
    })
}
