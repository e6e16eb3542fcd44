//! A definition as JSON: today's form, with `ports` and `uris` beside it for old clients.
//! Source: spec 2.1 (column Emit), 2.2, 13.2.

use serde_json::{Map, Value, json};

use super::super::decode::into_map;
use super::super::number::{millionths, scalar};
use super::{health, placement};
use crate::domain::{
    AppId, AppVersion, Constraint, Container, ContainerKind, DeploymentId, KillSelection, Network,
    PortDefinition, PortMapping, RunSpec, SpecVersion, UnreachableStrategy, Volume,
};

/// The bare app: what `versions/{version}` gives, and the ground of every other answer.
pub fn app_json(id: &AppId, app: &AppVersion) -> Map<String, Value> {
    let mut map = with_legacy(id, &app.spec);
    // Each accepted change moves one of the two or both, so the later one is the version.
    let version = app.last_scaling.max(app.last_config_change);
    map.insert("version".to_owned(), json!(version.to_string()));
    map.insert(
        "versionInfo".to_owned(),
        json!({
            "lastScalingAt": app.last_scaling.to_string(),
            "lastConfigChangeAt": app.last_config_change.to_string(),
        }),
    );
    map
}

/// The answer to a POST: as sent, before service ports are assigned, without `versionInfo`.
pub fn created_json(id: &AppId, spec: &RunSpec, version: SpecVersion, deployment: &DeploymentId) -> Value {
    let mut map = with_legacy(id, spec);
    map.insert("version".to_owned(), json!(version.to_string()));
    for count in ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"] {
        map.insert(count.to_owned(), json!(0));
    }
    map.insert("deployments".to_owned(), json!([{"id": deployment.as_str()}]));
    Value::Object(map)
}

fn with_legacy(id: &AppId, spec: &RunSpec) -> Map<String, Value> {
    let mut map = canonical(spec);
    map.insert("id".to_owned(), json!(id.as_str()));
    map.insert("ports".to_owned(), json!(spec.service_ports()));
    map.insert("uris".to_owned(), json!([]));
    map
}

/// A spec in today's form alone, without id and version.
pub(super) fn canonical(spec: &RunSpec) -> Map<String, Value> {
    let mut map = into_map(json!({
        "args": spec.args,
        "env": spec.env,
        "instances": spec.instances,
        "cpus": scalar(spec.cpus),
        "mem": scalar(spec.mem),
        "disk": scalar(spec.disk),
        "gpus": scalar(spec.gpus),
        "executor": spec.executor,
        "constraints": spec.constraints.iter().map(constraint).collect::<Vec<_>>(),
        "role": spec.role,
        "networks": spec.networks.iter().map(network).collect::<Vec<_>>(),
        "requirePorts": spec.require_ports,
        "backoffSeconds": spec.backoff.initial.as_secs(),
        "backoffFactor": millionths(spec.backoff.factor),
        "maxLaunchDelaySeconds": spec.backoff.max.as_secs(),
        "healthChecks": spec.health_checks.iter().map(health::write).collect::<Vec<_>>(),
        "dependencies": spec.dependencies,
        "upgradeStrategy": {
            "minimumHealthCapacity": millionths(spec.upgrade.minimum_health_capacity),
            "maximumOverCapacity": millionths(spec.upgrade.maximum_over_capacity),
        },
        "labels": spec.labels,
        "killSelection": kill_selection(spec.kill_selection),
        "unreachableStrategy": unreachable(spec.unreachable),
        "fetch": [],
        "readinessChecks": [],
    }));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    let is_host = spec.is_host_network();
    put("cmd", spec.cmd.as_ref().map(|cmd| json!(cmd)));
    put("user", spec.user.as_ref().map(|user| json!(user)));
    put("container", spec.container.as_ref().map(|inner| container(inner, is_host)));
    let roles = &spec.accepted_resource_roles;
    put("acceptedResourceRoles", (!roles.is_empty()).then(|| json!(roles)));
    put("placement", spec.placement.as_ref().map(placement::write));
    put("taskKillGracePeriodSeconds", spec.kill_grace.map(|grace| json!(grace.as_secs())));
    put("tty", spec.tty.then_some(Value::Bool(true)));
    let definitions = || spec.port_definitions.iter().map(port_definition).collect();
    put("portDefinitions", is_host.then(definitions));
    map
}

fn constraint(constraint: &Constraint) -> Value {
    match &constraint.operand {
        Some(operand) => json!([constraint.field, constraint.operator.as_str(), operand]),
        None => json!([constraint.field, constraint.operator.as_str()]),
    }
}

fn network(network: &Network) -> Value {
    match network {
        Network::Host => json!({"mode": "host"}),
        Network::Bridge => json!({"mode": "container/bridge"}),
        Network::Named { name, labels } if labels.is_empty() => json!({"mode": "container", "name": name}),
        Network::Named { name, labels } => json!({"mode": "container", "name": name, "labels": labels}),
    }
}

fn port_definition(definition: &PortDefinition) -> Value {
    let mut map = into_map(json!({"port": definition.port, "protocol": definition.transport.as_str()}));
    if let Some(name) = &definition.name {
        map.insert("name".to_owned(), json!(name));
    }
    if !definition.labels.is_empty() {
        map.insert("labels".to_owned(), json!(definition.labels));
    }
    Value::Object(map)
}

fn container(container: &Container, is_host: bool) -> Value {
    let kind = match container.kind {
        ContainerKind::Docker => "DOCKER",
        ContainerKind::Mesos => "MESOS",
    };
    let volumes: Vec<Value> = container.volumes.iter().map(volume).collect();
    let mut map = into_map(json!({"type": kind, "volumes": volumes}));
    if let Some(docker) = &container.docker {
        let parameters: Vec<Value> =
            docker.parameters.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        map.insert(
            "docker".to_owned(),
            json!({
                "image": docker.image,
                "forcePullImage": docker.force_pull,
                "privileged": docker.privileged,
                "parameters": parameters,
            }),
        );
    }
    if !is_host {
        let mappings = container.port_mappings.iter().map(port_mapping).collect();
        map.insert("portMappings".to_owned(), mappings);
    }
    Value::Object(map)
}

fn volume(volume: &Volume) -> Value {
    json!({
        "containerPath": volume.container_path,
        "hostPath": volume.host_path,
        "mode": if volume.read_only { "RO" } else { "RW" },
    })
}

fn port_mapping(mapping: &PortMapping) -> Value {
    let mut map = into_map(json!({
        "containerPort": mapping.container_port,
        "servicePort": mapping.service_port,
        "protocol": mapping.transport.as_str(),
        "labels": mapping.labels,
    }));
    if let Some(port) = mapping.host_port {
        map.insert("hostPort".to_owned(), json!(port));
    }
    if let Some(name) = &mapping.name {
        map.insert("name".to_owned(), json!(name));
    }
    if !mapping.network_names.is_empty() {
        map.insert("networkNames".to_owned(), json!(mapping.network_names));
    }
    Value::Object(map)
}

fn kill_selection(selection: KillSelection) -> &'static str {
    match selection {
        KillSelection::YoungestFirst => "YOUNGEST_FIRST",
        KillSelection::OldestFirst => "OLDEST_FIRST",
    }
}

fn unreachable(strategy: UnreachableStrategy) -> Value {
    match strategy {
        UnreachableStrategy::Disabled => json!("disabled"),
        UnreachableStrategy::After { inactive, expunge } => json!({
            "inactiveAfterSeconds": inactive.as_secs(),
            "expungeAfterSeconds": expunge.as_secs(),
        }),
    }
}
