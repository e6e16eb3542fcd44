//! Laws over generated specs and arbitrary JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::{
    Affinity, Backoff, Container, ContainerKind, DockerImage, HealthCheck, HealthProtocol, KillSelection,
    Millionths, PortDefinition, PortMapping, Preference, Scalar, Spread, Target, Transport,
    UnreachableStrategy, UpgradeStrategy, Volume, Wanted, Wishes,
};

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[A-Za-z_./]{1,8}", ".{0,8}", 0..4)
}

fn transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Tcp), Just(Transport::Udp), Just(Transport::UdpTcp)]
}

fn seconds() -> impl Strategy<Value = Duration> {
    (0..100_000u64).prop_map(Duration::from_secs)
}

fn definitions() -> impl Strategy<Value = Vec<PortDefinition>> {
    let definition = (any::<u16>(), transport(), proptest::option::of("[a-z]{1,5}"), texts())
        .prop_map(|(port, transport, name, labels)| PortDefinition { port, transport, name, labels });
    proptest::collection::vec(definition, 0..4)
}

fn mappings() -> impl Strategy<Value = Vec<PortMapping>> {
    let mapping = (any::<(u16, u16, u16)>(), transport(), proptest::option::of("[a-z]{1,5}"), texts());
    let mapping = mapping.prop_map(|((container_port, host_port, service_port), transport, name, labels)| {
        let host_port = Some(host_port);
        PortMapping {
            container_port,
            host_port,
            service_port,
            transport,
            name,
            labels,
            network_names: vec![],
        }
    });
    proptest::collection::vec(mapping, 0..4)
}

fn container() -> impl Strategy<Value = Container> {
    let docker =
        ("[a-z:/]{1,10}", any::<(bool, bool)>(), proptest::collection::vec(("[a-z]{1,5}", ".{0,5}"), 0..3));
    let volume = ("/[a-z]{1,5}", "[a-z/]{1,5}", any::<bool>())
        .prop_map(|(container_path, host_path, read_only)| Volume { container_path, host_path, read_only });
    (docker, proptest::collection::vec(volume, 0..3), any::<bool>()).prop_map(
        |((image, (force_pull, privileged), parameters), volumes, is_mesos)| {
            let docker = DockerImage {
                image,
                force_pull,
                privileged: privileged && !is_mesos,
                parameters: if is_mesos { vec![] } else { parameters },
            };
            let kind = if is_mesos { ContainerKind::Mesos } else { ContainerKind::Docker };
            Container { kind, docker: Some(docker), volumes, port_mappings: vec![] }
        },
    )
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let kind = proptest::sample::select(HealthProtocol::ALL.to_vec());
    let times = (seconds(), seconds(), seconds(), seconds(), 0..50u32);
    let ports = (proptest::option::of(any::<u16>()), 0..5u32);
    (kind, proptest::option::of("/[a-z]{0,5}"), ports, times, any::<(bool, bool)>()).prop_map(
        |(
            protocol,
            path,
            (port, index),
            (grace_period, interval, timeout, delay, failures),
            (ignores, ipv6),
        )| {
            let is_command = protocol == HealthProtocol::Command;
            HealthCheck {
                protocol,
                path,
                port_index: (port.is_none() && !is_command).then_some(index),
                port,
                command: is_command.then(|| "true".to_owned()),
                grace_period,
                interval,
                timeout,
                max_consecutive_failures: failures,
                delay,
                ignore_http_1xx: ignores && matches!(protocol, HealthProtocol::Http | HealthProtocol::Https),
                ipv6,
            }
        },
    )
}

fn unreachable() -> impl Strategy<Value = UnreachableStrategy> {
    let after = (seconds(), seconds())
        .prop_map(|(inactive, more)| UnreachableStrategy::After { inactive, expunge: inactive + more });
    prop_oneof![Just(UnreachableStrategy::Disabled), after]
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let wanted =
        prop_oneof!["[a-z]{1,5}".prop_map(Wanted::Value), "[a-z]{1,5}[.][*]".prop_map(Wanted::Pattern),];
    let preference = ("[a-z]{1,5}", wanted, -100..=100i32)
        .prop_map(|(attribute, wanted, weight)| Preference { attribute, wanted, weight });
    let target = ("[a-z]{1,5}", 0..=100u32).prop_map(|(value, percent)| Target { value, percent });
    let spread = ("[a-z]{1,5}", -100..=100i32, proptest::collection::vec(target, 0..3))
        .prop_map(|(attribute, weight, targets)| Spread { attribute, weight, targets });
    let affinity = ("/[a-z]{1,5}", "[a-z]{1,5}", -100..=100i32).prop_map(|(app, attribute, weight)| {
        Affinity { app: AppId::parse(&app).unwrap(), attribute, weight }
    });
    let strategy = proptest::option::of(prop_oneof![Just("spread"), Just("binpack")]);
    let lists = (
        proptest::collection::vec(preference, 0..3),
        proptest::collection::vec(spread, 0..3),
        proptest::collection::vec(affinity, 0..3),
    );
    (strategy, lists).prop_map(|(strategy, (preferences, spread, affinity))| {
        let strategy = strategy.and_then(crate::domain::Strategy::parse);
        Wishes { strategy, preferences, spread, affinity }
    })
}

