//! What an agent needs to know to run one task. Holds no app, version or deployment:
//! those are the masters' business; names appear only for labels and logs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TaskId;
use super::container::{Transport, Volume};
use super::health_check::HealthCheck;
use super::resources::Resources;

/// One task, complete: nothing is looked up elsewhere to run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLaunch {
    /// Which attempt.
    pub task: TaskId,
    /// For labels and logs: the app's path.
    pub app: String,
    /// What to execute.
    pub process: Process,
    /// Container around it; absent: a plain process.
    #[serde(default)]
    pub container: Option<LaunchContainer>,
    /// Complete environment. Source: spec 3.2.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Who runs it; absent: the agent's own user.
    #[serde(default)]
    pub user: Option<String>,
    /// What it may use, host ports included.
    pub resources: Resources,
    /// Host ports and where they lead.
    #[serde(default)]
    pub ports: Vec<PortBinding>,
    /// How it says it is well.
    #[serde(default)]
    pub health_checks: Vec<LaunchCheck>,
    /// From TERM to KILL.
    pub kill_grace: Duration,
}

/// What to execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// By `/bin/sh -c`.
    Shell(String),
    /// As an argument vector, without a shell. In a container the image's entrypoint stays.
    Args(Vec<String>),
    /// Whatever the image says.
    Image,
}

/// Container of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchContainer {
    /// Reference of the image.
    pub image: String,
    /// Pull even when it is there.
    #[serde(default)]
    pub force_pull: bool,
    /// With all capabilities.
    #[serde(default)]
    pub privileged: bool,
    /// Raw options.
    #[serde(default)]
    pub parameters: Vec<(String, String)>,
    /// Shares the host's network, instead of the engine's bridge.
    pub host_network: bool,
    /// Host directories seen inside.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Allocates a terminal.
    #[serde(default)]
    pub tty: bool,
}

/// A host port of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// On the host.
    pub host: u16,
    /// Inside the container; equals `host` with host networking.
    pub container: u16,
    /// Transport.
    pub transport: Transport,
}

/// A health check with its port resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchCheck {
    /// Which check of the spec, counted from 0.
    pub index: u32,
    /// The check.
    pub check: HealthCheck,
    /// Port to probe on the host; absent for COMMAND.
    #[serde(default)]
    pub host_port: Option<u16>,
}
