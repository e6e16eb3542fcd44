//! One master: the quorum's member, the API, the line to agents, and a leader's duties.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cluster_server::ClusterServer;
use super::{doors, sources};
use crate::api;
use crate::control::Control;
use crate::dispatcher::Dispatcher;
use crate::domain::Strategy;
use crate::leader::{LeaderScope, LeaderStats, LivenessLimits, RollCall};
use crate::raft::{self, RaftHandle, RaftSettings, StartError};
use crate::store::{Master, StateStore};
use crate::telemetry::Registry;
use crate::world::net::TcpListener;
use crate::world::{self, Clock};

/// Longest wait for a leader's duties and open connections to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Everything a master is made from.
pub struct MasterConfig {
    /// Quorum, identity and addresses as advertised.
    pub raft: RaftSettings,
    /// Bound already, so that a taken port is found first.
    pub http: TcpListener,
    /// Bound already.
    pub cluster: TcpListener,
    /// When agents count as away.
    pub liveness: LivenessLimits,
    /// What apps get that wish for no strategy, while this master leads.
    pub strategy: Strategy,
    /// Runtime for the quorum, away from HTTP and scheduling; absent: the caller's own.
    pub raft_runtime: Option<Handle>,
    /// Who may use the API; absent: everybody.
    pub credentials: Option<Arc<api::Credentials>>,
    /// Says what is missing before this process can do its work.
    pub ready: Arc<dyn api::Readiness>,
}

/// A master that runs.
pub struct RunningMaster {
    /// Who it is, with its addresses as advertised.
    pub me: Master,
    /// Where its log and snapshots lie.
    pub data_dir: PathBuf,
    /// Its door to the state.
    pub store: Arc<dyn StateStore>,
    /// Takes requests to the state.
    pub control: Arc<Control>,
    raft: RaftHandle,
    raft_runtime: Option<Handle>,
    shutdown: CancellationToken,
    /// Dispatcher, API and duties, in the order in which they are awaited.
    tasks: Vec<JoinHandle<()>>,
    accepting: JoinHandle<()>,
}

/// Starts a master.
///
/// # Errors
/// [`StartError`]: a sentence about the data directory and what to do.
pub async fn start(config: MasterConfig, clock: Arc<dyn Clock>) -> Result<RunningMaster, StartError> {
    let data_dir = config.raft.data_dir.clone();
    let me_http = config.raft.advertise_http.clone();
    let me_cluster = config.raft.advertise_cluster.clone();
    let security = config.raft.security.clone();
    let raft = start_raft(config.raft, config.raft_runtime.clone(), &clock).await?;
    let me = Master { node: raft.node(), http: me_http, cluster: me_cluster };
    let store: Arc<dyn StateStore> = raft.store();
    let shutdown = CancellationToken::new();

    let dispatcher = Dispatcher::new(Arc::clone(&store));
    let control = Arc::new(Control::new(Arc::clone(&store), Arc::clone(&clock), config.strategy));
    let registry = Arc::new(Registry::master());
    let roll_call = RollCall::new(dispatcher.sessions(), config.liveness);
    watch_state(&registry, &store, &roll_call, &raft);
    let leading = Arc::new(LeaderStats::default());
    let stats = Arc::clone(&leading);
    registry.add_source(Box::new(move |samples| sources::of_leading(&stats, samples)));
    let (resilience, shown) = watch::channel(None);
    let seen = shown.clone();
    registry.add_source(Box::new(move |samples| sources::of_resilience(&seen, samples)));
    let duties = LeaderScope {
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        contacts: dispatcher.sessions(),
        limits: config.liveness,
        stats: leading,
        metrics: registry.scheduling(),
        resilience: Arc::new(resilience),
        strategy: config.strategy,
    };
    let context = api::Context {
        control: Arc::clone(&control),
        clock,
        me: me.clone(),
        strategy: config.strategy,
        ready: config.ready,
        metrics: registry,
        members: Arc::new(doors::Members(raft.membership())),
        abdicate: Arc::new(doors::Abdicate { raft: raft.clone(), runtime: config.raft_runtime.clone() }),
        resilience: shown,
        attendance: Arc::new(doors::Attendance(roll_call)),
    };
    let router = api::guarded(api::router(context), config.credentials);
    let tasks = vec![
        world::spawn(duties.run(shutdown.clone())),
        dispatcher.start(shutdown.clone()),
        world::spawn(api::serve(config.http, router, shutdown.clone())),
    ];
    let raft_runtime = config.raft_runtime;
    let server = ClusterServer {
        security,
        raft: raft.clone(),
        raft_runtime: raft_runtime.clone(),
        dispatcher,
        shutdown: shutdown.clone(),
    };
    let accepting = world::spawn(server.accept(config.cluster));
    Ok(RunningMaster { me, data_dir, store, control, raft, raft_runtime, shutdown, tasks, accepting })
}

async fn start_raft(
    settings: RaftSettings,
    runtime: Option<Handle>,
    clock: &Arc<dyn Clock>,
) -> Result<RaftHandle, StartError> {
    let starting = raft::start(settings, Arc::clone(clock));
    match runtime {
        Some(runtime) => match runtime.spawn(starting).await {
            Ok(started) => started,
            Err(error) => Err(StartError::Raft(error.to_string())),
        },
        None => starting.await,
    }
}

fn watch_state(registry: &Registry, store: &Arc<dyn StateStore>, roll_call: &RollCall, raft: &RaftHandle) {
    let (store, roll_call, raft) = (Arc::clone(store), roll_call.clone(), raft.clone());
    registry.add_source(Box::new(move |samples| {
        sources::of_state(&store, samples);
        sources::of_agents(&store, &roll_call, samples);
        sources::of_log(&raft.stats(), samples);
    }));
}

impl RunningMaster {
    /// Holds a reason once the quorum's member cannot go on.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.raft.failed()
    }

    /// Hands leadership over, then ends what was started, in order.
    pub async fn stop(self) {
        let raft = self.raft.clone();
        self.on_raft_runtime(async move { raft.transfer_leadership().await }).await;
        self.end().await;
    }

    /// Ends what was started, in order, and hands nothing over: for masters that all end together.
    pub async fn end(self) {
        self.shutdown.cancel();
        let raft = self.raft.clone();
        let Self { tasks, accepting, raft_runtime, .. } = self;
        for task in tasks {
            let abort = task.abort_handle();
            if timeout(STOP_TIMEOUT, task).await.is_err() {
                abort.abort();
            }
        }
        accepting.abort();
        let stopping = async move { raft.shutdown().await };
        match raft_runtime {
            Some(runtime) => drop(runtime.spawn(stopping).await),
            None => stopping.await,
        }
    }

    async fn on_raft_runtime<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) {
        match &self.raft_runtime {
            Some(runtime) => drop(runtime.spawn(work).await),
            None => drop(work.await),
        }
    }
}
