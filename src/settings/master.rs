//! Settings of one master.

use std::path::PathBuf;
use std::time::Duration;

use super::values::{self, Exposure};
use super::{Address, BadSetting, LogSettings, MasterFlags};
use crate::domain::Strategy;

/// What `platformd master` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterSettings {
    /// Holds the log, snapshots and identity.
    pub data_dir: PathBuf,
    /// Where the API listens.
    pub http: Address,
    /// Where masters and agents connect.
    pub cluster: Address,
    /// Cluster addresses of all masters, this one among them; empty when it stands alone.
    pub masters: Vec<Address>,
    /// What others are told of `http`.
    pub advertise_http: Address,
    /// What others are told of `cluster`.
    pub advertise_cluster: Address,
    /// The cluster's secret; without one the cluster speaks in the clear.
    pub cluster_secret_file: Option<PathBuf>,
    /// Who may use the API; without it everybody.
    pub http_credentials: Option<PathBuf>,
    /// Silence after which an agent counts as unreachable.
    pub agent_timeout: Duration,
    /// How long a disconnected agent may take to come back.
    pub agent_restart_grace: Duration,
    /// What apps get that wish for no strategy, while this master leads.
    pub placement_strategy: Strategy,
    /// How to log.
    pub log: LogSettings,
}

const DAY: Duration = Duration::from_secs(86_400);
/// Three heartbeats: anything less takes a hiccup for an outage.
const AGENT_TIMEOUT_MIN: Duration = Duration::from_secs(3);
/// Default of `--agent-timeout`.
pub(super) const AGENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of `--agent-restart-grace`.
pub(super) const AGENT_RESTART_GRACE: Duration = Duration::from_secs(60);

impl MasterSettings {
    /// Checks flags and fills in defaults.
    ///
    /// # Errors
    /// The first flag that cannot be used.
    pub fn from_flags(flags: MasterFlags) -> Result<Self, BadSetting> {
        let http = values::address("--http", flags.http, "127.0.0.1:8080")?;
        let cluster = values::address("--cluster", flags.cluster, "127.0.0.1:5050")?;
        let advertise_http = advertised("--advertise-http", flags.advertise_http, ("--http", &http))?;
        let advertise_cluster =
            advertised("--advertise-cluster", flags.advertise_cluster, ("--cluster", &cluster))?;
        let masters = match flags.masters {
            None => Vec::new(),
            Some(raw) => values::masters(&raw)?,
        };
        if !masters.is_empty() && !masters.contains(&advertise_cluster) {
            let named: Vec<&str> = masters.iter().map(Address::as_str).collect();
            let expected = format!(
                "does not name this master, {advertise_cluster}; add it, or say with --cluster or \
                 --advertise-cluster which of them it is"
            );
            return Err(BadSetting::new("--masters", named.join(","), expected));
        }
        let (secret, people) = (flags.cluster_secret_file.as_deref(), flags.http_credentials.as_deref());
        let exposure = Exposure::of(secret, people, flags.insecure);
        exposure.check_http(&http)?;
        exposure.check_cluster("--cluster", std::iter::once(&cluster))?;
        exposure.check_cluster("--masters", masters.iter())?;
        let timeout_bounds = (AGENT_TIMEOUT_MIN, DAY);
        let grace_bounds = (Duration::ZERO, DAY);
        Ok(Self {
            data_dir: flags.data_dir.unwrap_or_else(|| PathBuf::from("/var/lib/platformd/master")),
            http,
            cluster,
            masters,
            advertise_http,
            advertise_cluster,
            cluster_secret_file: flags.cluster_secret_file,
            http_credentials: flags.http_credentials,
            agent_timeout: values::duration(
                "--agent-timeout",
                flags.agent_timeout,
                AGENT_TIMEOUT,
                timeout_bounds,
            )?,
            agent_restart_grace: values::duration(
                "--agent-restart-grace",
                flags.agent_restart_grace,
                AGENT_RESTART_GRACE,
                grace_bounds,
            )?,
            placement_strategy: strategy(flags.placement_strategy.as_deref())?,
            log: values::log(flags.log, flags.log_format.as_deref())?,
        })
    }
}

fn strategy(given: Option<&str>) -> Result<Strategy, BadSetting> {
    let Some(raw) = given else { return Ok(Strategy::default()) };
    Strategy::parse(raw)
        .ok_or_else(|| BadSetting::new("--placement-strategy", raw, "expected spread or binpack"))
}

/// What others are told: as given, or the bound address unless that is a wildcard.
fn advertised(
    flag: &'static str,
    given: Option<String>,
    (bound_flag, bound): (&'static str, &Address),
) -> Result<Address, BadSetting> {
    if let Some(raw) = given {
        let address = values::address(flag, Some(raw), "")?;
        if address.is_wildcard() || address.port() == 0 {
            let expected = "cannot be dialled; expected the host and port others reach this master by";
            return Err(BadSetting::new(flag, address.as_str(), expected));
        }
        return Ok(address);
    }
    if bound.is_wildcard() {
        let expected = format!("is every interface; say with {flag} HOST:PORT how others reach this master");
        return Err(BadSetting::new(bound_flag, bound.as_str(), expected));
    }
    Ok(bound.clone())
}
