//! Containers through the whole platform: upgraded by PUT, adopted after `kill -9`.

use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use platformd::testkit::image::{TestImage, docker};
use serde_json::json;

use super::rig::{Cluster, eventually, get, http, put};

/// Less than the engine gives a registry that is silent: 25 s when this was written.
const PULL_OF_SILENCE_MIN: Duration = Duration::from_secs(20);

#[test]
fn an_image_is_upgraded_by_put_and_its_container_outlives_the_agent() {
    let (Some(blue), Some(green)) = (TestImage::shared("e2e-1"), TestImage::shared("e2e-2")) else { return };
    let mut cluster = Cluster::start(1, 1, "docker");
    let app = |image: &str| {
        json!({
            "id": "/web", "cpus": 0.1, "mem": 32, "instances": 2,
            "container": {"type": "DOCKER", "docker": {"image": image},
                "portMappings": [{"containerPort": 8080, "hostPort": 0}]},
            "networks": [{"mode": "container/bridge"}],
            "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 1,
                "gracePeriodSeconds": 30, "timeoutSeconds": 5}],
        })
    };
    let api = cluster.http[0].clone();
    assert_eq!(put(&api, "/web", &app(blue.name())).unwrap().status, 201);
    let first = cluster.running("/web", 2);
    let answer =
        |task: &serde_json::Value| get(&format!("localhost:{}", task["ports"][0]), "/").map(|a| a.body);
    assert!(answer(&first[0]).unwrap().contains("e2e-1"));

    assert_eq!(put(&api, "/web", &app(green.name())).unwrap().status, 200);
    let second = cluster.running("/web", 2);
    assert!(second.iter().all(|task| first.iter().all(|old| old["id"] != task["id"])));
    assert!(answer(&second[0]).unwrap().contains("e2e-2"));

    let containers = || {
        let filter = format!("label=platformd.task={}", second[0]["id"].as_str().unwrap());
        docker(&["ps", "--no-trunc", "-q", "--filter", &filter]).unwrap().trim().to_owned()
    };
    let before = containers();
    assert!(!before.is_empty());
    cluster.agents[0].as_mut().unwrap().kill();
    cluster.start_agent(0);
    eventually("the agent is connected again", || {
        let metrics = get(&api, "/metrics")?.body;
        metrics.contains("platformd_agents{presence=\"connected\"} 1").then_some(())
    });
    cluster.running("/web", 2);
    assert_eq!(containers(), before);

    assert_eq!(http(&api, "DELETE", "/v2/apps/web", &[], "").unwrap().status, 200);
    eventually("the containers are gone", || {
        let mine = docker(&["ps", "-aq", "--filter", "label=platformd.app=/web"]).unwrap();
        mine.trim().is_empty().then_some(())
    });
}

#[test]
fn an_image_that_does_not_exist_is_named() {
    if !platformd::testkit::image::engine_answers() {
        return;
    }
    let cluster = Cluster::start(1, 1, "docker");
    let app = json!({"id": "/x", "cpus": 0.1, "mem": 32,
        "container": {"type": "DOCKER", "docker": {"image": "platformd-no-such-image:1"}}});
    put(&cluster.http[0], "/x", &app).unwrap();
    eventually("the failure names the image", || {
        let found = get(&cluster.http[0], "/v2/apps/x")?.json();
        let message = found["app"]["lastTaskFailure"]["message"].as_str()?.to_owned();
        message.contains("platformd-no-such-image:1").then_some(())
    });
}

#[test]
fn an_app_is_deleted_while_its_image_is_being_pulled() {
    if !platformd::testkit::image::engine_answers() {
        return;
    }
    let cluster = Cluster::start(1, 1, "docker");
    // A registry that takes connections and never answers.
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("{}/slow:1", registry.local_addr().unwrap());
    let app = json!({"cpus": 0.1, "mem": 32, "container": {"type": "DOCKER", "docker": {"image": image}}});
    put(&cluster.http[0], "/slow", &app).unwrap();
    let pulling = registry.accept().unwrap();
    let began = Instant::now();
    assert_eq!(http(&cluster.http[0], "DELETE", "/v2/apps/slow", &[], "").unwrap().status, 200);
    eventually("the app is gone", || {
        let tasks = get(&cluster.http[0], "/v2/tasks")?.json();
        let deployments = get(&cluster.http[0], "/v2/deployments")?.json();
        (tasks["tasks"] == json!([]) && deployments == json!([])).then_some(())
    });
    assert!(began.elapsed() < PULL_OF_SILENCE_MIN, "waited for the pull: {:?}", began.elapsed());
    drop(pulling);
}

/// Stands between agents and the engine, and can be taken away like an engine that stops.
struct Door {
    path: PathBuf,
    open: Arc<Mutex<Vec<UnixStream>>>,
    is_shut: Arc<AtomicBool>,
    taking: Option<JoinHandle<()>>,
}

