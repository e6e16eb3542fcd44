//! What surrounds a task: image, volumes, networks, ports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which of Marathon's containerizers the user named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerKind {
    /// `DOCKER`: needs an image.
    #[default]
    Docker,
    /// `MESOS`: with an image it runs in Docker, without one as a process.
    Mesos,
}

/// Container part of a run spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Containerizer named by the user.
    pub kind: ContainerKind,
    /// Image, if any.
    pub docker: Option<DockerImage>,
    /// Host directories seen inside.
    pub volumes: Vec<Volume>,
    /// Ports of the container. Empty with host networking.
    pub port_mappings: Vec<PortMapping>,
}

/// Image and how to run it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DockerImage {
    /// Reference, such as `registry/name:tag`.
    pub image: String,
    /// Pull even when the image is there.
    pub force_pull: bool,
    /// Runs with all capabilities; agents refuse it unless they allow it.
    pub privileged: bool,
    /// Raw `docker run` options; agents refuse them unless they allow it.
    pub parameters: Vec<(String, String)>,
}

/// A host directory mounted into the task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Path inside.
    pub container_path: String,
    /// Path on the host; relative ones lie in the task's sandbox.
    pub host_path: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// Network a task lives in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's own.
    Host,
    /// The engine's default bridge, ports published on the host.
    Bridge,
    /// A network of the user's.
    Named {
        /// Its name.
        name: String,
        /// Free text by name.
        labels: BTreeMap<String, String>,
    },
}

/// Transport of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// `tcp`.
    #[default]
    Tcp,
    /// `udp`.
    Udp,
    /// `udp,tcp`: both on one number.
    UdpTcp,
}

impl Transport {
    /// Marathon's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpTcp => "udp,tcp",
        }
    }
}

/// A port of an app with host networking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortDefinition {
    /// Service port; the host port too when the spec requires ports. 0: to be assigned.
    pub port: u16,
    /// Transport.
    pub transport: Transport,
    /// Name, unique within the app.
    pub name: Option<String>,
    /// Free text by name.
    pub labels: BTreeMap<String, String>,
}

/// A port of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortMapping {
    /// Port inside; 0 means the allocated host port.
    pub container_port: u16,
    /// Port on the host: absent none, 0 any, otherwise exactly this.
    pub host_port: Option<u16>,
    /// Service port; 0: to be assigned.
    pub service_port: u16,
    /// Transport.
    pub transport: Transport,
    /// Name, unique within the app.
    pub name: Option<String>,
    /// Free text by name.
    pub labels: BTreeMap<String, String>,
    /// Networks of the app that this mapping concerns.
    pub network_names: Vec<String>,
}
