//! Records log entries. One line per command; the arms lie beside this file.
//!
//! Old arms keep answering as they did: every version of the binary must agree.

mod agents;
mod deployments;
mod instances;
mod tasks;

use crate::domain::Timestamp;
use crate::state::{ClusterState, Command, Event, LogEntry, Refusal, RequestRow};

/// What recording an entry did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Index of the entry.
    pub index: u64,
    /// What changed, in order.
    pub events: Vec<Event>,
    /// What was refused, with the position of the command.
    pub refusals: Vec<(usize, Refusal)>,
    /// The answer given earlier to a request with the same idempotency key.
    pub answered: Option<RequestRow>,
}

impl Applied {
    /// The first refusal, for proposals of one command.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusals.first().map(|(_, refusal)| refusal)
    }
}

/// Collects what one entry does.
pub(super) struct Recorder {
    applied: Applied,
    command: usize,
}

impl Recorder {
    fn event(&mut self, event: Event) {
        self.applied.events.push(event);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.applied.refusals.push((self.command, refusal));
    }

    fn answered(&mut self, row: RequestRow) {
        self.applied.answered = Some(row);
    }
}

/// Records the entry at `index`. Never fails: what cannot be is refused, and says why.
///
/// # Panics
/// When `index` is not later than the latest one: the log was applied out of order.
pub fn apply(state: &mut ClusterState, index: u64, entry: &LogEntry) -> Applied {
    assert!(index > state.index, "index {index} after {}", state.index);
    state.index = index;
    // Leaders' clocks differ; recorded time never runs backwards.
    state.now = state.now.max(entry.at);
    let mut record = Recorder { applied: Applied { index, ..Applied::default() }, command: 0 };
    for (at, command) in entry.commands.iter().enumerate() {
        record.command = at;
        apply_one(state, command, &mut record);
    }
    record.applied
}

fn apply_one(state: &mut ClusterState, command: &Command, record: &mut Recorder) {
    match command {
        Command::FoundCluster { cluster, epoch } => {
            if state.cluster.is_none() {
                state.cluster = Some(cluster.clone());
                state.epoch = *epoch;
                record.event(Event::ClusterFounded);
            }
        }
        Command::RegisterAgent { info, held_ports, proof } => {
            agents::register(state, info, held_ports, proof.as_ref(), record);
        }
        Command::SetHeldPorts { agent, ports } => agents::set_held_ports(state, agent, ports, record),
        Command::SetHindrances { agent, hindrances } => {
            agents::set_hindrances(state, agent, hindrances, record);
        }
        Command::MarkAgentUnreachable { agent, run, since } => {
            agents::mark_unreachable(state, agent, *run, *since, record);
        }
        Command::StartDeployment(start) => deployments::start(state, start, record),
        Command::FinishStep { deployment, step } => {
            deployments::finish_step(state, deployment, *step, record);
        }
        Command::CancelDeployment { deployment } => deployments::cancel(state, deployment, record),
        Command::CreateInstances { app, version, ids } => {
            instances::create(state, app, *version, ids, record);
        }
        Command::SetGoal { instances, goal, reason } => {
            instances::set_goal(state, instances, *goal, reason, record);
        }
        Command::StopTasks { tasks, reason } => tasks::stop(state, tasks, reason, record),
        Command::LaunchTasks { placements, .. } => tasks::launch(state, placements, record),
        Command::RecordStatuses { agent, statuses } => tasks::record_statuses(state, agent, statuses, record),
        Command::MarkInactive { instances } => instances::mark_inactive(state, instances, record),
        Command::Expunge { instances } => instances::expunge(state, instances, record),
        Command::Readmit { instances } => instances::readmit(state, instances, record),
        Command::MoveInstances { instances } => instances::move_away(state, instances, record),
        Command::KeepInstances { instances } => instances::keep(state, instances, record),
        Command::ResetDelay { app } => deployments::reset_delay(state, app, record),
        Command::Reap { requests_before } => reap(state, *requests_before),
    }
}

fn reap(state: &mut ClusterState, requests_before: Timestamp) {
    let old: Vec<String> = state
        .requests
        .iter()
        .filter(|(_, row)| row.at < requests_before)
        .map(|(key, _)| key.clone())
        .collect();
    for key in old {
        state.requests.remove(&key);
    }
    deployments::drop_unused_versions(state);
}

#[cfg(test)]
mod tests;
