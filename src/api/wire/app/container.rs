//! The container of a definition: image, volumes, port mappings. Source: spec 2.4.

use std::collections::BTreeMap;

use super::super::reader::{Fields, Item, Problems};
use crate::domain::{Container, ContainerKind, DockerImage, PortMapping, Transport, Volume};

/// Highest port.
pub(super) const PORT_MAX: u32 = u16::MAX as u32;

/// The word that old clients put into `container.docker.network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LegacyNetwork {
    Host,
    Bridge,
    User,
    None,
}

/// A container as written: ports and network still to be brought into today's form.
pub(super) struct ContainerDraft {
    /// Without its port mappings.
    pub(super) container: Container,
    /// Port mappings of either form; nothing when absent.
    pub(super) mappings: Option<Vec<PortMapping>>,
    /// Network of the old form.
    pub(super) network: Option<LegacyNetwork>,
}

/// Reads `container`.
pub(super) fn read(fields: &mut Fields) -> Option<ContainerDraft> {
    let mut inner = fields.object("container")?;
    let kind = inner
        .choice("type", |word| match word.to_ascii_uppercase().as_str() {
            "DOCKER" => Some(ContainerKind::Docker),
            "MESOS" => Some(ContainerKind::Mesos),
            _ => None,
        })
        .unwrap_or_default();
    let docker = read_docker(&mut inner, kind);
    let mappings = read_mappings(&mut inner);
    let volumes = inner.list("volumes").unwrap_or_default();
    let volumes = volumes.iter().filter_map(|item| read_volume(item, inner.problems())).collect();
    inner.unsupported("linuxInfo", "seccomp and IPC settings are");
    inner.unsupported("appc", "appc images are");

    let (image, legacy_mappings, network) = docker.unwrap_or_default();
    let filled = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if filled(&mappings) && filled(&legacy_mappings) {
        inner.refuse("portMappings", "must not be set together with container.docker.portMappings");
    }
    let mappings = mappings.filter(|list| !list.is_empty() || legacy_mappings.is_none()).or(legacy_mappings);
    inner.finish();
    let container = Container { kind, docker: image, volumes, port_mappings: Vec::new() };
    Some(ContainerDraft { container, mappings, network })
}

type Docker = (Option<DockerImage>, Option<Vec<PortMapping>>, Option<LegacyNetwork>);

fn read_docker(container: &mut Fields, kind: ContainerKind) -> Option<Docker> {
    let mut inner = container.object("docker")?;
    let image = inner.filled_text("image");
    let image = inner.required("image", image);
    let force_pull = inner.flag("forcePullImage").unwrap_or_default();
    let mut privileged = inner.flag("privileged").unwrap_or_default();
    let mut parameters = read_parameters(&mut inner);
    let network = inner.choice("network", |word| match word.to_ascii_uppercase().as_str() {
        "HOST" => Some(LegacyNetwork::Host),
        "BRIDGE" => Some(LegacyNetwork::Bridge),
        "USER" => Some(LegacyNetwork::User),
        "NONE" => Some(LegacyNetwork::None),
        _ => None,
    });
    let mappings = read_mappings(&mut inner);
    inner.unsupported("pullConfig", "pull secrets are");
    inner.unsupported("credential", "registry credentials of an app are");
    if kind == ContainerKind::Mesos && (privileged || !parameters.is_empty()) {
        // Marathon drops both for this type; so do we, aloud.
        inner.problems().warn("only type DOCKER has privileged and parameters, ignored at", inner.here());
        (privileged, parameters) = (false, Vec::new());
    }
    inner.finish();
    let docker = image.map(|image| DockerImage { image, force_pull, privileged, parameters });
    Some((docker, mappings, network))
}

