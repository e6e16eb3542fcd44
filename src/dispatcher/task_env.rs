//! The environment that a task sees. Source: spec 3.2. Pure.

use std::collections::BTreeMap;

use crate::domain::{RunSpec, Scalar};
use crate::state::{InstanceRow, TaskRow};

/// Longest `MARATHON_APP_LABEL_...` name, prefix included, and longest value.
const LABEL_BYTES_MAX: usize = 512;
const LABEL_PREFIX: &str = "MARATHON_APP_LABEL_";

/// Later entries override earlier ones: context, ports, the user's own.
pub(super) fn environment(row: &InstanceRow, task: &TaskRow, spec: &RunSpec) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("MESOS_TASK_ID", task.id.to_string());
    set("MARATHON_APP_ID", row.app.to_string());
    set("MARATHON_APP_VERSION", row.version.to_string());
    if let Some(image) = spec.docker_image() {
        set("MARATHON_APP_DOCKER_IMAGE", image.to_owned());
    }
    set("MARATHON_APP_RESOURCE_CPUS", decimal(spec.cpus));
    set("MARATHON_APP_RESOURCE_MEM", decimal(spec.mem));
    set("MARATHON_APP_RESOURCE_DISK", decimal(spec.disk));
    set("MARATHON_APP_RESOURCE_GPUS", (spec.gpus.thousandths() / 1000).to_string());
    set("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE".to_owned());
    set("HOST", task.hostname.clone());
    add_labels(&mut env, spec);
    add_ports(&mut env, &ports(spec, &task.ports));
    env.extend(spec.env.clone());
    env
}

/// Always with a fraction: `0.1`, `128.0`.
fn decimal(amount: Scalar) -> String {
    let text = amount.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}

fn add_labels(env: &mut BTreeMap<String, String>, spec: &RunSpec) {
    let short = |(key, value): &(&String, &String)| {
        key.len() < LABEL_BYTES_MAX - LABEL_PREFIX.len() && value.len() < LABEL_BYTES_MAX
    };
    let labels: Vec<(String, &String)> =
        spec.labels.iter().filter(short).map(|(key, value)| (label_name(key), value)).collect();
    let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    env.insert("MARATHON_APP_LABELS".to_owned(), names.join(" "));
    env.extend(labels.iter().map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), (*value).clone())));
}

/// Runs of other characters become one `_`, letters upper case.
fn label_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for c in key.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            name.push(c.to_ascii_uppercase());
        } else if !name.ends_with('\u{0}') {
            name.push('\u{0}');
        }
    }
    name.replace('\u{0}', "_")
}

/// One port that the task learns of.
struct KnownPort {
    /// Number in the definition; 0 when none was asked for.
    declared: u16,
    name: Option<String>,
    /// Number the task uses.
    assigned: u16,
    on_host: bool,
}

fn ports(spec: &RunSpec, host_ports: &[u16]) -> Vec<KnownPort> {
    let mut next = host_ports.iter().copied();
    if spec.is_host_network() {
        let definitions = spec.port_definitions.iter().zip(next);
        return definitions
            .map(|(definition, assigned)| KnownPort {
                declared: definition.port,
                name: definition.name.clone(),
                assigned,
                on_host: true,
            })
            .collect();
    }
    let mappings = spec.container.iter().flat_map(|container| &container.port_mappings);
    mappings
        .filter_map(|mapping| {
            let on_host = mapping.host_port.is_some();
            let assigned = if on_host { next.next()? } else { mapping.container_port };
            Some(KnownPort {
                declared: mapping.container_port,
                name: mapping.name.clone(),
                assigned,
                on_host,
            })
        })
        .collect()
}

fn add_ports(env: &mut BTreeMap<String, String>, ports: &[KnownPort]) {
    for (at, port) in ports.iter().enumerate() {
        env.insert(format!("PORT{at}"), port.assigned.to_string());
        let declared = if port.declared == 0 { port.assigned } else { port.declared };
        env.insert(format!("PORT_{declared}"), port.assigned.to_string());
        if let Some(name) = &port.name {
            env.insert(format!("PORT_{}", name.to_uppercase()), port.assigned.to_string());
        }
    }
    let on_host = ports.iter().filter(|port| port.on_host);
    let inside = ports.iter().filter(|port| !port.on_host);
    let all: Vec<String> = on_host.chain(inside).map(|port| port.assigned.to_string()).collect();
    if let Some(first) = all.first() {
        env.insert("PORT".to_owned(), first.clone());
        env.insert("PORTS".to_owned(), all.join(","));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PortDefinition, Transport};

    fn spec(definitions: &[(u16, Option<&str>)]) -> RunSpec {
        let definition = |(port, name): &(u16, Option<&str>)| PortDefinition {
            port: *port,
            transport: Transport::Tcp,
            name: name.map(str::to_owned),
            ..PortDefinition::default()
        };
        RunSpec { port_definitions: definitions.iter().map(definition).collect(), ..RunSpec::default() }
    }

    #[track_caller]
    fn check(definitions: &[(u16, Option<&str>)], assigned: &[u16], wanted: &[(&str, &str)]) {
        let mut env = BTreeMap::new();
        add_ports(&mut env, &ports(&spec(definitions), assigned));
        for (name, value) in wanted {
            assert_eq!(env.get(*name).map(String::as_str), Some(*value), "{name}");
        }
        assert!(!env.contains_key("PORT_0"));
    }

    #[test]
    fn ports_appear_under_every_name_that_tasks_look_for() {
        check(
            &[(0, None), (0, None)],
            &[1001, 1002],
            &[("PORT", "1001"), ("PORT0", "1001"), ("PORT1", "1002")],
        );
        check(&[(80, None), (8080, None)], &[1001, 1002], &[("PORT_80", "1001"), ("PORT_8080", "1002")]);
        check(
            &[(80, Some("http")), (8080, None), (443, Some("https"))],
            &[1001, 1002, 1003],
            &[
                ("PORT_HTTP", "1001"),
                ("PORT_HTTPS", "1003"),
                ("PORT_443", "1003"),
                ("PORTS", "1001,1002,1003"),
            ],
        );
    }

    #[test]
    fn no_ports_give_no_port_variables() {
        let mut env = BTreeMap::new();
        add_ports(&mut env, &ports(&spec(&[]), &[]));
        assert!(env.is_empty());
    }

    #[test]
    fn label_names_are_made_fit_for_an_environment() {
        assert_eq!(label_name("a.b--c_d"), "A_B_C_D");
        assert_eq!(decimal(Scalar::from_thousandths(128_000)), "128.0");
        assert_eq!(decimal(Scalar::from_thousandths(100)), "0.1");
    }
}
