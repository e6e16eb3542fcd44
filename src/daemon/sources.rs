//! What `/metrics` shows of the state, read when somebody looks. Reads snapshots only,
//! so a scrape never stops a write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::domain::{Goal, Resources, TaskState};
use crate::forecast::Resilience;
use crate::leader::{LeaderStats, RollCall};
use crate::raft::{FSYNC_BUCKETS_US, RaftStats};
use crate::state::{ClusterState, Presence};
use crate::store::StateStore;
use crate::telemetry::{SampledHistogram, Samples, metrics};

/// Says what the replicated state holds, and who leads.
pub fn of_state(store: &Arc<dyn StateStore>, samples: &mut Samples) {
    let view = store.snapshot();
    let leadership = store.leadership().borrow().clone();
    samples.set_count(&metrics::LEADER, &[], leadership.leads.into());
    samples.set_count(&metrics::LEADER_KNOWN, &[], leadership.leader.is_some().into());
    samples.set_count(&metrics::TERM, &[], leadership.term);
    samples.set_count(&metrics::APPLIED_INDEX, &[], view.index);
    samples.set_count(&metrics::APPS, &[], count(view.apps.len()));
    samples.set_count(&metrics::GROUPS, &[], count(groups(&view)));
    samples.set_count(&metrics::DEPLOYMENTS, &[], count(view.deployments.len()));
    of_tasks(&view, samples);
    of_resources(&view, samples);
}

fn of_tasks(view: &ClusterState, samples: &mut Samples) {
    let mut by_state: BTreeMap<TaskState, u64> = TaskState::ALL.map(|state| (state, 0)).into();
    let mut waiting = 0;
    let mut waiting_apps = BTreeSet::new();
    for row in view.instances.values() {
        if row.is_waiting() {
            waiting += 1;
            waiting_apps.insert(&row.app);
        }
        let task = row.task.as_ref().filter(|task| task.is_live() || row.goal == Goal::Running);
        if let Some(task) = task {
            *by_state.entry(task.status.state).or_default() += 1;
        }
    }
    for (state, tasks) in by_state {
        let name = state.as_str().trim_start_matches("TASK_").to_lowercase();
        samples.set_count(&metrics::TASKS, &[&name], tasks);
    }
    samples.set_count(&metrics::QUEUE_INSTANCES, &[], waiting);
    samples.set_count(&metrics::QUEUE_APPS, &[], count(waiting_apps.len()));
}

fn of_resources(view: &ClusterState, samples: &mut Samples) {
    let mut used = [0.0; 5];
    let mut capacity = [0.0; 5];
    for row in view.agents.values() {
        add(&mut used, &row.used);
        if row.presence == Presence::Registered {
            add(&mut capacity, &row.info.totals);
        }
    }
    let kinds = ["cpus", "mem", "disk", "gpus", "ports"];
    for ((kind, capacity), used) in kinds.into_iter().zip(capacity).zip(used) {
        samples.set(&metrics::CAPACITY, &[kind], capacity);
        samples.set(&metrics::USED, &[kind], used);
    }
}

fn add(sums: &mut [f64; 5], some: &Resources) {
    let ports = f64::from(some.ports.count());
    let amounts = [some.cpus.to_f64(), some.mem.to_f64(), some.disk.to_f64(), some.gpus.to_f64(), ports];
    for (sum, amount) in sums.iter_mut().zip(amounts) {
        *sum += amount;
    }
}

fn groups(view: &ClusterState) -> usize {
    let mut groups = BTreeSet::new();
    for row in view.apps.values() {
        let mut path = row.id.parent();
        while path != "/" && groups.insert(path) {
            path =
                path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
        }
    }
    groups.len()
}

/// Says which agents could be lost; only the leader looks.
pub fn of_resilience(shown: &watch::Receiver<Option<Arc<Resilience>>>, samples: &mut Samples) {
    let Some(look) = shown.borrow().clone() else { return };
    samples.set_count(&metrics::AGENTS_DISPENSABLE, &[], count(look.survey.dispensable()));
    samples.set_count(&metrics::AGENTS_INDISPENSABLE, &[], count(look.survey.indispensable.len()));
    samples.set(&metrics::RESILIENCE_LOOK, &[], look.took.as_secs_f64());
}

/// Says how agents are connected; only the leader knows.
pub fn of_agents(store: &Arc<dyn StateStore>, roll_call: &RollCall, samples: &mut Samples) {
    if !store.leadership().borrow().leads {
        return;
    }
    let view = store.snapshot();
    let suspects = roll_call.suspects(&view);
    let mut by_presence: BTreeMap<&str, u64> =
        ["connected", "disconnected", "suspect", "unreachable"].map(|presence| (presence, 0)).into();
    for row in view.agents.values() {
        let suspicion = suspects.get(&row.info.id).and_then(|suspicion| suspicion.presence());
        let presence = match row.presence {
            Presence::Unreachable { .. } => "unreachable",
            Presence::Registered => suspicion.unwrap_or("connected"),
        };
        *by_presence.entry(presence).or_default() += 1;
    }
    for (presence, agents) in by_presence {
        samples.set_count(&metrics::AGENTS, &[presence], agents);
    }
}

fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// Says how large the log is, and how fast its disk.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
pub fn of_log(stats: &RaftStats, samples: &mut Samples) {
    samples.set_count(&metrics::LAST_INDEX, &[], stats.last_index);
    samples.set_count(&metrics::LOG_SIZE, &[], stats.log_bytes);
    samples.set_count(&metrics::SNAPSHOT_SIZE, &[], stats.snapshot_bytes);
    samples.set_count(&metrics::SNAPSHOTS, &[], stats.snapshots);
    samples.set(&metrics::SNAPSHOT_WRITE, &[], stats.snapshot_ms as f64 / 1e3);
    let seconds = |us: u64| us as f64 / 1e6;
    let counts = stats.fsync_buckets.iter().copied();
    let flushes = SampledHistogram {
        buckets: FSYNC_BUCKETS_US.into_iter().map(seconds).zip(counts).collect(),
        beyond: stats.fsync_buckets.get(FSYNC_BUCKETS_US.len()).copied().unwrap_or_default(),
        sum: seconds(stats.fsync_us),
    };
    samples.set_histogram(&metrics::LOG_FLUSH, flushes);
}

/// Says what this master did while it led.
pub fn of_leading(stats: &LeaderStats, samples: &mut Samples) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    samples.set(&metrics::LEADERSHIP, &[], stats.leading_for().as_secs_f64());
    samples.set_count(&metrics::TERMS_LED, &[], read(&stats.terms));
    samples.set_count(&metrics::STALLS, &[], read(&stats.stalls));
    samples.set_count(&metrics::AGENTS_LOST, &[], read(&stats.agents_lost));
}
