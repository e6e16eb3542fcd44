//! Every rule that a spec must satisfy, with the JSON path of what breaks it.
//!
//! Way in: [`run_spec`]. Rules are Marathon's (docs/marathon.md), bounds are ours, and what
//! this version cannot do yet is refused by name here: never ignored, never done wrongly
//! (docs/decisions/gaps.md).

use std::collections::{BTreeMap, BTreeSet};

use super::claim::{ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX};
use super::{
    ANY_ROLE, AppId, Constraint, ContainerKind, HealthCheck, HealthProtocol, Millionths, Network, Operator,
    Pattern, RunSpec, Scalar, UnreachableStrategy, Violation,
};

/// Most copies of one app; each is a row in every master's memory.
pub const INSTANCES_MAX: u32 = 100_000;
/// Most variables; the kernel limits environment and arguments together to about 2 MiB.
pub const ENV_ENTRIES_MAX: usize = 2048;
/// Most labels.
pub const LABELS_MAX: usize = 1024;
/// Most arguments.
pub const ARGS_MAX: usize = 4096;
/// Most ports of one app; each instance takes them all on its agent.
pub const PORTS_MAX: usize = 256;
/// Most health checks of one app; each is a probe per instance.
pub const HEALTH_CHECKS_MAX: usize = 32;
/// Most volumes of one app.
pub const VOLUMES_MAX: usize = 128;
/// Most dependencies of one app.
pub const DEPENDENCIES_MAX: usize = 1024;
/// Most characters of a wrong value that an answer gives back.
const SHOWN_CHARS_MAX: usize = 100;
/// Most constraints of one app.
pub const CONSTRAINTS_MAX: usize = 64;
/// Longest command, argument or value: the kernel takes no single text above 128 KiB.
pub const TEXT_BYTES_MAX: usize = 128 * 1024 - 1;
/// Largest spec as the log records it: versions are kept, and every master holds them all.
pub const SPEC_BYTES_MAX: usize = 512 * 1024;

/// Label that forbids a second copy. Source: spec 2.1, `instances`.
const SINGLE_INSTANCE: &str = "MARATHON_SINGLE_INSTANCE_APP";

/// All broken rules of a spec for the app `id`; empty when it may run.
pub fn run_spec(id: &AppId, spec: &RunSpec) -> Vec<Violation> {
    let mut broken = Broken(Vec::new());
    what_runs(spec, &mut broken);
    sizes(spec, &mut broken);
    amounts(spec, &mut broken);
    roles(id, spec, &mut broken);
    surroundings(spec, &mut broken);
    ports(spec, &mut broken);
    for (at, check) in spec.health_checks.iter().enumerate() {
        health_check(spec, check, &format!("/healthChecks({at})"), &mut broken);
    }
    health_checks(spec, &mut broken);
    policies(spec, &mut broken);
    labels(spec, &mut broken);
    constraints(spec, &mut broken);
    broken.0.extend(spec.placement.iter().flat_map(|wishes| wishes.faults(id)));
    if spec.dependencies.contains(id.as_str()) {
        broken.rule("/", "Dependency graph has cyclic dependencies.");
    }
    broken.0
}

struct Broken(Vec<Violation>);

impl Broken {
    fn rule(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation::new(path, message));
    }

    fn unless(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.rule(path, message);
        }
    }

    fn at_most(&mut self, count: usize, max: usize, path: &str) {
        if count > max {
            self.rule(path, format!("must not have more than {max} entries, has {count}"));
        }
    }

    /// Texts that reach the kernel end at the first NUL.
    fn text(&mut self, text: &str, path: &str) {
        if text.len() > TEXT_BYTES_MAX {
            self.rule(path, format!("must not be longer than {TEXT_BYTES_MAX} bytes, is {}", text.len()));
        }
        self.unless(!text.contains('\0'), path, "must not contain a NUL character");
    }
}