fn read_parameters(docker: &mut Fields) -> Vec<(String, String)> {
    let items = docker.list("parameters").unwrap_or_default();
    let read = |item: &Item| {
        let mut inner = Fields::open(item.value, item.path.clone(), docker.problems())?;
        let key = inner.filled_text("key");
        let key = inner.required("key", key);
        let value = inner.text("value");
        let value = inner.required("value", value);
        inner.finish();
        Some((key?, value?))
    };
    items.iter().filter_map(read).collect()
}

fn read_volume(item: &Item, problems: &Problems) -> Option<Volume> {
    let mut inner = Fields::open(item.value, item.path.clone(), problems)?;
    let container_path = inner.filled_text("containerPath");
    let container_path = inner.required("containerPath", container_path);
    let refused: [(&'static str, &str); 3] = [
        ("persistent", "persistent volumes are"),
        ("external", "external volumes are"),
        ("secret", "secret volumes are"),
    ];
    let mut is_refused = false;
    for (name, what) in refused {
        if inner.value(name).is_some() {
            is_refused = true;
            inner.refuse(name, format!("{what} not supported by this version yet; use a host volume"));
        }
    }
    if is_refused {
        inner.skip(&["hostPath", "mode"]);
        inner.finish();
        return None;
    }
    let host_path = inner.filled_text("hostPath");
    let host_path = inner.required("hostPath", host_path);
    let read_only = inner.choice("mode", |word| match word.to_ascii_uppercase().as_str() {
        "RO" => Some(true),
        "RW" => Some(false),
        _ => None,
    });
    let read_only = inner.required("mode", read_only);
    inner.finish();
    Some(Volume { container_path: container_path?, host_path: host_path?, read_only: read_only? })
}

fn read_mappings(fields: &mut Fields) -> Option<Vec<PortMapping>> {
    let items = fields.list("portMappings")?;
    Some(items.iter().filter_map(|item| read_mapping(item, fields.problems())).collect())
}

fn read_mapping(item: &Item, problems: &Problems) -> Option<PortMapping> {
    let mut inner = Fields::open(item.value, item.path.clone(), problems)?;
    let mapping = PortMapping {
        container_port: port(&mut inner, "containerPort").unwrap_or_default(),
        host_port: port(&mut inner, "hostPort"),
        service_port: port(&mut inner, "servicePort").unwrap_or_default(),
        transport: transport(&mut inner),
        name: inner.text("name"),
        labels: inner.text_map("labels").unwrap_or_default(),
        network_names: inner.texts("networkNames").unwrap_or_default(),
    };
    inner.finish();
    Some(mapping)
}

/// A mapping of the old `ipAddress.discovery`: no host port.
pub(super) fn read_discovery(item: &Item, problems: &Problems) -> Option<PortMapping> {
    let mut inner = Fields::open(item.value, item.path.clone(), problems)?;
    let mapping = PortMapping {
        container_port: port(&mut inner, "number").unwrap_or_default(),
        transport: transport(&mut inner),
        name: inner.text("name"),
        labels: inner.text_map("labels").unwrap_or_default(),
        ..PortMapping::default()
    };
    inner.finish();
    Some(mapping)
}

/// The mapping that a container gets which says nothing of ports. Source: spec 2.3.
pub(super) fn default_mapping() -> PortMapping {
    PortMapping { name: Some("default".to_owned()), labels: BTreeMap::new(), ..PortMapping::default() }
}

/// A port number.
pub(super) fn port(fields: &mut Fields, name: &'static str) -> Option<u16> {
    fields.whole(name, 0, PORT_MAX).and_then(|port| u16::try_from(port).ok())
}

/// `protocol` of a port.
pub(super) fn transport(fields: &mut Fields) -> Transport {
    fields
        .choice("protocol", |word| match word.to_ascii_lowercase().as_str() {
            "tcp" => Some(Transport::Tcp),
            "udp" => Some(Transport::Udp),
            "udp,tcp" | "tcp,udp" => Some(Transport::UdpTcp),
            _ => None,
        })
        .unwrap_or_default()
}
