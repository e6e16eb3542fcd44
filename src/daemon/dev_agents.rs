//! Agents of `platformd dev`: one machine's resources, shared out among several.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::agent::{self, RunningAgent};
use super::dev_dir;
use super::process::means;
use super::runtimes::{self, Runtimes, Wanted};
use crate::agent::{AgentHome, AgentSettings};
use crate::cli::ExitError;
use crate::domain::{PortRanges, Resources};
use crate::settings::{Allow, DevSettings};
use crate::world::SystemClock;

/// Host ports of tasks: shared out among the agents.
const TASK_PORTS: (u16, u16) = (31_000, 31_999);

/// Host ports of each further agent.
const PORTS_PER_AGENT: u16 = 250;

/// One of dev's agents.
pub(super) struct DevAgent {
    pub(super) running: RunningAgent,
    /// Why it runs no containers, when it was to look for an engine.
    pub(super) without_docker: Option<String>,
}

/// Starts `count` agents.
pub(super) async fn start_agents(
    settings: &DevSettings,
    count: u16,
    masters: &[String],
) -> Result<Vec<DevAgent>, ExitError> {
    runtimes::warn_of_unseen(&settings.attributes);
    let mut agents = Vec::new();
    for n in 0..count {
        let data_dir = dev_dir::of_agent(&settings.data_dir, n + 1);
        agents.push(start_agent(settings, masters, (n, count), data_dir).await?);
    }
    Ok(agents)
}

async fn start_agent(
    settings: &DevSettings,
    masters: &[String],
    (n, count): (u16, u16),
    data_dir: PathBuf,
) -> Result<DevAgent, ExitError> {
    let home = AgentHome::open(&data_dir, &SystemClock)?;
    // Where clients are sent by the agent's name.
    let publish_on = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + u32::from(n));
    let wanted = wanted(settings, &home, &data_dir, publish_on);
    let Runtimes { driver, has_docker, without_docker } = runtimes::find(&wanted).await?;
    let unreserved = unreserved(settings, (n, count), &data_dir)?;
    let resources = (unreserved, settings.resources.reserved.clone());
    let hostname = if n == 0 { "localhost".to_owned() } else { publish_on.to_string() };
    let agent_settings = AgentSettings {
        attributes: settings.attributes.clone(),
        has_docker,
        stop_tasks_on_shutdown: true,
        ..runtimes::settings(masters.to_vec(), hostname, resources, runtimes::boot_id()?)
    };
    let running = agent::start(home, agent_settings, means(driver))?;
    Ok(DevAgent { running, without_docker })
}

/// The machine's resources, shared out evenly; ports never overlap.
fn unreserved(
    settings: &DevSettings,
    (n, count): (u16, u16),
    data_dir: &Path,
) -> Result<Resources, ExitError> {
    let mut totals = runtimes::unreserved(&settings.resources, data_dir)?;
    let share = |amount: crate::domain::Scalar| {
        crate::domain::Scalar::from_thousandths(amount.thousandths() / u64::from(count.max(1)))
    };
    if settings.resources.cpus.is_none() {
        totals.cpus = share(totals.cpus);
    }
    if settings.resources.mem.is_none() {
        totals.mem = share(totals.mem);
    }
    if settings.resources.disk.is_none() {
        totals.disk = share(totals.disk);
    }
    if count > 1 || settings.resources.ports.is_none() {
        totals.ports = ports(settings, n, count);
    }
    Ok(totals)
}

fn ports(settings: &DevSettings, n: u16, count: u16) -> PortRanges {
    let Some(said) = &settings.resources.ports else {
        if count == 1 {
            return PortRanges::new([TASK_PORTS]);
        }
        let from = TASK_PORTS.0 + n * PORTS_PER_AGENT;
        return PortRanges::new([(from, from + PORTS_PER_AGENT - 1)]);
    };
    // What was said is dealt out in turn, so that every agent gets some of it.
    let agents = usize::from(count.max(1));
    PortRanges::of(said.iter().skip(usize::from(n)).step_by(agents))
}

/// What tasks of the agent in `data_dir` run on.
pub(super) fn wanted<'a>(
    settings: &DevSettings,
    home: &'a AgentHome,
    data_dir: &'a Path,
    publish_on: Ipv4Addr,
) -> Wanted<'a> {
    const NOTHING: &Allow = &Allow { privileged: false, host_volumes: Vec::new(), parameters: false };
    Wanted {
        agent: home.agent_id(),
        data_dir,
        runtime: settings.runtime,
        docker_socket: Path::new("/var/run/docker.sock"),
        docker_config: None,
        allow: NOTHING,
        publish_on: IpAddr::V4(publish_on),
    }
}
