//! Networks and ports of a definition, old forms brought into today's. Source: spec 2.3, 2.5, 10.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::reader::{Fields, Item, Problems, whole_at};
use super::container::{self, ContainerDraft, LegacyNetwork, PORT_MAX};
use crate::domain::{Container, ContainerKind, Network, PortDefinition, PortMapping};

/// Name under which old clients mean the bridge. Source: spec 1.9, `mesos_bridge_name`.
const BRIDGE_NAME: &str = "mesos-bridge";
/// Longest name of a network. Source: spec 2.5.
const NETWORK_NAME_CHARS_MAX: usize = 63;
/// Said when a container network has no name.
const NAME_MISSING: &str = "Network name must be specified when container network is selected.";

/// What surrounds the process, in today's form.
pub(super) struct Surroundings {
    pub(super) container: Option<Container>,
    pub(super) networks: Vec<Network>,
    pub(super) port_definitions: Vec<PortDefinition>,
    pub(super) require_ports: bool,
}

/// The old way to ask for a network of one's own.
struct IpAddress {
    network_name: Option<String>,
    labels: BTreeMap<String, String>,
    discovery: Option<Vec<PortMapping>>,
}

/// Reads container, networks and ports, which depend on each other.
pub(super) fn read(fields: &mut Fields) -> Surroundings {
    let draft = container::read(fields);
    let networks = read_networks(fields).filter(|networks| !networks.is_empty());
    let ip_address = read_ip_address(fields);
    let definitions = read_definitions(fields, ip_address.is_some());
    let require_ports = fields.flag("requirePorts").unwrap_or_default();
    refuse_mixtures(fields, draft.as_ref(), networks.is_some(), ip_address.as_ref());

    let networks = match networks {
        Some(networks) => networks,
        None => vec![legacy_network(fields, draft.as_ref(), ip_address.as_ref())],
    };
    if networks.contains(&Network::Host) {
        // Port mappings say nothing on the host's network; Marathon drops them.
        let container = draft.map(|draft| draft.container);
        let port_definitions = definitions.unwrap_or_else(|| vec![default_definition()]);
        return Surroundings { container, networks, port_definitions, require_ports };
    }
    let is_bridge = networks.contains(&Network::Bridge);
    let container = with_mappings(draft, ip_address, is_bridge);
    Surroundings { container: Some(container), networks, port_definitions: Vec::new(), require_ports: false }
}

/// The container with its ports; one is made up where a network needs one.
fn with_mappings(draft: Option<ContainerDraft>, ip_address: Option<IpAddress>, is_bridge: bool) -> Container {
    let (mut container, mappings) = match draft {
        Some(draft) => (draft.container, draft.mappings),
        None => (Container { kind: ContainerKind::Mesos, ..Container::default() }, None),
    };
    let discovered = ip_address.and_then(|ip_address| ip_address.discovery);
    let mut mappings = mappings.or(discovered).unwrap_or_else(|| vec![container::default_mapping()]);
    if is_bridge {
        for mapping in &mut mappings {
            mapping.host_port.get_or_insert(0);
        }
    }
    container.port_mappings = mappings;
    container
}

fn read_networks(fields: &mut Fields) -> Option<Vec<Network>> {
    let items = fields.list("networks")?;
    Some(items.iter().filter_map(|item| read_network(item, fields.problems())).collect())
}

fn read_network(item: &Item, problems: &Problems) -> Option<Network> {
    let mut inner = Fields::open(item.value, item.path.clone(), problems)?;
    let mode = inner.choice("mode", |word| {
        let word = word.to_ascii_lowercase();
        ["host", "container/bridge", "container"].into_iter().find(|mode| *mode == word)
    });
    // A wrong mode was noted; what follows would only be noise.
    let mode =
        if mode.is_none() && inner.value("mode").is_some() { "wrong" } else { mode.unwrap_or("container") };
    let name = inner.text("name");
    if name.as_ref().is_some_and(|name| !is_network_name(name)) {
        inner.fault("name", "error.pattern");
    }
    let labels = inner.text_map("labels").unwrap_or_default();
    let network = match (mode, name) {
        ("host", None) if labels.is_empty() => Some(Network::Host),
        ("host", _) => {
            problems.semantic(inner.here(), "Host networks may not have names or labels");
            Some(Network::Host)
        }
        ("container/bridge", None) if labels.is_empty() => Some(Network::Bridge),
        ("container/bridge", None) => {
            inner.refuse(
                "labels",
                "labels of bridge networks are not supported by this version yet; remove them",
            );
            Some(Network::Bridge)
        }
        ("container/bridge", Some(_)) => {
            inner.refuse("name", "Bridge networks may not have names");
            Some(Network::Bridge)
        }
        ("container", Some(name)) => Some(Network::Named { name, labels }),
        ("container", None) => {
            problems.semantic(inner.here(), NAME_MISSING);
            Some(Network::Bridge)
        }
        _ => None,
    };
    inner.finish();
    network
}

fn is_network_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= NETWORK_NAME_CHARS_MAX
        && name.bytes().next().is_some_and(inner)
        && name.bytes().last().is_some_and(inner)
        && name.bytes().all(|b| inner(b) || b == b'-' || b == b'_')
}

