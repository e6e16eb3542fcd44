//! A whole cluster in one process on loopback: `platformd dev`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use super::agent::{self, RunningAgent};
use super::dev_app::{self, say};
use super::dev_dir::{self, DevDir};
use super::listen::{Bound, bind};
use super::master::{self, MasterConfig, RunningMaster};
use super::process::{failed, means};
use super::runtimes::{self, Runtimes, Wanted};
use super::signals::Stop;
use crate::agent::{AgentHome, AgentSettings, AgentView};
use crate::api;
use crate::cli::ExitError;
use crate::domain::{PortRanges, Resources};
use crate::leader::LivenessLimits;
use crate::raft::RaftSettings;
use crate::settings::{Address, Allow, DevSettings};
use crate::store::StateStore;
use crate::world::SystemClock;

/// Host ports of tasks: shared out among the agents.
const TASK_PORTS: (u16, u16) = (31_000, 31_999);

/// Host ports of each further agent.
const PORTS_PER_AGENT: u16 = 250;

/// Runs until somebody asks it to stop.
pub(super) async fn run(settings: DevSettings, raft_runtime: &Handle, stop: &Stop) -> Result<(), ExitError> {
    let app = settings.file.as_deref().map(dev_app::read).transpose()?;
    let dir = dev_dir::take(&settings.data_dir)?;
    let ready = Arc::new(DevReady::default());
    let (masters, agents) = tokio::select! {
        started = start(&settings, &dir, raft_runtime, &ready) => started?,
        // What was started by then goes with the process, and nothing was promised yet.
        () = stop.asked() => return Ok(()),
    };
    ready.set(&masters, &agents);
    let ended = tokio::select! {
        () = stop.asked() => Ok(()),
        reason = any_failed(&masters) => Err(reason),
        refused = attend(&settings, &masters, &agents, app) => Err(refused),
    };
    if ended.is_ok() {
        // Tasks end with their agents, within their own kill grace.
        say(&format!(
            "stopping tasks, agents, masters; the state stays in {}. Ctrl-C again leaves at once: \
             tasks that still run are found again by the next start",
            settings.data_dir.display()
        ));
        stop_all(agents, masters).await;
    } else {
        // A fault of ours stops no task: the next start finds them.
        stop_all(Vec::new(), masters).await;
    }
    ended
}

async fn start(
    settings: &DevSettings,
    dir: &DevDir,
    raft_runtime: &Handle,
    ready: &Arc<DevReady>,
) -> Result<(Vec<RunningMaster>, Vec<DevAgent>), ExitError> {
    if settings.fresh {
        forget(settings, dir).await?;
    }
    let count = dir.masters(settings.masters)?;
    let masters = start_masters(settings, count, raft_runtime, ready).await?;
    let cluster: Vec<String> = masters.iter().map(|master| master.me.cluster.clone()).collect();
    match start_agents(settings, &cluster).await {
        Ok(agents) => Ok((masters, agents)),
        Err(error) => {
            stop_all(Vec::new(), masters).await;
            Err(error)
        }
    }
}

/// Puts the apps, says what there is (without a file: what an earlier run left), and then
/// has nothing more to do. Ends only when the
/// app was refused.
async fn attend(
    settings: &DevSettings,
    masters: &[RunningMaster],
    agents: &[DevAgent],
    app: Option<dev_app::Apps>,
) -> ExitError {
    let http = masters.first().map(|master| master.me.http.clone()).unwrap_or_default();
    say(&format!("API      http://{http}  (page: /ui/, metrics: /metrics)"));
    for agent in agents {
        if let Some(why) = &agent.without_docker {
            say(&format!("Docker   none ({why}): apps without an image run as processes"));
            break;
        }
    }
    let apps = match app {
        Some(app) => {
            let ids = app.iter().map(|(id, _)| id.clone()).collect();
            if let Err(error) = dev_app::put(masters, app).await {
                return error;
            }
            ids
        }
        None => dev_app::resumed(masters).await,
    };
    dev_app::tell(masters, &http, &apps).await;
    match apps.first() {
        Some(id) => say(&format!("Try      curl -s '{http}/v2/apps/{id}?embed=app.tasks'")),
        None => say(&format!(
            "Try      curl -s -X PUT -H 'Content-Type: application/json' {http}/v2/apps//hello -d @hello.json"
        )),
    }
    say(&format!(
        "State    {} (kept; --fresh begins anew). Ctrl-C stops everything.",
        settings.data_dir.display()
    ));
    std::future::pending().await
}

/// Begins anew: what an earlier run started is stopped before its traces go.
async fn forget(settings: &DevSettings, dir: &DevDir) -> Result<(), ExitError> {
    for agent in dir.agents() {
        let home = AgentHome::open(&agent, &SystemClock)?;
        let found = runtimes::find(&wanted(settings, &home, &agent)).await?;
        dev_dir::stop_all(&found.driver).await?;
    }
    dir.forget()
}

