//! What is wrong is named with path and code.

use super::*;

/// A good app with these fields besides is refused with exactly these violations.
#[track_caller]
fn check(fields: Value, class: fn(Vec<Violation>) -> AppError, wanted: &[(&str, &str)]) {
    let mut body = json!({"id": "/web", "cmd": "sleep 100"});
    body.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
    let wanted: Vec<Violation> =
        wanted.iter().map(|(path, message)| Violation::new(*path, *message)).collect();
    assert_eq!(accept(&body), Err(class(wanted)), "{body}");
}

#[track_caller]
fn json_fault(fields: Value, path: &str, code: &str) {
    check(fields, AppError::InvalidJson, &[(path, code)]);
}

#[track_caller]
fn invalid(fields: Value, path: &str, message: &str) {
    check(fields, AppError::NotValid, &[(path, message)]);
}

#[test]
fn wrong_types_carry_plays_codes() {
    json_fault(json!({"id": 3}), "/id", "error.expected.jsstring");
    json_fault(json!({"cmd": ["x"]}), "/cmd", "error.expected.jsstring");
    json_fault(json!({"cmd": ""}), "/cmd", "error.minLength");
    json_fault(json!({"args": "x"}), "/args", "error.expected.jsarray");
    json_fault(json!({"args": ["x", 1]}), "/args(1)", "error.expected.jsstring");
    json_fault(json!({"env": []}), "/env", "error.expected.jsobject");
    json_fault(json!({"env": {"A": 1}}), "/env/A", "error.expected.jsstring");
    json_fault(json!({"labels": {"A": null}}), "/labels/A", "error.expected.jsstring");
    json_fault(json!({"instances": "1"}), "/instances", "error.expected.jsnumber");
    json_fault(json!({"instances": 1.5}), "/instances", "error.expected.int");
    json_fault(json!({"requirePorts": "yes"}), "/requirePorts", "error.expected.jsboolean");
    json_fault(json!({"container": "DOCKER"}), "/container", "error.expected.jsobject");
    json_fault(json!({"healthChecks": [3]}), "/healthChecks(0)", "error.expected.jsobject");
    json_fault(
        json!({"healthChecks": [{}, {"port": true}]}),
        "/healthChecks(1)/port",
        "error.expected.jsnumber",
    );
    json_fault(
        json!({"constraints": [["hostname", "MAX_PER", 2]]}),
        "/constraints(0)(2)",
        "error.expected.jsstring",
    );
    json_fault(json!({"dependencies": [{}]}), "/dependencies(0)", "error.expected.jsstring");
    json_fault(json!({"unreachableStrategy": 3}), "/unreachableStrategy", "error.expected.jsobject");
    json_fault(
        json!({"portDefinitions": [{"labels": 1}]}),
        "/portDefinitions(0)/labels",
        "error.expected.jsobject",
    );
    json_fault(
        json!({"container": {"docker": {"image": "i"}, "volumes": [{"containerPath": "/a", "hostPath": 4, "mode": "RO"}]}}),
        "/container/volumes(0)/hostPath",
        "error.expected.jsstring",
    );
}

#[test]
fn numbers_out_of_bounds_carry_plays_codes() {
    json_fault(json!({"instances": -1}), "/instances", "error.min");
    json_fault(json!({"instances": 4_294_967_296_u64}), "/instances", "error.expected.int");
    json_fault(json!({"instances": 1e300}), "/instances", "error.expected.int");
    json_fault(json!({"cpus": 0}), "/cpus", "error.min");
    json_fault(json!({"cpus": -0.5}), "/cpus", "error.min");
    json_fault(json!({"mem": 1e300}), "/mem", "error.max");
    json_fault(json!({"disk": "NaN"}), "/disk", "error.expected.jsnumber");
    json_fault(json!({"gpus": -1}), "/gpus", "error.min");
    json_fault(json!({"backoffFactor": 0.9}), "/backoffFactor", "error.min");
    json_fault(json!({"backoffSeconds": -1}), "/backoffSeconds", "error.min");
    json_fault(json!({"portDefinitions": [{"port": 65536}]}), "/portDefinitions(0)/port", "error.max");
    json_fault(json!({"ports": [-1]}), "/ports(0)", "error.min");
    json_fault(json!({"taskKillGracePeriodSeconds": -3}), "/taskKillGracePeriodSeconds", "error.min");
    json_fault(
        json!({"upgradeStrategy": {"minimumHealthCapacity": 1.5, "maximumOverCapacity": 0}}),
        "/upgradeStrategy/minimumHealthCapacity",
        "error.max",
    );
}

