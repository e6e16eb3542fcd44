//! Settings of one agent.

use std::path::PathBuf;

use super::values::{self, Exposure};
use super::{Address, AgentFlags, BadSetting, LogSettings, ResourceSettings, machine};
use crate::domain::Attributes;

/// What `platformd agent` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettingsFlags {
    /// Cluster addresses of the masters, in any order.
    pub masters: Vec<Address>,
    /// Holds identity, checkpoints and sandboxes.
    pub data_dir: PathBuf,
    /// Where logs of tasks and metrics are served.
    pub http: Address,
    /// Under which tasks here are reached; absent means the machine's own name.
    pub hostname: Option<String>,
    /// What was said of the machine's resources.
    pub resources: ResourceSettings,
    /// Facts that constraints look at.
    pub attributes: Attributes,
    /// What containers may ask for.
    pub allow: Allow,
    /// Registry credentials.
    pub docker_config: Option<PathBuf>,
    /// Socket of the engine.
    pub docker_socket: PathBuf,
    /// What tasks run on.
    pub runtime: Runtime,
    /// An agent's secret; without one masters are spoken to in the clear.
    pub cluster_secret_file: Option<PathBuf>,
    /// Who may see logs and metrics; without it everybody.
    pub http_credentials: Option<PathBuf>,
    /// How to log.
    pub log: LogSettings,
}

/// What containers may ask for beyond the harmless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Privileged containers.
    pub privileged: bool,
    /// Host directories below which volumes may be mounted.
    pub host_volumes: Vec<PathBuf>,
    /// Raw `parameters` for the engine.
    pub parameters: bool,
}

/// What tasks run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Docker where an engine answers, and processes.
    Auto,
    /// Docker, or the agent does not start; and processes.
    Docker,
    /// Processes only.
    Process,
}

impl AgentSettingsFlags {
    /// Checks flags and fills in defaults.
    ///
    /// # Errors
    /// The first flag that cannot be used.
    pub fn from_flags(flags: AgentFlags) -> Result<Self, BadSetting> {
        let masters = values::masters(flags.masters.as_deref().unwrap_or("127.0.0.1:5050"))?;
        let http = values::address("--http", flags.http, "127.0.0.1:5051")?;
        let (secret, people) = (flags.cluster_secret_file.as_deref(), flags.http_credentials.as_deref());
        let exposure = Exposure::of(secret, people, flags.insecure);
        exposure.check_http(&http)?;
        exposure.check_cluster("--masters", masters.iter())?;
        Ok(Self {
            data_dir: flags.data_dir.unwrap_or_else(|| PathBuf::from("/var/lib/platformd/agent")),
            http,
            hostname: flags.hostname.map(hostname).transpose()?,
            resources: machine::resources(flags.resources)?,
            attributes: machine::attributes(flags.attributes)?,
            allow: allow(flags.allow)?,
            docker_config: flags.docker_config,
            docker_socket: flags.docker_socket.unwrap_or_else(|| PathBuf::from("/var/run/docker.sock")),
            runtime: runtime(flags.runtime.as_deref())?,
            cluster_secret_file: flags.cluster_secret_file,
            http_credentials: flags.http_credentials,
            log: values::log(flags.log, flags.log_format.as_deref())?,
            masters,
        })
    }
}

fn hostname(raw: String) -> Result<String, BadSetting> {
    let address = if raw.contains(':') { format!("[{raw}]:0") } else { format!("{raw}:0") };
    match Address::parse(&address) {
        Some(_) => Ok(raw),
        None => {
            Err(BadSetting::new("--hostname", raw, "expected a host name or an IP address without a port"))
        }
    }
}

pub(super) fn runtime(given: Option<&str>) -> Result<Runtime, BadSetting> {
    match given {
        None | Some("auto") => Ok(Runtime::Auto),
        Some("docker") => Ok(Runtime::Docker),
        Some("process") => Ok(Runtime::Process),
        Some(other) => Err(BadSetting::new("--runtime", other, "expected auto, docker or process")),
    }
}

/// Reads `privileged,host-volumes=/srv,parameters`.
fn allow(given: Option<String>) -> Result<Allow, BadSetting> {
    let mut allow = Allow::default();
    let Some(raw) = given else { return Ok(allow) };
    for item in raw.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            None if item == "privileged" => allow.privileged = true,
            None if item == "parameters" => allow.parameters = true,
            Some(("host-volumes", directory)) if directory.starts_with('/') => {
                allow.host_volumes.push(PathBuf::from(directory));
            }
            _ => {
                let expected = format!(
                    "{item:?} is nothing that can be allowed; expected privileged, parameters or \
                     host-volumes=/DIRECTORY"
                );
                return Err(BadSetting::new("--allow", raw, expected));
            }
        }
    }
    Ok(allow)
}