fn wanted<'a>(settings: &DevSettings, home: &'a AgentHome, data_dir: &'a Path) -> Wanted<'a> {
    const NOTHING: &Allow = &Allow { privileged: false, host_volumes: Vec::new(), parameters: false };
    Wanted {
        agent: home.agent_id(),
        data_dir,
        runtime: settings.runtime,
        docker_socket: Path::new("/var/run/docker.sock"),
        docker_config: None,
        allow: NOTHING,
        publish_on: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

async fn start_masters(
    settings: &DevSettings,
    count: u8,
    raft_runtime: &Handle,
    ready: &Arc<DevReady>,
) -> Result<Vec<RunningMaster>, ExitError> {
    let mut doors: Vec<(Bound, Bound)> = Vec::new();
    for n in 0..u16::from(count) {
        // Further masters take the next ports, or any where the first one chose.
        let next = |address: &Address| match address.port() {
            0 => address.clone(),
            port => address.with_port(port.saturating_add(n)),
        };
        let http = bind("--http", &next(&settings.http)).await?;
        let cluster = bind("--cluster", &next(&settings.cluster)).await?;
        doors.push((http, cluster));
    }
    let listed: Vec<String> = doors.iter().map(|(_, cluster)| cluster.address.to_string()).collect();
    let mut running = Vec::new();
    for (n, (http, cluster)) in doors.into_iter().enumerate() {
        let data_dir = dev_dir::of_master(&settings.data_dir, n + 1);
        let raft = RaftSettings::new(
            data_dir,
            listed.clone(),
            cluster.address.to_string(),
            http.address.to_string(),
        );
        let config = MasterConfig {
            raft,
            http: http.listener,
            cluster: cluster.listener,
            strategy: Default::default(),
            liveness: LivenessLimits::default(),
            raft_runtime: Some(raft_runtime.clone()),
            credentials: None,
            ready: Arc::clone(ready) as Arc<dyn api::Readiness>,
        };
        match master::start(config, Arc::new(SystemClock)).await {
            Ok(master) => running.push(master),
            Err(error) => {
                stop_all(Vec::new(), running).await;
                return Err(error.into());
            }
        }
    }
    Ok(running)
}

/// One of dev's agents.
struct DevAgent {
    running: RunningAgent,
    without_docker: Option<String>,
}

async fn start_agents(settings: &DevSettings, masters: &[String]) -> Result<Vec<DevAgent>, ExitError> {
    let mut agents = Vec::new();
    for n in 0..settings.agents {
        let data_dir = settings.data_dir.join("agents").join((n + 1).to_string());
        agents.push(start_agent(settings, masters, n, data_dir).await?);
    }
    Ok(agents)
}

async fn start_agent(
    settings: &DevSettings,
    masters: &[String],
    n: u16,
    data_dir: PathBuf,
) -> Result<DevAgent, ExitError> {
    let home = AgentHome::open(&data_dir, &SystemClock)?;
    let wanted = wanted(settings, &home, &data_dir);
    let Runtimes { driver, has_docker, without_docker } = runtimes::find(&wanted).await?;
    let unreserved = unreserved(settings, n, &data_dir)?;
    let resources = (unreserved, settings.resources.reserved.clone());
    let hostname = if n == 0 { "localhost".to_owned() } else { format!("127.0.0.{}", n + 1) };
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
fn unreserved(settings: &DevSettings, n: u16, data_dir: &Path) -> Result<Resources, ExitError> {
    let mut totals = runtimes::unreserved(&settings.resources, data_dir)?;
    let share = |amount: crate::domain::Scalar| {
        crate::domain::Scalar::from_thousandths(amount.thousandths() / u64::from(settings.agents.max(1)))
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
    if settings.agents > 1 || settings.resources.ports.is_none() {
        totals.ports = ports(settings, n);
    }
    Ok(totals)
}

fn ports(settings: &DevSettings, n: u16) -> PortRanges {
    let Some(said) = &settings.resources.ports else {
        if settings.agents == 1 {
            return PortRanges::new([TASK_PORTS]);
        }
        let from = TASK_PORTS.0 + n * PORTS_PER_AGENT;
        return PortRanges::new([(from, from + PORTS_PER_AGENT - 1)]);
    };
    // What was said is dealt out in turn, so that every agent gets some of it.
    let agents = usize::from(settings.agents.max(1));
    PortRanges::of(said.iter().skip(usize::from(n)).step_by(agents))
}

async fn any_failed(masters: &[RunningMaster]) -> ExitError {
    let failures = masters.iter().map(|master| Box::pin(failed(master)));
    futures_util::future::select_all(failures).await.0
}

async fn stop_all(agents: Vec<DevAgent>, masters: Vec<RunningMaster>) {
    let agents = agents.into_iter().map(|agent| agent.running.stop());
    futures_util::future::join_all(agents).await;
    futures_util::future::join_all(masters.into_iter().map(RunningMaster::end)).await;
}

/// Ready once a leader and every agent are there.
#[derive(Default)]
struct DevReady(OnceLock<(Stores, Views)>);

type Stores = Vec<Arc<dyn StateStore>>;
type Views = Vec<Arc<AgentView>>;

impl DevReady {
    fn set(&self, masters: &[RunningMaster], agents: &[DevAgent]) {
        let stores = masters.iter().map(|master| Arc::clone(&master.store)).collect();
        let views = agents.iter().map(|agent| Arc::clone(&agent.running.view)).collect();
        // Set once, at the start.
        let _ = self.0.set((stores, views));
    }
}

impl api::Readiness for DevReady {
    fn missing(&self) -> Option<String> {
        let Some((masters, agents)) = self.0.get() else { return Some("agents are starting".to_owned()) };
        if !masters.iter().any(|master| master.leadership().borrow().leads) {
            return Some("no master leads yet".to_owned());
        }
        let waiting = agents.iter().filter(|agent| !agent.is_registered()).count();
        (waiting > 0).then(|| format!("{waiting} of {} agents have not registered yet", agents.len()))
    }
}
