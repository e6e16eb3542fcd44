//! Partial updates: each field given replaces the whole value.

use super::*;
use crate::domain::SpecChange;

fn app(fields: Value) -> RunSpec {
    let mut body = json!({"id": "/web"});
    body.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    accept(&body).unwrap()
}

/// The app of `current` with `update` laid over equals the app of `wanted`.
#[track_caller]
fn check(current: Value, update: Value, wanted: Value) {
    let merged = decode_update(&update).unwrap().merge(&app(current)).unwrap();
    assert_eq!(got(&merged), got(&app(wanted)));
}

#[test]
fn what_is_given_replaces_and_the_rest_stays() {
    check(json!({"cmd": "a", "mem": 64}), json!({"cmd": "b"}), json!({"cmd": "b", "mem": 64}));
    check(
        json!({"cmd": "a", "env": {"A": "1", "B": "2"}}),
        json!({"env": {"A": "3"}}),
        json!({"cmd": "a", "env": {"A": "3"}}),
    );
    check(json!({"cmd": "a", "mem": 64}), json!({"mem": null, "cmd": null}), json!({"cmd": "a", "mem": 64}));
    check(json!({"cmd": "a"}), json!({"id": "/other", "instances": 3}), json!({"cmd": "a", "instances": 3}));
}

#[test]
fn a_command_replaces_arguments_and_the_other_way_round() {
    check(json!({"args": ["a"]}), json!({"cmd": "b"}), json!({"cmd": "b"}));
    check(json!({"cmd": "b"}), json!({"args": ["a"]}), json!({"args": ["a"]}));
    check(json!({"cmd": "b"}), json!({"cmd": "c", "args": []}), json!({"cmd": "c"}));
}

#[test]
fn old_ports_replace_port_definitions() {
    let current = json!({"cmd": "a", "portDefinitions": [{"port": 10000, "name": "http"}]});
    check(current.clone(), json!({"ports": [9000]}), json!({"cmd": "a", "ports": [9000]}));
    check(current.clone(), json!({"ports": [10000]}), current.clone());
    check(
        current.clone(),
        json!({"ports": [9000], "portDefinitions": [{"port": 10000, "name": "http"}]}),
        json!({"cmd": "a", "ports": [9000]}),
    );
    check(
        current.clone(),
        json!({"ports": [10000], "portDefinitions": [{"port": 9000}]}),
        json!({"cmd": "a", "portDefinitions": [{"port": 9000}]}),
    );
    let both = decode_update(&json!({"ports": [1], "portDefinitions": [{"port": 2}]}));
    let error = both.unwrap().merge(&app(current)).unwrap_err();
    assert_eq!(error.violations()[0].to_string(), "/: cannot specify both ports and port definitions");
}

#[test]
fn old_network_words_replace_networks() {
    let image = json!({"docker": {"image": "i"}});
    let mapped = json!([{"containerPort": 80, "hostPort": 0}]);
    let bridge = json!({"docker": {"image": "i", "network": "BRIDGE", "portMappings": mapped}});
    let today = json!({"networks": [{"mode": "container/bridge"}],
        "container": {"docker": {"image": "i"}, "portMappings": mapped}});
    check(json!({"container": image}), json!({"container": bridge}), today.clone());
    check(
        today.clone(),
        json!({"container": {"docker": {"image": "i", "network": "HOST"}}}),
        json!({"container": image}),
    );
    check(today.clone(), json!({"networks": [{"mode": "host"}]}), json!({"container": image}));
    check(today.clone(), json!({"instances": 1}), today);
}

#[test]
fn what_get_gives_can_be_put_back() {
    let bodies = [
        json!({"cmd": "a"}),
        json!({"args": ["a", "b"], "ports": [8080, 0], "healthChecks": [{"protocol": "TCP"}]}),
        json!({"container": {"docker": {"image": "i", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}},
               "healthChecks": [{"path": "/x"}, {"protocol": "COMMAND", "command": {"value": "true"}}]}),
        json!({"cmd": "a", "portDefinitions": [], "cpus": 0.25, "tty": true, "user": "root",
               "acceptedResourceRoles": ["*"], "unreachableStrategy": "disabled", "taskKillGracePeriodSeconds": 7}),
    ];
    for body in bodies {
        let mut spec = app(body);
        for (at, port) in spec.service_ports_mut().into_iter().enumerate() {
            *port = 10_000 + u16::try_from(at).unwrap();
        }
        let app = version_of(spec.clone());
        let embeds = Embeds {
            counts: Some(Default::default()),
            deployments: Some(vec![]),
            tasks: Some(vec![]),
            ..Embeds::default()
        };
        let mut answer = AppInfo { id: &app.app, app: &app, embeds: &embeds }.json();
        // As a full definition it comes back whole, version and all.
        assert_eq!(accept(&answer).unwrap(), spec);
        answer.as_object_mut().unwrap().remove("version");
        let update = decode_update(&answer).unwrap();
        assert_eq!(update.warnings, Vec::<String>::new());
        assert_eq!(update.merge(&spec).unwrap().change_from(&spec), SpecChange::Nothing);
    }
}

#[test]
fn a_half_edited_answer_is_taken_by_its_newer_form() {
    let mut answer = Value::Object(got(&app(json!({"cmd": "a", "ports": [8080]}))));
    answer["portDefinitions"][0]["port"] = json!(9090);
    assert_eq!(accept(&answer).unwrap().service_ports(), [9090]);
}

#[test]
fn a_version_stands_alone() {
    let at = "2020-01-01T00:00:00.000Z";
    let update = decode_update(&json!({"id": "/web", "version": at})).unwrap();
    assert_eq!(update.version, Timestamp::parse(at));
    let refused = |body: Value| decode_update(&body).unwrap_err().violations()[0].to_string();
    assert_eq!(
        refused(json!({"version": at, "cmd": "x"})),
        "/: The 'version' field may only be combined with the 'id' field."
    );
    assert_eq!(
        refused(json!({"version": "soon"})),
        "/version: Invalid timestamp provided 'soon'. Expecting ISO-8601 datetime string."
    );
}

#[test]
fn types_are_judged_before_the_merge_and_meaning_after() {
    assert!(matches!(decode_update(&json!({"cpus": "x"})), Err(AppError::InvalidJson(_))));
    assert!(matches!(decode_update(&json!([])), Err(AppError::InvalidJson(_))));
    let update = decode_update(&json!({"fetch": [{"uri": "x"}]})).unwrap();
    assert!(matches!(update.merge(&app(json!({"cmd": "a"}))), Err(AppError::NotValid(_))));
}

#[test]
fn dependencies_are_relative_to_the_apps_group() {
    let update = decode_update(&json!({"dependencies": ["db", "../x"]})).unwrap().within("/shop");
    let merged = update.merge(&app(json!({"cmd": "a"}))).unwrap();
    assert_eq!(merged.dependencies.into_iter().collect::<Vec<_>>(), ["/shop/db", "/x"]);
}
