//! Settings of one agent, in Mesos' own syntax where Mesos had one.

use std::path::PathBuf;

use super::values::{self, Exposure};
use super::{Address, AgentFlags, BadSetting, LogSettings};
use crate::domain::{AttributeValue, Attributes, PortRanges, Scalar};

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

/// Amounts that were said; what is absent is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceSettings {
    /// Processors.
    pub cpus: Option<Scalar>,
    /// Memory in MiB.
    pub mem: Option<Scalar>,
    /// Disk in MiB.
    pub disk: Option<Scalar>,
    /// Graphics processors.
    pub gpus: Option<Scalar>,
    /// Host ports for tasks.
    pub ports: Option<PortRanges>,
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
            resources: resources(flags.resources)?,
            attributes: attributes(flags.attributes)?,
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

/// Reads `cpus:4;mem:8192;disk:10000;gpus:1;ports:[31000-32000]`.
/// Source: Mesos, "Attributes and resources".
pub(super) fn resources(given: Option<String>) -> Result<ResourceSettings, BadSetting> {
    let mut said = ResourceSettings::default();
    let Some(raw) = given else { return Ok(said) };
    let bad = |expected: String| BadSetting::new("--resources", raw.as_str(), expected);
    for item in raw.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((name, value)) = item.split_once(':') else {
            return Err(bad(format!(
                "{item:?} has no colon; expected 'cpus:4;mem:8192;ports:[31000-32000]'"
            )));
        };
        let (name, value) = (name.trim(), value.trim());
        let is_repeated = match name {
            "cpus" => said.cpus.replace(amount(value).map_err(&bad)?).is_some(),
            "mem" => said.mem.replace(amount(value).map_err(&bad)?).is_some(),
            "disk" => said.disk.replace(amount(value).map_err(&bad)?).is_some(),
            "gpus" => said.gpus.replace(amount(value).map_err(&bad)?).is_some(),
            "ports" => said.ports.replace(port_ranges(value).map_err(&bad)?).is_some(),
            other => {
                return Err(bad(format!(
                    "{other:?} is no resource known here; expected cpus, mem, disk, gpus or ports"
                )));
            }
        };
        if is_repeated {
            return Err(bad(format!("{name} is named twice; expected it once")));
        }
    }
    Ok(said)
}

fn amount(raw: &str) -> Result<Scalar, String> {
    raw.parse::<f64>().ok().and_then(Scalar::from_f64).ok_or_else(|| {
        format!("{raw:?} is no amount; expected a number of 0 or more, memory and disk in MiB")
    })
}

fn port_ranges(raw: &str) -> Result<PortRanges, String> {
    let wrong = || format!("{raw:?} are no ports; expected ranges such as [31000-31999,32500-32600]");
    let inner = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')).ok_or_else(wrong)?;
    let mut ranges = Vec::new();
    for part in inner.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').ok_or_else(wrong)?;
        let (Ok(from), Ok(to)) = (from.trim().parse::<u16>(), to.trim().parse::<u16>()) else {
            return Err(wrong());
        };
        if from == 0 || from > to {
            return Err(wrong());
        }
        ranges.push((from, to));
    }
    Ok(PortRanges::new(ranges))
}

/// Reads `rack:r1;zone:a;jdk:[6-7]`.
pub(super) fn attributes(given: Option<String>) -> Result<Attributes, BadSetting> {
    let mut facts = Attributes::new();
    let Some(raw) = given else { return Ok(facts) };
    for item in raw.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        let pair = item.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = pair.filter(|(name, value)| !name.is_empty() && !value.is_empty()) else {
            let expected = format!("{item:?} is no fact; expected 'rack:r1;zone:a'");
            return Err(BadSetting::new("--attributes", raw, expected));
        };
        if facts.insert(name.to_owned(), AttributeValue::parse(value)).is_some() {
            let expected = format!("{name} is named twice; expected it once");
            return Err(BadSetting::new("--attributes", raw, expected));
        }
    }
    Ok(facts)
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
