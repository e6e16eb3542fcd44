//! A whole cluster in one process on loopback: `platformd dev`.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;

use super::dev_agents::{DevAgent, start_agents, wanted};
use super::dev_app;
use super::dev_dir::{self, DevDir};
use super::dev_told::{say, tell};
use super::listen::{Bound, bind};
use super::master::{self, MasterConfig, RunningMaster};
use super::process::failed;
use super::runtimes;
use super::signals::Stop;
use crate::agent::{AgentHome, AgentView};
use crate::api;
use crate::cli::ExitError;
use crate::leader::LivenessLimits;
use crate::raft::RaftSettings;
use crate::settings::{Address, DevSettings};
use crate::store::StateStore;
use crate::world::SystemClock;

/// Runs until somebody asks it to stop.
pub(super) async fn run(settings: DevSettings, raft_runtime: &Handle, stop: &Stop) -> Result<(), ExitError> {
    let app = settings.file.as_deref().map(dev_app::read).transpose()?;
    let dir = dev_dir::take(&settings.data_dir, settings.fresh)?;
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
    let count = dir.masters(settings.masters, settings.fresh)?;
    let agents = dir.agents_wanted(settings.agents, settings.fresh);
    settings.check_shares(agents)?;
    // First, so that a start that cannot have its addresses leaves everything as it was.
    let doors = bind_doors(settings, count).await?;
    if settings.fresh {
        forget(settings, dir).await?;
    }
    dir.make_masters(count)?;
    let masters = start_masters(settings, doors, raft_runtime, ready).await?;
    let cluster: Vec<String> = masters.iter().map(|master| master.me.cluster.clone()).collect();
    match start_agents(settings, agents, &cluster).await {
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
    let Some(first) = masters.first() else { return std::future::pending().await };
    let http = &first.me.http;
    say(&format!("API      http://{http}  (page: /ui/, metrics: /metrics)"));
    if settings.cluster.port() == 0 {
        let chosen: Vec<&str> = masters.iter().map(|master| master.me.cluster.as_str()).collect();
        say(&format!("Cluster  {}  (--masters of further agents)", chosen.join(",")));
    }
    if let Some(why) = agents.iter().find_map(|agent| agent.without_docker.as_ref()) {
        say(&format!("Docker   none ({why}): apps without an image run as processes"));
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
    tell(&first.store, http, &apps, &mut |line: &str| say(line)).await;
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
        let found = runtimes::find(&wanted(settings, &home, &agent, Ipv4Addr::LOCALHOST)).await?;
        dev_dir::stop_all(&found.driver).await?;
    }
    dir.forget()
}

/// A master's `--http` and `--cluster`.
type Doors = (Bound, Bound);

async fn bind_doors(settings: &DevSettings, count: u8) -> Result<Vec<Doors>, ExitError> {
    let mut doors = Vec::new();
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
    Ok(doors)
}

async fn start_masters(
    settings: &DevSettings,
    doors: Vec<Doors>,
    raft_runtime: &Handle,
    ready: &Arc<DevReady>,
) -> Result<Vec<RunningMaster>, ExitError> {
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