/// Specs in the form that decoding leaves them in.
fn spec() -> impl Strategy<Value = RunSpec> {
    let process = (
        any::<bool>(),
        proptest::collection::vec(".{0,6}", 1..4),
        proptest::option::of("[a-z]{1,6}"),
        texts(),
        texts(),
    );
    let amounts = (0..1000u32, 1..64_000u64, 0..10_000_000u64, 0..10_000_000u64, 0..8u64);
    let surroundings =
        (any::<bool>(), definitions(), mappings(), proptest::option::of(container()), any::<bool>());
    let policies =
        (seconds(), 1_000_000..9_000_000u64, seconds(), 0..=1_000_000u64, 0..=1_000_000u64, unreachable());
    let rest = (
        proptest::collection::vec(health_check(), 0..3),
        proptest::option::of(seconds()),
        any::<(bool, bool)>(),
        proptest::option::of(wishes()),
    );
    (process, amounts, surroundings, policies, rest).prop_map(
        |(
            (has_cmd, args, user, env, labels),
            (instances, cpus, mem, disk, gpus),
            (is_host, port_definitions, mappings, container, require_ports),
            (initial, factor, max, minimum, over, unreachable),
            (mut health_checks, kill_grace, (tty, oldest), placement),
        )| {
            health_checks.dedup();
            let mut container = container;
            if !is_host {
                container
                    .get_or_insert_with(|| Container { kind: ContainerKind::Mesos, ..Container::default() })
                    .port_mappings = mappings;
            }
            RunSpec {
                placement,
                cmd: has_cmd.then(|| "sleep 1".to_owned()),
                args: if has_cmd { vec![] } else { args },
                user,
                env,
                instances,
                cpus: Scalar::from_thousandths(cpus),
                mem: Scalar::from_thousandths(mem),
                disk: Scalar::from_thousandths(disk),
                gpus: Scalar::from_thousandths(gpus * 1000),
                container,
                networks: vec![if is_host { Network::Host } else { Network::Bridge }],
                port_definitions: if is_host { port_definitions } else { vec![] },
                require_ports: require_ports && is_host,
                backoff: Backoff { initial, factor: Millionths(factor), max },
                health_checks,
                upgrade: UpgradeStrategy {
                    minimum_health_capacity: Millionths(minimum),
                    maximum_over_capacity: Millionths(over),
                },
                labels,
                kill_grace,
                kill_selection: if oldest {
                    KillSelection::OldestFirst
                } else {
                    KillSelection::YoungestFirst
                },
                unreachable,
                tty,
                dependencies: ["/a/b".to_owned()].into(),
                ..RunSpec::default()
            }
        },
    )
}

/// JSON made of names and words that mean something to the decoder, and of any others.
fn any_json() -> impl Strategy<Value = Value> {
    let word = proptest::sample::select(vec![
        "DOCKER",
        "host",
        "container",
        "HTTP",
        "disabled",
        "BRIDGE",
        "/a",
        "",
        "x",
        "RW",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    let name = proptest::sample::select(vec![
        "id",
        "cmd",
        "args",
        "env",
        "container",
        "docker",
        "image",
        "network",
        "networks",
        "mode",
        "name",
        "type",
        "portMappings",
        "portDefinitions",
        "ports",
        "ipAddress",
        "discovery",
        "healthChecks",
        "protocol",
        "command",
        "value",
        "constraints",
        "upgradeStrategy",
        "minimumHealthCapacity",
        "unreachableStrategy",
        "volumes",
        "instances",
        "cpus",
        "labels",
        "dependencies",
        "version",
        "uris",
        "fetch",
        "secret",
        "port",
        "parameters",
        "networkName",
        "groups",
        "apps",
        "acceptedResourceRoles",
        "placement",
        "strategy",
        "preferences",
        "spread",
        "targets",
        "affinity",
        "attribute",
        "weight",
        "app",
        "inactiveAfterSeconds",
        "zzz",
    ]);
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..8).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(spec in spec()) {
        let answer = Value::Object(got(&spec));
        let text = serde_json::to_vec(&answer).unwrap();
        let decoded = decode_app(&parse_body(&text).unwrap(), "/").unwrap();
        prop_assert_eq!(decoded.id, Some(web()));
        prop_assert_eq!(decoded.spec, spec);
        prop_assert_eq!(decoded.warnings, Vec::<String>::new());
    }

    #[test]
    fn an_empty_update_and_ones_own_answer_change_nothing(spec in spec()) {
        prop_assert_eq!(&decode_update(&json!({})).unwrap().merge(&spec).unwrap(), &spec);
        let mut answer = got(&spec);
        answer.remove("version");
        prop_assert_eq!(decode_update(&Value::Object(answer)).unwrap().merge(&spec).unwrap(), spec);
    }

    #[test]
    fn no_json_makes_the_decoders_panic(body in any_json(), current in spec()) {
        if let Ok(decoded) = decode_app(&body, "/a") {
            let _ = validate::run_spec(&web(), &decoded.spec);
        }
        if let Ok(update) = decode_update(&body) {
            let _ = update.merge(&current);
        }
        let _ = crate::api::wire::group::decode_group(&body);
    }

    #[test]
    fn what_is_accepted_is_accepted_again(body in any_json()) {
        if let Ok(decoded) = decode_app(&body, "/a") {
            let again = decode_app(&Value::Object(got(&decoded.spec)), "/").unwrap();
            prop_assert_eq!(again.spec, decoded.spec);
        }
    }
}