#[test]
fn missing_fields_and_unknown_words_are_named() {
    json_fault(json!({"container": {"docker": {}}}), "/container/docker/image", "error.path.missing");
    json_fault(json!({"container": {"docker": {"image": ""}}}), "/container/docker/image", "error.minLength");
    json_fault(
        json!({"upgradeStrategy": {"maximumOverCapacity": 0}}),
        "/upgradeStrategy/minimumHealthCapacity",
        "error.path.missing",
    );
    json_fault(
        json!({"healthChecks": [{"protocol": "COMMAND", "command": {"value": null}}]}),
        "/healthChecks(0)/command/value",
        "error.path.missing",
    );
    json_fault(json!({"container": {"type": "RKT"}}), "/container/type", "error.unknown.enum.literal");
    json_fault(
        json!({"healthChecks": [{"protocol": "ICMP"}]}),
        "/healthChecks(0)/protocol",
        "error.unknown.enum.literal",
    );
    json_fault(json!({"networks": [{"mode": "hostt"}]}), "/networks(0)/mode", "error.unknown.enum.literal");
    json_fault(
        json!({"portDefinitions": [{"protocol": "sctp"}]}),
        "/portDefinitions(0)/protocol",
        "error.unknown.enum.literal",
    );
    json_fault(json!({"killSelection": "RANDOM"}), "/killSelection", "error.unknown.enum.literal");
    json_fault(json!({"unreachableStrategy": "never"}), "/unreachableStrategy", "error.unknown.enum.literal");
}

#[test]
fn absurd_ids_are_refused() {
    json_fault(json!({"id": ""}), "/id", "error.minLength");
    json_fault(json!({"id": "/Web"}), "/id", "error.pattern");
    json_fault(json!({"id": "/a_b"}), "/id", "error.pattern");
    json_fault(json!({"id": "/a\u{0}b"}), "/id", "error.pattern");
    invalid(json!({"id": "/"}), "/id", "must not be empty");
    invalid(json!({"id": "/a/restart"}), "/id", "must not end with 'restart'");
    invalid(json!({"id": "a".repeat(5000)}), "/id", "must not be longer than 160 bytes");
}

