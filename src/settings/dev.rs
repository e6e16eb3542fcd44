//! Settings of a whole cluster in one process.

use std::path::PathBuf;

use super::{Address, BadSetting, DevFlags, LogSettings, ResourceSettings, Runtime, agent, machine, values};
use crate::domain::Attributes;

/// What `platformd dev` needs to know. Everything listens on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevSettings {
    /// App or group to deploy.
    pub file: Option<PathBuf>,
    /// Where the first master's API listens; port 0 chooses one.
    pub http: Address,
    /// Where the first master meets the others and the agents; port 0 chooses one.
    pub cluster: Address,
    /// 1 or 3; absent: as many as made the state, or 1.
    pub masters: Option<u8>,
    /// 1 to 64; absent: as many as are in the state, or 1.
    pub agents: Option<u16>,
    /// What tasks run on.
    pub runtime: Runtime,
    /// What was said of each agent's resources.
    pub resources: ResourceSettings,
    /// Facts of every agent.
    pub attributes: Attributes,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// Whether to forget it first.
    pub fresh: bool,
    /// How to log.
    pub log: LogSettings,
}

/// Each agent has a loopback address and a port range of its own; more than this is a
/// job for the simulator.
pub const AGENTS_MAX: u16 = 64;
/// What is worth a line among what `dev` tells. Its masters come and go together, of which openraft warns each
/// time; what it cannot go on with is an error.
const DEFAULT_FILTER: &str = "warn,openraft=error";

impl DevSettings {
    /// Checks flags and fills in defaults.
    ///
    /// # Errors
    /// The first flag that cannot be used.
    pub fn from_flags(flags: DevFlags) -> Result<Self, BadSetting> {
        let http = values::address("--http", flags.http, "127.0.0.1:8080")?;
        let cluster = values::address("--cluster", flags.cluster, "127.0.0.1:5050")?;
        for (flag, address) in [("--http", &http), ("--cluster", &cluster)] {
            if !address.is_loopback() {
                let expected = "is beyond loopback, and dev has no locks; expected 127.0.0.1:PORT, or use \
                                'platformd master' and 'platformd agent'";
                return Err(BadSetting::new(flag, address.as_str(), expected));
            }
        }
        if let Some(wrong) = flags.masters.filter(|masters| ![1, 3].contains(masters)) {
            return Err(BadSetting::new("--masters", wrong.to_string(), "expected 1 or 3"));
        }
        if let Some(wrong) = flags.agents.filter(|agents| !(1..=AGENTS_MAX).contains(agents)) {
            return Err(BadSetting::new(
                "--agents",
                wrong.to_string(),
                format!("expected 1 to {AGENTS_MAX}"),
            ));
        }
        let settings = Self {
            file: flags.file,
            http,
            cluster,
            masters: flags.masters,
            agents: flags.agents,
            runtime: agent::runtime(flags.runtime.as_deref())?,
            resources: machine::resources(flags.resources)?,
            attributes: machine::attributes(flags.attributes)?,
            data_dir: flags.data_dir.unwrap_or_else(|| PathBuf::from(".platformd")),
            fresh: flags.fresh.unwrap_or(false),
            log: values::log(
                flags.log.or_else(|| Some(DEFAULT_FILTER.to_owned())),
                flags.log_format.as_deref(),
            )?,
        };
        settings.check_shares(settings.agents.unwrap_or(1))?;
        Ok(settings)
    }

    /// Checks that the machine can be shared out among so many agents.
    ///
    /// # Errors
    /// Ports are kept for a role, which can only be said of one agent.
    pub fn check_shares(&self, agents: u16) -> Result<(), BadSetting> {
        if agents > 1 && self.resources.reserved.values().any(|part| part.ports.count() > 0) {
            let expected = "ports of roles cannot be shared out among several agents on one machine; \
                            expected them with --agents 1";
            return Err(BadSetting::new("--resources", "ports(ROLE)", expected));
        }
        Ok(())
    }
}