impl Door {
    fn open(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let (open, is_shut) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (streams, ends) = (Arc::clone(&open), Arc::clone(&is_shut));
        let taking = std::thread::spawn(move || {
            for near in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let near = near.unwrap();
                let far = UnixStream::connect("/var/run/docker.sock").unwrap();
                for (mut from, mut to) in [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far.try_clone().unwrap(), near.try_clone().unwrap()),
                ] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                streams.lock().unwrap().extend([near, far]);
            }
        });
        Self { path, open, is_shut, taking: Some(taking) }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_shut.store(true, Ordering::SeqCst);
        // Wakes whoever takes connections.
        let _ = UnixStream::connect(&self.path);
        self.taking.take().unwrap().join().unwrap();
        std::fs::remove_file(&self.path).unwrap();
        for stream in self.open.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn what_an_agent_was_given_as_its_engine_went_away_runs_elsewhere() {
    let Some(image) = TestImage::shared("e2e-1") else { return };
    let mut cluster = Cluster::start(1, 0, "docker");
    cluster.add_agent();
    let socket = cluster.dir.path().join("docker.sock");
    let door = Door::open(socket.clone());
    cluster.docker_socket = Some(socket);
    cluster.add_agent();
    let api = cluster.http[0].clone();
    drop(door);
    let container = json!({"type": "DOCKER", "docker": {"image": image.name()},
        "portMappings": [{"containerPort": 8080, "hostPort": 0}]});
    let app = json!({"cpus": 0.1, "mem": 32, "instances": 4, "container": container,
        "networks": [{"mode": "container/bridge"}]});
    put(&api, "/moved", &app).unwrap();
    cluster.running("/moved", 4);
    let failure = get(&api, "/v2/apps//moved?embed=app.lastTaskFailure").unwrap().json();
    let failure = &failure["app"]["lastTaskFailure"];
    if !failure.is_null() {
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains("docker, which does not answer"), "{failure}");
    }
    assert_eq!(http(&api, "DELETE", "/v2/apps/moved", &[], "").unwrap().status, 200);
    eventually("the containers are gone", || {
        docker(&["ps", "-aq", "--filter", "label=platformd.app=/moved"])
            .unwrap()
            .trim()
            .is_empty()
            .then_some(())
    });
}

#[test]
fn an_engine_that_stops_is_named_and_gets_nothing_until_it_is_back() {
    let Some(image) = TestImage::shared("e2e-1") else { return };
    let mut cluster = Cluster::start(1, 0, "auto");
    let socket = cluster.dir.path().join("docker.sock");
    let door = Door::open(socket.clone());
    cluster.docker_socket = Some(socket.clone());
    cluster.add_agent();
    let api = cluster.http[0].clone();
    let container = json!({"type": "DOCKER", "docker": {"image": image.name()},
        "portMappings": [{"containerPort": 8080, "hostPort": 0}]});
    let app =
        json!({"cpus": 0.1, "mem": 32, "container": container, "networks": [{"mode": "container/bridge"}]});
    put(&api, "/first", &app).unwrap();
    let first = cluster.running("/first", 1);

    drop(door);
    let hindrances =
        || get(&api, "/v1/agents").map(|answer| answer.json()["agents"][0]["hindrances"].clone());
    let said = eventually("the agent tells that the engine is away", || {
        hindrances()?.as_array()?.first()?.as_str().map(str::to_owned)
    });
    assert!(said.contains("docker does not answer"), "{said}");
    put(&api, "/late", &app).unwrap();
    put(&api, "/plain", &json!({"cmd": "sleep 1000", "cpus": 0.1, "mem": 32})).unwrap();
    cluster.running("/plain", 1);
    let explained = eventually("the late app waits", || {
        let explained = get(&api, "/v2/apps//late/explain")?.json();
        (explained["waiting"] == 1).then_some(explained)
    });
    let why = explained["obstacles"][0]["nearest"]["lacks"][0]["why"].as_str().unwrap();
    assert!(why.contains("docker does not answer"), "{explained}");
    let queue = get(&api, "/v2/queue").unwrap().json();
    assert_eq!(queue["queue"][0]["app"]["id"], "/late");

    // A restarted agent does without the engine, too: its processes go on, and it gets more of them.
    let plain = cluster.running("/plain", 1);
    cluster.agents[0].as_mut().unwrap().kill();
    cluster.start_agent(0);
    put(&api, "/plain", &json!({"instances": 2})).unwrap();
    let both = cluster.running("/plain", 2);
    assert!(both.iter().any(|task| task["id"] == plain[0]["id"]), "it ran on");

    let _door = Door::open(socket);
    cluster.running("/late", 1);
    assert_eq!(cluster.running("/first", 1)[0]["id"], first[0]["id"], "it ran on");
    eventually("nothing hinders the agent", || (hindrances()? == json!([])).then_some(()));
    for app in ["first", "late"] {
        assert_eq!(http(&api, "DELETE", &format!("/v2/apps/{app}"), &[], "").unwrap().status, 200);
    }
    eventually("the containers are gone", || {
        let left = ["/first", "/late"].map(|app| format!("label=platformd.app={app}"));
        let left = left.map(|filter| docker(&["ps", "-aq", "--filter", &filter]).unwrap());
        left.iter().all(|ids| ids.trim().is_empty()).then_some(())
    });
}