fn what_runs(spec: &RunSpec, broken: &mut Broken) {
    let has_cmd = spec.cmd.is_some();
    let has_args = !spec.args.is_empty();
    if (has_cmd && has_args) || !(has_cmd || has_args || spec.image().is_some()) {
        broken.rule("/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.");
    }
    broken.text(spec.cmd.as_deref().unwrap_or_default(), "/cmd");
    for (at, arg) in spec.args.iter().enumerate() {
        broken.text(arg, &format!("/args({at})"));
    }
    if let Some(user) = &spec.user {
        broken.unless(!user.is_empty(), "/user", "must not be empty");
        broken.text(user, "/user");
    }
    for (name, value) in &spec.env {
        let path = format!("/env/{name}");
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        broken.unless(is_name, &path, "a variable's name must not be empty nor contain '=' or NUL");
        broken.text(value, &path);
    }
    if !matches!(spec.executor.as_str(), "" | "//cmd") {
        broken.rule(
            "/executor",
            "custom executors are not supported by this version yet; use \"//cmd\" or \"\"",
        );
    }
}

fn sizes(spec: &RunSpec, broken: &mut Broken) {
    broken.at_most(spec.env.len(), ENV_ENTRIES_MAX, "/env");
    broken.at_most(spec.labels.len(), LABELS_MAX, "/labels");
    broken.at_most(spec.args.len(), ARGS_MAX, "/args");
    broken.at_most(spec.port_definitions.len(), PORTS_MAX, "/portDefinitions");
    broken.at_most(spec.health_checks.len(), HEALTH_CHECKS_MAX, "/healthChecks");
    broken.at_most(spec.dependencies.len(), DEPENDENCIES_MAX, "/dependencies");
    broken.at_most(spec.constraints.len(), CONSTRAINTS_MAX, "/constraints");
    if let Some(container) = &spec.container {
        broken.at_most(container.volumes.len(), VOLUMES_MAX, "/container/volumes");
        broken.at_most(container.port_mappings.len(), PORTS_MAX, "/container/portMappings");
        let parameters = container.docker.as_ref().map_or(0, |docker| docker.parameters.len());
        broken.at_most(parameters, ARGS_MAX, "/container/docker/parameters");
    }
    let bytes = rmp_serde::to_vec_named(spec).map_or(usize::MAX, |bytes| bytes.len());
    if bytes > SPEC_BYTES_MAX {
        broken.rule("/", format!("must not be larger than {SPEC_BYTES_MAX} bytes, is {bytes}"));
    }
}

fn amounts(spec: &RunSpec, broken: &mut Broken) {
    if spec.instances > INSTANCES_MAX {
        broken.rule("/instances", format!("must not be more than {INSTANCES_MAX}"));
    }
    broken.unless(spec.cpus > Scalar::ZERO, "/cpus", "must be at least 0.001");
    let is_docker = spec.container.as_ref().is_some_and(|inner| inner.kind == ContainerKind::Docker);
    let gpus_fit = spec.gpus == Scalar::ZERO || !is_docker;
    broken.unless(gpus_fit, "/gpus", "GPU resources only work with the Mesos containerizer");
}

/// An app runs for everybody's role or for that of its top-level group. Source: spec 2.1, `role`,
/// `acceptedResourceRoles`; Marathon also keeps a role that the app has, which cannot differ here.
fn roles(id: &AppId, spec: &RunSpec, broken: &mut Broken) {
    let role = spec.role.as_str();
    let group = top_level_group(id);
    if role != ANY_ROLE && Some(role) != group {
        let known: Vec<&str> = std::iter::once(ANY_ROLE).chain(group).collect();
        broken.rule("/role", format!("is not one of ({})", known.join(",")));
    }
    let accepted = &spec.accepted_resource_roles;
    if accepted.iter().any(|other| other != ANY_ROLE && other != role) {
        let message = format!("acceptedResourceRoles can only contain * and {}", shortened(role));
        broken.rule("/acceptedResourceRoles", message);
    }
    let is_plain = all_differ(accepted.iter().map(String::as_str));
    broken.unless(is_plain, "/acceptedResourceRoles", "must name each role once");
}

/// The group directly below the root that an app is in; nothing for an app at the root.
fn top_level_group(id: &AppId) -> Option<&str> {
    let (group, _) = id.as_str().strip_prefix('/')?.split_once('/')?;
    Some(group)
}

fn surroundings(spec: &RunSpec, broken: &mut Broken) {
    if let Some(container) = &spec.container {
        let needs_image = container.kind == ContainerKind::Docker;
        let has_image = container.docker.is_some();
        broken.unless(!needs_image || has_image, "/container/docker", "not defined");
        let image = container.docker.as_ref().map(|docker| docker.image.as_str());
        broken.unless(image != Some(""), "/container/docker/image", "must not be empty");
        broken.text(image.unwrap_or_default(), "/container/docker/image");
        if !has_image && !container.volumes.is_empty() {
            let message = "volumes need an image in this version; name one in container.docker.image";
            broken.rule("/container/volumes", message);
        }
        for (at, volume) in container.volumes.iter().enumerate() {
            broken.text(&volume.container_path, &format!("/container/volumes({at})/containerPath"));
            broken.text(&volume.host_path, &format!("/container/volumes({at})/hostPath"));
        }
    }
    networks(spec, broken);
}

