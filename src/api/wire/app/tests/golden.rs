//! Bodies of Marathon's tests and the examples of its documentation.

use super::*;

fn marathon(file: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/api/marathon").join(file);
    parse_body(&std::fs::read(path).unwrap()).unwrap()
}

/// Every file of `apps/` and the paths at which this version refuses it; none: it is accepted.
const APPS: [(&str, &[&str]); 20] = [
    ("app-with-https-readiness-checks", &["/readinessChecks"]),
    ("docker-http-server", &[]),
    ("docker-nginx-ssl", &[]),
    ("external-volume-mesos-app", &["/container/volumes(0)/external"]),
    ("fake-framework", &["/readinessChecks"]),
    ("healthcheck-and-volume", &["/container/volumes(0)/persistent"]),
    ("http-server", &[]),
    ("ipv6-healthcheck", &["/networks(0)"]),
    ("large-sleep", &[]),
    ("mesos-app", &[]),
    ("persistent-volume-app", &["/container/volumes(0)/persistent"]),
    ("pinger-bridge-app", &["/fetch"]),
    ("pinger-container-app", &["/fetch"]),
    ("pinger-localhost-app", &["/fetch"]),
    ("private-docker-app", &["/fetch"]),
    ("private-ucr-docker-app", &["/container/docker/pullConfig", "/secrets"]),
    ("readiness-and-health-app", &["/readinessChecks"]),
    ("resident-docker-app", &["/container/volumes(0)/persistent", "/residency"]),
    ("sleep-app", &[]),
    ("ucr-docker-http-server", &[]),
];

#[test]
fn bodies_of_marathons_tests_are_accepted_or_refused_by_a_named_gap() {
    for (name, refused_at) in APPS {
        let result = accept(&marathon(&format!("apps/{name}.json")));
        let paths: Vec<String> = match result {
            Ok(_) => Vec::new(),
            Err(AppError::NotValid(broken)) => broken.into_iter().map(|violation| violation.path).collect(),
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(paths, refused_at, "{name}");
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/api/marathon/apps");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), APPS.len());
}

#[test]
fn a_group_of_marathons_tests_flattens() {
    let apps = crate::api::wire::group::decode_group(&marathon("groups/sleep-group.json")).unwrap();
    let ids: Vec<&str> = apps.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["/sleep-group/sleep/goodnight-1", "/sleep-group/sleep/goodnight-2"]);
}

#[test]
fn every_field_of_marathons_catalogue_is_known() {
    let problems = super::super::super::reader::Problems::default();
    let _ = super::super::read_app(&marathon("catalogue.json"), "", "/", &problems);
    assert_eq!(problems.settle_types().unwrap(), Vec::<String>::new());
}

#[test]
fn the_minimal_app_is_given_back_as_marathon_does() {
    let spec = accept(&json!({"id": "app", "cmd": "sleep 100"})).unwrap();
    let mut app = version_of(spec);
    app.app = AppId::parse("app").unwrap();
    app.spec.port_definitions[0].port = 10000;
    let embeds = Embeds {
        counts: Some(crate::api::wire::counts::Counts { running: 1, ..Default::default() }),
        deployments: Some(Vec::new()),
        tasks: Some(Vec::new()),
        last_task_failure: Some(None),
        ..Embeds::default()
    };
    let marathons = json!({"id":"/app","backoffFactor":1.15,"backoffSeconds":1,"cmd":"sleep 100","cpus":1,"disk":0,"executor":"","instances":1,
        "labels":{},"maxLaunchDelaySeconds":300,"mem":128,"gpus":0,"networks":[{"mode":"host"}],
        "portDefinitions":[{"port":10000,"name":"default","protocol":"tcp"}],"requirePorts":false,
        "upgradeStrategy":{"maximumOverCapacity":1,"minimumHealthCapacity":1},"version":"2020-01-01T00:00:00.000Z",
        "versionInfo":{"lastScalingAt":"2020-01-01T00:00:00.000Z","lastConfigChangeAt":"2020-01-01T00:00:00.000Z"},
        "killSelection":"YOUNGEST_FIRST","unreachableStrategy":{"inactiveAfterSeconds":0,"expungeAfterSeconds":0},"role":"*",
        "tasksStaged":0,"tasksRunning":1,"tasksHealthy":0,"tasksUnhealthy":0,"deployments":[],"tasks":[]});
    // What old clients look for besides. Source: spec 13.2.
    let for_old_clients = json!({"args": [], "env": {}, "constraints": [], "dependencies": [], "healthChecks": [],
        "fetch": [], "readinessChecks": [], "uris": [], "ports": [10000]});
    let mut wanted = marathons.as_object().unwrap().clone();
    wanted.append(&mut for_old_clients.as_object().unwrap().clone());
    let info = AppInfo { id: &app.app, app: &app, embeds: &embeds };
    assert_eq!(info.json(), Value::Object(wanted));
}

#[test]
fn a_created_app_shows_no_version_info_and_unassigned_ports() {
    let spec = accept(&json!({"id": "web", "cmd": "sleep 100"})).unwrap();
    let created = created_json(&web(), &spec, NOW, &DeploymentId::new("d1"));
    assert_eq!(created["portDefinitions"][0]["port"], 0);
    assert_eq!(created["deployments"], json!([{"id": "d1"}]));
    assert_eq!(created["tasksRunning"], 0);
    assert!(created.get("versionInfo").is_none() && created.get("tasks").is_none());
}

#[test]
fn old_docker_bridge_form_becomes_todays() {
    let spec = accept(&marathon("apps/docker-http-server.json")).unwrap();
    let app = got(&spec);
    assert_eq!(app["networks"], json!([{"mode": "container/bridge"}]));
    assert_eq!(
        app["container"]["portMappings"],
        json!([{"containerPort": 8080, "hostPort": 0, "servicePort": 0, "protocol": "tcp", "labels": {}}])
    );
    assert!(app["container"]["docker"].get("network").is_none());
    assert!(app.get("portDefinitions").is_none());
    assert_eq!(app["ports"], json!([0]));
}

#[test]
fn old_forms_become_todays() {
    let app = |body: Value| got(&accept(&body).unwrap());
    let ports = app(json!({"id": "web", "cmd": "x", "ports": [0, 8080]}));
    assert_eq!(
        ports["portDefinitions"],
        json!([{"port": 0, "protocol": "tcp"}, {"port": 8080, "protocol": "tcp"}])
    );
    assert_eq!(ports["ports"], json!([0, 8080]));
    let none = app(json!({"id": "web", "cmd": "x", "ports": []}));
    assert_eq!(none["portDefinitions"], json!([]));
    let mesos = app(json!({"id": "web", "cmd": "x", "container": {"type": "mesos"}}));
    assert_eq!(mesos["container"], json!({"type": "MESOS", "volumes": []}));
    let named = app(json!({"id": "web", "ipAddress": {"networkName": "mesos-bridge"},
        "container": {"type": "MESOS", "docker": {"image": "i"}}, "requirePorts": true}));
    assert_eq!(named["networks"], json!([{"mode": "container/bridge"}]));
    assert_eq!(named["requirePorts"], json!(false));
    assert_eq!(
        named["container"]["portMappings"],
        json!([{"containerPort": 0, "hostPort": 0, "servicePort": 0, "name": "default", "protocol": "tcp", "labels": {}}])
    );
    let host = app(json!({"id": "web", "container": {"docker": {"image": "i", "network": "HOST",
        "portMappings": [{"containerPort": 80}]}}}));
    assert_eq!(host["networks"], json!([{"mode": "host"}]));
    assert!(host["container"].get("portMappings").is_none());
}
