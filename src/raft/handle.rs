//! Start, and what a running quorum member offers to the daemon.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use super::address_book::AddressBook;
use super::greeter::{self, Greeter};
use super::introduction::Introduction;
use super::last_word::LastWord;
use super::leadership::Watcher;
use super::log_store::{LogReader, LogStore};
use super::membership::Membership;
use super::network::Peers;
use super::server::Server;
use super::settings::{RaftSettings, StartError};
use super::snapshots::Snapshots;
use super::standing::Standing;
use super::state_machine::{Published, StateMachine};
use super::stats::{Counters, RaftStats};
use super::store::RaftStateStore;
use super::types::{MasterNode, Raft};
use super::{data_dir, log_store};
use crate::line::Line;
use crate::store::{Leadership, StateStore};
use crate::world::{self, Clock};

/// Longest wait for another master to take over.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the log's last bytes at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running member of the quorum, or one that waits to be taken in. Cheap to clone.
#[derive(Clone)]
pub struct RaftHandle {
    running: Arc<Running>,
}

struct Running {
    store: Arc<RaftStateStore>,
    server: Server,
    counters: Arc<Counters>,
    changing: Arc<tokio::sync::Mutex<()>>,
    failed: watch::Receiver<Option<String>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    log_closed: Mutex<Option<oneshot::Receiver<()>>>,
}

/// Starts this master's part of the quorum. A master that is listed alone leads within
/// milliseconds; others find each other by themselves.
///
/// # Errors
/// [`StartError`]: which file, and what to do.
pub async fn start(settings: RaftSettings, clock: Arc<dyn Clock>) -> Result<RaftHandle, StartError> {
    let config = Arc::new(settings.openraft()?);
    let dir = data_dir::open(&settings.data_dir)?;
    let counters = Arc::new(Counters::default());
    let snapshot_error = |source| StartError::Snapshot { dir: dir.snapshots.clone(), source };
    let snapshots = Snapshots::open(&dir.snapshots, Arc::clone(&counters)).map_err(snapshot_error)?;
    let published = Arc::new(Published::new(Arc::clone(&counters)));
    let machine = StateMachine::open(snapshots.clone(), Arc::clone(&published)).map_err(snapshot_error)?;
    let (log, log_closed) =
        log_store::LogStore::open(&dir.log, settings.segment_bytes, Arc::clone(&counters), dir.lock)?;
    let log = log.known_to(dir.identity, &dir.log)?;
    let entries = log.reader();
    let book = Arc::new(AddressBook::default());
    let peers = Peers { book: Arc::clone(&book), security: settings.security.clone() };
    let raft = start_raft(dir.node, config, peers, log, machine).await?;
    let at =
        MasterNode { cluster: settings.advertise_cluster.clone(), http: settings.advertise_http.clone() };
    let (standing, standing_seen) = watch::channel(Standing::default());
    let (leadership, leadership_seen) = watch::channel(Leadership::default());
    let me = Introduction { node: dir.node, at, raft, standing: standing_seen, leadership: leadership_seen };
    book.note(&me.hello().await);
    let security = settings.security.clone();
    let hearsay = watch::Sender::default();
    let last_word = Arc::new(LastWord::new());
    let server = Server { me, book, hearsay, last_word, snapshots, security };
    head_start(&server, &settings).await;
    let parts = Parts { published, counters, standing, leadership, entries, log_closed };
    Ok(assemble(server, settings, clock, parts))
}

async fn start_raft(
    node: u64,
    config: Arc<openraft::Config>,
    peers: Peers,
    log: LogStore,
    machine: StateMachine,
) -> Result<Raft, StartError> {
    let raft = Raft::new(node, config, peers, log, machine).await;
    raft.map_err(|error| StartError::Raft(error.to_string()))
}

/// Lets a master without peers lead at once instead of waiting out an election timeout.
async fn head_start(server: &Server, settings: &RaftSettings) {
    let empty = server.me.raft.is_initialized().await.is_ok_and(|initialized| !initialized);
    if empty && settings.is_alone() {
        greeter::initialize(&server.me.raft, BTreeMap::from([(server.me.node, server.me.at.clone())])).await;
    } else if server.me.raft.voter_ids().eq([server.me.node]) {
        let _ = server.me.raft.trigger().elect(false).await;
    }
}

/// What was opened, on its way to whoever keeps it.
struct Parts {
    published: Arc<Published>,
    counters: Arc<Counters>,
    standing: watch::Sender<Standing>,
    leadership: watch::Sender<Leadership>,
    entries: LogReader,
    log_closed: oneshot::Receiver<()>,
}