#[test]
fn rules_of_meaning_are_named() {
    let neither = "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    invalid(json!({"args": ["x"]}), "/", neither);
    invalid(json!({"cmd": null}), "/", neither);
    invalid(json!({"cmd": null, "container": {"type": "MESOS"}}), "/", neither);
    invalid(json!({"container": {"type": "DOCKER"}}), "/container/docker", "not defined");
    invalid(json!({"ports": [1, 1]}), "/ports", "ports must be unique");
    invalid(
        json!({"portDefinitions": [{"port": 9}, {"port": 9}]}),
        "/portDefinitions",
        "Ports must be unique.",
    );
    invalid(
        json!({"portDefinitions": [{"name": "a"}, {"name": "a"}]}),
        "/portDefinitions",
        "Port names must be unique.",
    );
    invalid(
        json!({"ports": [1], "portDefinitions": [{"port": 2}]}),
        "/",
        "cannot specify both ports and port definitions",
    );
    invalid(
        json!({"healthChecks": [{"portIndex": 1}]}),
        "/healthChecks(0)",
        "Health check port indices must address an element of the ports array or container port mappings.",
    );
    invalid(
        json!({"unreachableStrategy": {"inactiveAfterSeconds": 9, "expungeAfterSeconds": 3}}),
        "/unreachableStrategy",
        "inactiveAfterSeconds (9) must be less or equal to expungeAfterSeconds, which is 3",
    );
    invalid(
        json!({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "instances": 2,
               "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}}),
        "/instances",
        "Single instance app may only have one instance",
    );
    invalid(
        json!({"acceptedResourceRoles": ["gold"]}),
        "/acceptedResourceRoles",
        "acceptedResourceRoles can only contain * and *",
    );
    invalid(json!({"role": "gold"}), "/role", "is not one of (*)");
    invalid(
        json!({"networks": [{"mode": "host", "name": "n"}]}),
        "/networks(0)",
        "Host networks may not have names or labels",
    );
    invalid(
        json!({"networks": [{"mode": "host"}, {"mode": "host"}]}),
        "/networks",
        "Duplicate networks are not allowed",
    );
    invalid(
        json!({"networks": [{}]}),
        "/networks(0)",
        "Network name must be specified when container network is selected.",
    );
    invalid(
        json!({"networks": [{"mode": "host"}], "container": {"docker": {"image": "i", "network": "HOST"}}}),
        "/",
        "must not specify both container.docker.network and networks",
    );
    check(
        json!({"uris": ["a"], "fetch": [{"uri": "b"}]}),
        AppError::NotValid,
        &[
            ("/uris", "may not be set in conjunction with fetch"),
            ("/fetch", "artifacts to fetch are not supported by this version yet; remove 'fetch'"),
            ("/uris", "artifacts to fetch are not supported by this version yet; remove 'uris'"),
        ],
    );
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let gap = |fields: Value, path: &str| {
        let mut body = json!({"id": "/web", "cmd": "x"});
        body.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let Err(AppError::NotValid(broken)) = accept(&body) else { panic!("{body} is accepted") };
        let found = broken.iter().find(|violation| violation.path == path);
        assert!(found.is_some_and(|violation| violation.message.contains("not supported")), "{broken:?}");
    };
    gap(json!({"fetch": [{"uri": "http://a/b"}]}), "/fetch");
    gap(json!({"uris": ["http://a/b"]}), "/uris");
    gap(json!({"readinessChecks": [{}]}), "/readinessChecks");
    gap(json!({"check": {"tcp": {}}}), "/check");
    gap(json!({"secrets": {"a": {"source": "b"}}}), "/secrets");
    gap(json!({"env": {"A": {"secret": "a"}}}), "/env/A");
    gap(json!({"resourceLimits": {"cpus": "unlimited"}}), "/resourceLimits");
    gap(json!({"executorResources": {"cpus": 1}}), "/executorResources");
    gap(json!({"residency": {"taskLostBehavior": "WAIT_FOREVER"}}), "/residency");
    gap(json!({"residency": {}}), "/residency");
    gap(json!({"executor": "/opt/mine"}), "/executor");
    gap(json!({"networks": [{"mode": "container", "name": "n"}]}), "/networks(0)");
    gap(json!({"healthChecks": [{"protocol": "HTTPS"}]}), "/healthChecks(0)/protocol");
    gap(json!({"healthChecks": [{"protocol": "MESOS_HTTPS"}]}), "/healthChecks(0)/protocol");
    gap(json!({"container": {"type": "MESOS", "linuxInfo": {"seccomp": {}}}}), "/container/linuxInfo");
    gap(
        json!({"container": {"docker": {"image": "i", "pullConfig": {"secret": "s"}}}}),
        "/container/docker/pullConfig",
    );
    gap(json!({"container": {"docker": {"image": "i", "network": "NONE"}}}), "/container/docker/network");
    let volume = |kind: &str| json!({"container": {"docker": {"image": "i"}, "volumes": [{"containerPath": "a", "mode": "RW", kind: {}}]}});
    gap(volume("persistent"), "/container/volumes(0)/persistent");
    gap(volume("external"), "/container/volumes(0)/external");
    gap(volume("secret"), "/container/volumes(0)/secret");
}

/// One constraint is refused for its form, with this message; without one it is taken.
#[track_caller]
fn constraint(parts: &[&str], message: Option<&str>) {
    let broken = match accept(&json!({"id": "/a", "cmd": "x", "constraints": [parts]})) {
        Ok(_) => Vec::new(),
        Err(AppError::NotValid(broken)) => broken,
        Err(other) => panic!("{parts:?}: {other:?}"),
    };
    let found = broken.iter().find(|violation| violation.path == "/constraints(0)");
    assert_eq!(found.map(|violation| violation.message.as_str()), message, "{parts:?}");
    assert_eq!(broken.is_empty(), message.is_none(), "{broken:?}");
}

#[test]
fn constraints_are_judged_as_marathon_does() {
    let operators =
        "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS";
    constraint(&["foo", "cluster", "bar"], None);
    constraint(&["hostname", "CLUSTER"], None);
    constraint(&["hostname", "CLUSTER", ""], None);
    constraint(&["hostname", "CLUSTER", "somehost"], None);
    constraint(&["attr", "CLUSTER", "foo"], None);
    constraint(&["a", "CLUSTER"], None);
    constraint(&["", "CLUSTER"], Some("illegal constraint specification"));
    constraint(&["", "CLUSTER", ""], Some("illegal constraint specification"));
    constraint(&["", "CLUSTER", "b"], Some("illegal constraint specification"));
    constraint(&["hostname", "UNIQUE"], None);
    constraint(&["hostname", "UNIQUE", ""], Some("UNIQUE does not accept a value"));
    constraint(&["hostname", "UNIQUE", "a"], Some("UNIQUE does not accept a value"));
    constraint(&["h", "GROUP_BY"], None);
    constraint(&["h", "GROUP_BY", "123"], None);
    constraint(
        &["h", "GROUP_BY", "AbcDZ"],
        Some("GROUP BY must define an integer value or else no value at all"),
    );
    constraint(&["h", "MAX_PER", "123"], None);
    constraint(&["h", "MAX_PER"], Some("MAX_PER requires an integer value"));
    constraint(&["h", "MAX_PER", "AbcDZ"], Some("MAX_PER requires an integer value"));
    constraint(&["attribute", "IS", "value-1.2/3_4"], None);
    constraint(
        &["attribute", "IS", "[0-9]"],
        Some(
            "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
        ),
    );
    for operator in ["LIKE", "UNLIKE", "like"] {
        constraint(&["h", operator, ".*"], None);
        constraint(&["h", operator, ""], None);
        constraint(&["h", operator, "*"], Some("'*' is not a valid regular expression"));
        constraint(&["h", operator], Some("LIKE and UNLIKE require a non-empty, regular expression value"));
    }
    constraint(
        &["h", "LIKE", "(?=a)b"],
        Some(
            "'(?=a)b' is not a valid regular expression here: look-around and back-references are not supported",
        ),
    );
    constraint(&["a", "b", "c"], Some(operators));
    constraint(&["a"], Some("Each constraint must have either 2 or 3 fields"));
    constraint(&["a", "LIKE", "b", "c"], Some("Each constraint must have either 2 or 3 fields"));
}

#[test]
fn all_problems_are_told_at_once_and_merged_by_path() {
    let error =
        decode_app(&json!({"id": "/A", "cpus": "x", "ports": ["a", "b"], "cmd": 1}), "/").unwrap_err();
    assert_eq!(error.violations().len(), 5);
    let twice = AppError::NotValid(vec![
        Violation::new("/a", "x"),
        Violation::new("/a", "y"),
        Violation::new("/a", "x"),
    ]);
    assert_eq!(
        twice.body(),
        json!({"message": "Object is not valid", "details": [{"path": "/a", "errors": ["x", "y"]}]})
    );
}

#[test]
fn null_is_absent() {
    let nulls = json!({"id": "/a", "cmd": "x", "args": null, "cpus": null, "container": null, "fetch": null,
        "healthChecks": null, "ports": null, "portDefinitions": null, "upgradeStrategy": null, "residency": null});
    assert_eq!(accept(&nulls), accept(&json!({"id": "/a", "cmd": "x"})));
}

#[test]
fn unknown_fields_are_told_and_do_no_harm() {
    let body = json!({"id": "/a", "cmd": "x", "foo": 1, "container": {"docker": {"image": "i", "forcePull": true}}, "tasksRunning": 3});
    let decoded = decode_app(&body, "/").unwrap();
    assert_eq!(decoded.warnings, ["unknown field '/container/docker/forcePull'", "unknown field '/foo'"]);
}

#[test]
fn sizes_are_bounded() {
    invalid(json!({"instances": 2_000_000}), "/instances", "must not be more than 100000");
    invalid(
        json!({"args": [], "cmd": "x".repeat(200_000)}),
        "/cmd",
        "must not be longer than 131071 bytes, is 200000",
    );
    let env: Map<String, Value> = (0..3000).map(|n| (format!("A{n}"), json!("x"))).collect();
    invalid(json!({"env": env}), "/env", "must not have more than 2048 entries, has 3000");
    let labels: Map<String, Value> = (0..900).map(|n| (format!("l{n}"), json!("x".repeat(1000)))).collect();
    let error = accept(&json!({"id": "/a", "cmd": "x", "labels": labels})).unwrap_err();
    assert!(error.to_string().contains("/: must not be larger than 524288 bytes"), "{error}");
    let many = decode_app(&json!({"args": vec![1; 100_000]}), "/").unwrap_err();
    assert_eq!(many.violations().len(), 100);
}

#[test]
fn bodies_that_are_not_json_objects_are_bad_requests() {
    let not_json = |body: &str| matches!(parse_body(body.as_bytes()), Err(BodyError::NotJson(_)));
    assert!(not_json("{") && not_json("{\"a\": NaN}") && not_json("{\"a\": 1e999}") && not_json("{} {}"));
    assert!(not_json(&"[".repeat(100_000)));
    assert!(matches!(parse_body(&[0xff, 0xfe]), Err(BodyError::NotJson(_))));
    for empty in ["", " \n", "3", "\"x\"", "null", "true"] {
        assert!(matches!(parse_body(empty.as_bytes()), Err(BodyError::Empty(_))), "{empty}");
    }
    assert_eq!(parse_body(b"{\"a\": 1, \"a\": 2}"), Ok(json!({"a": 2})));
    assert_eq!(
        decode_app(&json!([]), "/"),
        Err(AppError::InvalidJson(vec![Violation::new("/", "error.expected.jsobject")]))
    );
}