fn read_ip_address(fields: &mut Fields) -> Option<IpAddress> {
    let mut inner = fields.object("ipAddress")?;
    let network_name = inner.text("networkName");
    let labels = inner.text_map("labels").unwrap_or_default();
    inner.skip(&["groups"]);
    let discovery = inner.object("discovery").and_then(|mut discovery| {
        let ports = discovery.list("ports");
        let problems = discovery.problems();
        discovery.finish();
        Some(ports?.iter().filter_map(|item| container::read_discovery(item, problems)).collect())
    });
    inner.finish();
    Some(IpAddress { network_name, labels, discovery })
}

/// Port definitions of either form; nothing when neither is there.
fn read_definitions(fields: &mut Fields, has_ip_address: bool) -> Option<Vec<PortDefinition>> {
    let definitions = fields.list("portDefinitions").map(|items| {
        items.iter().filter_map(|item| read_definition(item, fields.problems())).collect::<Vec<_>>()
    });
    let ports = read_ports(fields);
    let is_filled = definitions.as_ref().is_some_and(|list: &Vec<_>| !list.is_empty())
        || ports.as_ref().is_some_and(|ports| !ports.is_empty());
    if has_ip_address && is_filled {
        fields.problems().semantic(fields.here(), "cannot specify both an IP address and port");
    }
    let Some(definitions) = definitions else { return ports.map(|ports| definitions_of(&ports)) };
    let numbers = definitions.iter().map(|definition| definition.port);
    let differ = ports.is_some_and(|ports| !numbers.eq(ports));
    // What we gave out and got back half edited carries our version; the newer form counts then.
    if differ && !is_given_back(fields) {
        fields.problems().semantic(fields.here(), "cannot specify both ports and port definitions");
    }
    Some(definitions)
}

fn is_given_back(fields: &mut Fields) -> bool {
    fields.value("version").or(fields.value("versionInfo")).is_some()
}

fn read_ports(fields: &mut Fields) -> Option<Vec<u16>> {
    let items = fields.list("ports")?;
    let whole = |item: &Item| whole_at(item.value, &item.path, (0, PORT_MAX), fields.problems());
    let ports: Vec<u16> =
        items.iter().filter_map(whole).filter_map(|port| u16::try_from(port).ok()).collect();
    let mut seen = BTreeSet::new();
    if !ports.iter().filter(|port| **port != 0).all(|port| seen.insert(*port)) {
        fields.refuse("ports", "ports must be unique");
    }
    Some(ports)
}

fn read_definition(item: &Item, problems: &Problems) -> Option<PortDefinition> {
    let mut inner = Fields::open(item.value, item.path.clone(), problems)?;
    let definition = PortDefinition {
        port: container::port(&mut inner, "port").unwrap_or_default(),
        transport: container::transport(&mut inner),
        name: inner.text("name"),
        labels: inner.text_map("labels").unwrap_or_default(),
    };
    inner.finish();
    Some(definition)
}

/// Definitions from the old list of numbers: no names.
fn definitions_of(ports: &[u16]) -> Vec<PortDefinition> {
    ports.iter().map(|port| PortDefinition { port: *port, ..PortDefinition::default() }).collect()
}

/// The definition of an app that says nothing of ports. Source: spec 2.1.
fn default_definition() -> PortDefinition {
    PortDefinition { name: Some("default".to_owned()), ..PortDefinition::default() }
}

/// Old and new forms at once, which could contradict each other.
fn refuse_mixtures(
    fields: &Fields,
    draft: Option<&ContainerDraft>,
    has_networks: bool,
    ip_address: Option<&IpAddress>,
) {
    let whole = |message| fields.problems().semantic(fields.here(), message);
    if has_networks && draft.is_some_and(|draft| draft.network.is_some()) {
        whole("must not specify both container.docker.network and networks");
    }
    if has_networks && ip_address.is_some() {
        whole("must not specify both networks and ipAddress");
    }
    let is_docker = draft.is_some_and(|draft| draft.container.kind == ContainerKind::Docker);
    let discovers = ip_address.and_then(|ip| ip.discovery.as_ref()).is_some_and(|ports| !ports.is_empty());
    if is_docker && discovers {
        fields.refuse("ipAddress/discovery", "ipAddress/discovery is not allowed for Docker containers");
    }
}

/// The network that the old forms mean, the host's when they say nothing.
fn legacy_network(
    fields: &Fields,
    draft: Option<&ContainerDraft>,
    ip_address: Option<&IpAddress>,
) -> Network {
    match (draft.and_then(|draft| draft.network), ip_address) {
        (Some(LegacyNetwork::Host), _) | (None, None) => Network::Host,
        (Some(LegacyNetwork::Bridge), _) => Network::Bridge,
        (Some(LegacyNetwork::None), _) => {
            fields.refuse("container/docker/network", "network NONE is not supported; use HOST or BRIDGE");
            Network::Host
        }
        (Some(LegacyNetwork::User) | None, ip_address) => {
            let name = ip_address.and_then(|ip_address| ip_address.network_name.clone());
            match name {
                Some(name) if name == BRIDGE_NAME => Network::Bridge,
                Some(name) => {
                    let labels = ip_address.map(|ip_address| ip_address.labels.clone()).unwrap_or_default();
                    Network::Named { name, labels }
                }
                None => {
                    fields.refuse("networks", NAME_MISSING);
                    Network::Bridge
                }
            }
        }
    }
}

/// Numbers of a list of ports or port definitions in a body, for comparing.
pub(super) fn numbers(list: &Value) -> Option<Vec<u64>> {
    let number = |item: &Value| match item {
        Value::Object(map) => map.get("port").map_or(Some(0), Value::as_u64),
        _ => item.as_u64(),
    };
    list.as_array()?.iter().map(number).collect()
}