fn assemble(server: Server, settings: RaftSettings, clock: Arc<dyn Clock>, parts: Parts) -> RaftHandle {
    let Parts { published, counters, standing, leadership, entries, log_closed } = parts;
    let leadership_seen = server.me.leadership.clone();
    let (failed, failed_seen) = watch::channel(None);
    let watcher = Watcher {
        node: server.me.node,
        raft: server.me.raft.clone(),
        book: Arc::clone(&server.book),
        lease: Duration::from_millis(settings.timing.election_max_ms),
        counters: Arc::clone(&counters),
        log: entries,
        leadership,
        standing,
        hearsay: server.hearsay.subscribe(),
        last_word: Arc::clone(&server.last_word),
        failed,
    };
    let greeter = Greeter {
        me: server.me.clone(),
        hearsay: server.hearsay.clone(),
        masters: settings.masters,
        security: settings.security,
        book: Arc::clone(&server.book),
    };
    let tasks = vec![world::spawn(watcher.run()), world::spawn(greeter.run())];
    let store = RaftStateStore::new(server.me.raft.clone(), clock, published, leadership_seen);
    info!(node = server.me.node, cluster = %server.me.at.cluster, "master started");
    RaftHandle {
        running: Arc::new(Running {
            store: Arc::new(store),
            server,
            counters,
            changing: Arc::default(),
            failed: failed_seen,
            tasks: Mutex::new(tasks),
            log_closed: Mutex::new(Some(log_closed)),
        }),
    }
}

impl RaftHandle {
    /// The replicated state.
    pub fn store(&self) -> Arc<RaftStateStore> {
        Arc::clone(&self.running.store)
    }

    /// Id of this master, for ever.
    pub fn node(&self) -> u64 {
        self.running.server.me.node
    }

    /// Answers another master on a connection it opened for `Purpose::Masters`, until it goes.
    ///
    /// # Errors
    /// What the network answers, or that the other side does not speak as a master does.
    pub async fn serve(&self, line: Line) -> io::Result<()> {
        self.running.server.serve(line).await
    }

    /// Who belongs to the quorum.
    pub fn membership(&self) -> Membership {
        let server = &self.running.server;
        Membership {
            me: server.me.clone(),
            book: Arc::clone(&server.book),
            security: server.security.clone(),
            changing: Arc::clone(&self.running.changing),
        }
    }

    /// Holds a reason once Raft can not go on, such as a disk that fails to sync; the process
    /// should end with it. After [`RaftHandle::shutdown`] it says so, too.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.running.failed.clone()
    }

    /// Figures for `/metrics`.
    pub fn stats(&self) -> RaftStats {
        let metrics = self.running.server.me.raft.metrics();
        let now = metrics.borrow_watched();
        RaftStats {
            term: now.current_term,
            committed: now.local_committed.map_or(0, |id| id.index),
            last_index: now.last_log_index.unwrap_or(0),
            ..self.running.counters.read()
        }
    }

    /// Writes a snapshot soon.
    pub async fn trigger_snapshot(&self) {
        let _ = self.running.server.me.raft.trigger().snapshot().await;
    }

    /// Hands leadership to the voter that has most of the log, and waits for that at most
    /// two seconds. Says whether this master does not lead any more.
    pub async fn transfer_leadership(&self) -> bool {
        let raft = &self.running.server.me.raft;
        let mut metrics = raft.metrics();
        let own = self.node();
        let Some(heir) = heir(&metrics.borrow_watched().clone(), own) else {
            return !raft.is_leader();
        };
        if raft.trigger().transfer_leader(heir).await.is_err() {
            return true;
        }
        let handed_over = async {
            loop {
                let leader = metrics.borrow_watched().current_leader;
                if leader.is_some_and(|leader| leader != own) || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let done = timeout(TRANSFER_TIMEOUT, handed_over).await.is_ok();
        if !done {
            warn!(heir, "leadership was not taken over in time");
        }
        done
    }

    /// Stops, and waits until the log is closed. Leadership is not handed over by this.
    pub async fn shutdown(&self) {
        let running = &self.running;
        let tasks = std::mem::take(&mut *running.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let mut tasks = tasks.into_iter();
        let watcher = tasks.next();
        tasks.for_each(|task| task.abort());
        let _ = running.server.me.raft.shutdown().await;
        // Sees Raft's end, says that nobody leads here, and ends.
        if let Some(watcher) = watcher {
            let _ = timeout(CLOSE_TIMEOUT, watcher).await;
        }
        let closed = running.log_closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(closed) = closed
            && timeout(CLOSE_TIMEOUT, closed).await.is_err()
        {
            warn!("the log was not closed in time");
        }
    }
}

/// The voter that has most of the log, if we lead and there is another.
fn heir(now: &openraft::RaftMetrics<super::types::TypeConfig>, own: u64) -> Option<u64> {
    let replication = now.replication.as_ref()?;
    let others = now.membership_config.voter_ids().filter(|node| *node != own);
    others.max_by_key(|node| replication.get(node).and_then(|at| at.as_ref()).map(|id| id.index))
}

/// Lets callers hold the store without naming Raft.
impl From<&RaftHandle> for Arc<dyn StateStore> {
    fn from(handle: &RaftHandle) -> Self {
        handle.store()
    }
}