fn networks(spec: &RunSpec, broken: &mut Broken) {
    let named = |network: &Network| matches!(network, Network::Named { .. });
    for (at, network) in spec.networks.iter().enumerate() {
        if named(network) {
            let message = "user-defined networks are not supported by this version yet; use \"host\" or \"container/bridge\"";
            broken.rule(format!("/networks({at})"), message);
        }
        if spec.networks.iter().take(at).any(|earlier| earlier == network) {
            broken.rule("/networks", "Duplicate networks are not allowed");
        }
    }
    let differs = |network: &Network| Some(network) != spec.networks.first();
    let is_mixed = spec.networks.iter().any(differs) && !spec.networks.iter().all(named);
    broken.unless(!is_mixed, "/networks", "must be either one host, or one bridge, or container networks");
    if spec.networks.contains(&Network::Bridge) && spec.image().is_none() {
        let message = "bridge networking needs an image in this version; name one in container.docker.image";
        broken.rule("/networks", message);
    }
}

fn ports(spec: &RunSpec, broken: &mut Broken) {
    let definitions = &spec.port_definitions;
    let numbers = definitions.iter().map(|definition| definition.port).filter(|port| *port != 0);
    broken.unless(all_differ(numbers), "/portDefinitions", "Ports must be unique.");
    let names = definitions.iter().filter_map(|definition| definition.name.as_deref());
    broken.unless(all_differ(names), "/portDefinitions", "Port names must be unique.");
    for (at, definition) in definitions.iter().enumerate() {
        port_name(definition.name.as_deref(), &format!("/portDefinitions({at})/name"), broken);
    }
    let Some(container) = &spec.container else { return };
    let mappings = &container.port_mappings;
    let names = mappings.iter().filter_map(|mapping| mapping.name.as_deref());
    broken.unless(all_differ(names), "/container/portMappings", "Port names must be unique.");
    let host_ports = mappings.iter().filter_map(|mapping| mapping.host_port).filter(|port| *port != 0);
    broken.unless(all_differ(host_ports), "/container/portMappings", "Host ports must be unique.");
    let networks: BTreeSet<&str> = spec
        .networks
        .iter()
        .filter_map(|network| match network {
            Network::Named { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    for (at, mapping) in mappings.iter().enumerate() {
        let path = format!("/container/portMappings({at})");
        port_name(mapping.name.as_deref(), &format!("{path}/name"), broken);
        if !mapping.network_names.iter().all(|name| networks.contains(name.as_str())) {
            let known: Vec<&str> = networks.iter().copied().collect();
            broken.rule(format!("{path}/networkNames"), format!("is not one of ({})", known.join(",")));
        }
    }
}

/// `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`. Source: spec 2.1, `portDefinitions`.
fn port_name(name: Option<&str>, path: &str, broken: &mut Broken) {
    let Some(name) = name else { return };
    let is_good = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    broken.unless(is_good, path, "must match lower case letters, digits and inner hyphens");
}

fn all_differ<T: Ord>(values: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    values.into_iter().all(|value| seen.insert(value))
}

fn health_check(spec: &RunSpec, check: &HealthCheck, path: &str, broken: &mut Broken) {
    let is_mesos = matches!(
        check.protocol,
        HealthProtocol::MesosHttp | HealthProtocol::MesosHttps | HealthProtocol::MesosTcp
    );
    if matches!(check.protocol, HealthProtocol::Https | HealthProtocol::MesosHttps) {
        let message = "HTTPS checks are not supported by this version yet; use HTTP, TCP or COMMAND";
        broken.rule(format!("{path}/protocol"), message);
    }
    let is_command = check.protocol == HealthProtocol::Command;
    broken.unless(
        is_command == check.command.is_some(),
        &format!("{path}/command"),
        "must be given with protocol COMMAND and only there",
    );
    broken.text(check.command.as_deref().unwrap_or_default(), &format!("{path}/command"));
    if !is_command && check.port.is_none() {
        let index = usize::try_from(check.port_index.unwrap_or(0)).unwrap_or(usize::MAX);
        let message = "Health check port indices must address an element of the ports array or container port mappings.";
        broken.unless(index < spec.service_ports().len(), path, message);
    }
    let http_path = check.path.as_deref().unwrap_or_default();
    let is_sendable = !http_path.bytes().any(|b| b.is_ascii_control() || b == b' ');
    broken.unless(is_sendable, &format!("{path}/path"), "must not contain spaces or control characters");
    broken.unless(!check.interval.is_zero(), &format!("{path}/intervalSeconds"), "must be at least 1");
    broken.unless(!check.timeout.is_zero(), &format!("{path}/timeoutSeconds"), "must be at least 1");
    let is_docker = spec.container.as_ref().is_some_and(|inner| inner.kind == ContainerKind::Docker);
    broken.unless(
        !check.ipv6 || (is_docker && is_mesos),
        path,
        "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
    );
}

fn health_checks(spec: &RunSpec, broken: &mut Broken) {
    let is_mesos = |check: &&HealthCheck| check.protocol.as_str().starts_with("MESOS_");
    broken.unless(
        spec.health_checks.iter().filter(is_mesos).count() <= 1,
        "/healthChecks",
        "AppDefinition can contain at most one Mesos health check",
    );
}

fn policies(spec: &RunSpec, broken: &mut Broken) {
    let upgrade = spec.upgrade;
    let shares = [
        (upgrade.minimum_health_capacity, "/upgradeStrategy/minimumHealthCapacity"),
        (upgrade.maximum_over_capacity, "/upgradeStrategy/maximumOverCapacity"),
    ];
    for (share, path) in shares {
        broken.unless(share <= Millionths::ONE, path, "must be between 0 and 1");
    }
    broken.unless(spec.backoff.factor >= Millionths::ONE, "/backoffFactor", "must be at least 1");
    if let UnreachableStrategy::After { inactive, expunge } = spec.unreachable
        && inactive > expunge
    {
        let (inactive, expunge) = (inactive.as_secs(), expunge.as_secs());
        broken.rule(
            "/unreachableStrategy",
            format!(
                "inactiveAfterSeconds ({inactive}) must be less or equal to expungeAfterSeconds, which is {expunge}"
            ),
        );
    }
}

/// Labels that Marathon gives a meaning. Source: spec 2.1, `instances`, `labels`, `upgradeStrategy`.
fn labels(spec: &RunSpec, broken: &mut Broken) {
    let labels: &BTreeMap<String, String> = &spec.labels;
    if labels.get(SINGLE_INSTANCE).is_some_and(|value| value == "true") {
        broken.unless(spec.instances <= 1, "/instances", "Single instance app may only have one instance");
        let zero = Millionths(0);
        let upgrade = spec.upgrade;
        let goes_first = upgrade.minimum_health_capacity == zero && upgrade.maximum_over_capacity == zero;
        let message = "a single instance app needs minimumHealthCapacity 0 and maximumOverCapacity 0";
        broken.unless(goes_first, "/upgradeStrategy", message);
    }
    if let Some(version) = labels.get("DCOS_MIGRATION_API_VERSION") {
        broken.unless(version == "v1", "/labels/DCOS_MIGRATION_API_VERSION", "must be v1");
        for needed in ["DCOS_PACKAGE_FRAMEWORK_NAME", "DCOS_MIGRATION_API_PATH"] {
            let path = format!("/labels/{needed}");
            broken.unless(
                labels.contains_key(needed),
                &path,
                "must be given with DCOS_MIGRATION_API_VERSION",
            );
        }
    }
}

fn constraints(spec: &RunSpec, broken: &mut Broken) {
    // Those beyond the bound are not looked at: each may hold a pattern to be compiled.
    for (at, constraint) in spec.constraints.iter().take(CONSTRAINTS_MAX).enumerate() {
        if let Some(message) = constraint_fault(constraint) {
            broken.rule(format!("/constraints({at})"), message);
        }
    }
}

/// What is wrong with the form of one constraint. Source: spec 4.2, 4.4.
fn constraint_fault(constraint: &Constraint) -> Option<String> {
    if constraint.field.is_empty() {
        return Some("illegal constraint specification".to_owned());
    }
    if constraint.field.len() > ATTRIBUTE_NAME_BYTES_MAX {
        return Some(format!(
            "'{}' is longer than {ATTRIBUTE_NAME_BYTES_MAX} bytes; no agent has an attribute of that name",
            shortened(&constraint.field)
        ));
    }
    let operand = constraint.operand.as_deref();
    // A pattern has a bound of its own.
    if !constraint.operator.takes_pattern()
        && operand.is_some_and(|value| value.len() > ATTRIBUTE_VALUE_BYTES_MAX)
    {
        return Some(format!(
            "'{}' is longer than {ATTRIBUTE_VALUE_BYTES_MAX} bytes; no agent has such a value",
            shortened(operand.unwrap_or_default())
        ));
    }
    let is_int = |text: &str| text.parse::<i32>().is_ok();
    let (holds, message) = match constraint.operator {
        Operator::Unique => (operand.is_none(), "UNIQUE does not accept a value"),
        Operator::Cluster => (true, ""),
        Operator::Like | Operator::Unlike => match operand.map(Pattern::parse) {
            Some(Ok(_)) => (true, ""),
            Some(Err(error)) => return Some(format!("'{}' {error}", shortened(operand.unwrap_or_default()))),
            None => (false, "LIKE and UNLIKE require a non-empty, regular expression value"),
        },
        Operator::GroupBy => {
            (operand.is_none_or(is_int), "GROUP BY must define an integer value or else no value at all")
        }
        Operator::MaxPer => (operand.is_some_and(is_int), "MAX_PER requires an integer value"),
        Operator::Is => (
            operand.unwrap_or_default().bytes().all(|b| b.is_ascii_alphanumeric() || b"_/.-".contains(&b)),
            "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
        ),
    };
    (!holds).then(|| message.to_owned())
}

/// As much of what was given as people need to find it again.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if start.len() < text.len() { format!("{start}...") } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_beyond_the_bound_are_not_even_compiled() {
        let hard = |at: usize| Constraint {
            field: "rack".to_owned(),
            operator: Operator::Like,
            operand: Some(format!(r"(?:\w{{50}}){{8}}{at}")),
        };
        let spec = RunSpec { constraints: (0..100_000).map(hard).collect(), ..RunSpec::default() };
        let mut broken = Broken(Vec::new());
        constraints(&spec, &mut broken);
        assert_eq!(broken.0.len(), CONSTRAINTS_MAX);
        let long = Constraint { operand: Some("(".repeat(4_000)), ..hard(0) };
        assert!(constraint_fault(&long).unwrap().len() < 200);
    }

    #[test]
    fn texts_of_constraints_are_no_longer_than_what_agents_have() {
        let rule = |field: usize, operator, operand: usize| Constraint {
            field: "f".repeat(field),
            operator,
            operand: Some("v".repeat(operand)),
        };
        let (name, value) = (ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_VALUE_BYTES_MAX);
        assert_eq!(constraint_fault(&rule(name, Operator::Is, value)), None);
        assert_eq!(constraint_fault(&rule(name, Operator::Like, value + 1)), None);
        for wrong in [rule(name + 1, Operator::Is, 1), rule(500_000, Operator::Like, 1)] {
            assert!(constraint_fault(&wrong).is_some_and(|it| it.contains("no agent has") && it.len() < 200));
        }
        for wrong in [rule(1, Operator::Is, value + 1), rule(1, Operator::Cluster, 500_000)] {
            assert!(constraint_fault(&wrong).is_some_and(|it| it.contains("such a value") && it.len() < 200));
        }
    }
    use crate::domain::{Container, DockerImage, PortMapping, Volume};

    fn spec() -> RunSpec {
        RunSpec { cmd: Some("sleep 100".to_owned()), ..RunSpec::default() }
    }

    /// A good spec changed by `change` breaks rules at exactly these paths.
    #[track_caller]
    fn check(change: impl FnOnce(&mut RunSpec), paths: &[&str]) {
        let mut spec = spec();
        change(&mut spec);
        let broken = run_spec(&AppId::parse("/web").unwrap(), &spec);
        let found: Vec<&str> = broken.iter().map(|violation| violation.path.as_str()).collect();
        assert_eq!(found, paths, "{broken:?}");
    }

    fn image() -> Option<Container> {
        let docker = Some(DockerImage { image: "web:1".to_owned(), ..DockerImage::default() });
        Some(Container { docker, ..Container::default() })
    }

    #[test]
    fn something_must_run_and_only_one_thing() {
        check(|_| {}, &[]);
        check(|spec| spec.cmd = None, &["/"]);
        check(|spec| spec.args = vec!["x".to_owned()], &["/"]);
        check(|spec| (spec.cmd, spec.container) = (None, image()), &[]);
    }

    #[test]
    fn texts_must_be_ones_that_a_kernel_takes() {
        check(|spec| spec.cmd = Some("a\0b".to_owned()), &["/cmd"]);
        check(|spec| spec.user = Some(String::new()), &["/user"]);
        check(|spec| spec.env = [("A=B".to_owned(), "x".to_owned())].into(), &["/env/A=B"]);
        check(|spec| spec.env = [(String::new(), "x".to_owned())].into(), &["/env/"]);
        check(|spec| spec.env = [("A".to_owned(), "x".repeat(TEXT_BYTES_MAX + 1))].into(), &["/env/A"]);
    }

    #[test]
    fn graphics_processors_do_not_go_with_docker() {
        let one = Scalar::from_thousandths(1000);
        check(|spec| spec.gpus = one, &[]);
        check(|spec| (spec.gpus, spec.container) = (one, image()), &["/gpus"]);
    }

    #[test]
    fn networks_and_volumes_need_what_they_work_with() {
        check(|spec| spec.networks = vec![Network::Bridge], &["/networks"]);
        check(|spec| (spec.networks, spec.container) = (vec![Network::Bridge], image()), &[]);
        let mixed = || vec![Network::Host, Network::Bridge];
        check(|spec| (spec.networks, spec.container) = (mixed(), image()), &["/networks"]);
        let volumes = vec![Volume::default()];
        let bare = Container { kind: ContainerKind::Mesos, volumes, ..Container::default() };
        check(|spec| spec.container = Some(bare), &["/container/volumes"]);
    }

    #[test]
    fn mappings_differ_in_name_and_host_port_and_name_known_networks() {
        let mapping = |host_port, name: &str| PortMapping {
            host_port: Some(host_port),
            name: Some(name.to_owned()),
            ..PortMapping::default()
        };
        let bridged = |spec: &mut RunSpec, mappings: Vec<PortMapping>| {
            spec.networks = vec![Network::Bridge];
            spec.container = image().map(|inner| Container { port_mappings: mappings, ..inner });
        };
        check(|spec| bridged(spec, vec![mapping(0, "a"), mapping(0, "b")]), &[]);
        let at = "/container/portMappings";
        check(|spec| bridged(spec, vec![mapping(80, "a"), mapping(80, "b")]), &[at]);
        check(|spec| bridged(spec, vec![mapping(80, "a"), mapping(81, "a")]), &[at]);
        check(|spec| bridged(spec, vec![mapping(80, "A")]), &["/container/portMappings(0)/name"]);
        let stranger = PortMapping { network_names: vec!["x".to_owned()], ..PortMapping::default() };
        check(|spec| bridged(spec, vec![stranger]), &["/container/portMappings(0)/networkNames"]);
    }

    #[test]
    fn an_app_runs_for_everybody_or_for_its_top_level_group() {
        #[track_caller]
        fn check(id: &str, role: &str, accepted: &[&str], wanted: &[&str]) {
            let accepted_resource_roles = accepted.iter().map(|role| (*role).to_owned()).collect();
            let spec = RunSpec { role: role.to_owned(), accepted_resource_roles, ..spec() };
            let broken = run_spec(&AppId::parse(id).unwrap(), &spec);
            let found: Vec<String> = broken.iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            assert!(found.iter().zip(wanted).all(|(found, wanted)| found.contains(wanted)), "{found:?}");
        }
        check("/db/one", "db", &[], &[]);
        check("/db/deep/one", "db", &["db", "*"], &[]);
        check("/db/one", "*", &["*"], &[]);
        check("/db/one", "ml", &[], &["is not one of (*,db)"]);
        check("/db", "db", &[], &["is not one of (*)"]);
        check("/db/one", "*", &["db"], &["acceptedResourceRoles can only contain * and *"]);
        check("/db/one", "db", &["*", "ml"], &["acceptedResourceRoles can only contain * and db"]);
        check("/db/one", "db", &["db", "db"], &["must name each role once"]);
    }

    #[test]
    fn an_app_does_not_wait_for_itself() {
        check(|spec| spec.dependencies = ["/web".to_owned()].into(), &["/"]);
        check(|spec| spec.dependencies = ["/db".to_owned()].into(), &[]);
    }
}
