//! What others may see of a running agent: its tasks and counts. Written by `runtime`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::record::TaskRecord;
use crate::domain::{TaskId, TaskState};

/// A running agent, as metrics and logs see it.
#[derive(Debug, Default)]
pub struct AgentView {
    records: RwLock<BTreeMap<TaskId, TaskRecord>>,
    is_registered: AtomicBool,
    registrations: AtomicU64,
    operations: [[AtomicU64; 2]; Operation::ALL.len()],
    ended: [AtomicU64; TaskState::ALL.len()],
}

/// What drivers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Starting a task.
    Start,
    /// Stopping a task.
    Stop,
    /// Removing what a task left.
    Remove,
    /// Listing what is there.
    List,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 4] = [Self::Start, Self::Stop, Self::Remove, Self::List];

    /// Name for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::List => "list",
        }
    }
}

impl AgentView {
    /// Tasks that the agent remembers, in order.
    pub fn tasks(&self) -> Vec<TaskRecord> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether the agent remembers `task`.
    pub fn knows(&self, task: &TaskId) -> bool {
        self.records.read().unwrap_or_else(PoisonError::into_inner).contains_key(task)
    }

    /// How many remembered tasks are in each state, in the order of [`TaskState::ALL`].
    pub fn tasks_by_state(&self) -> Vec<(TaskState, usize)> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let count = |state| records.values().filter(|record| record.status.state == state).count();
        TaskState::ALL.into_iter().map(|state| (state, count(state))).collect()
    }

    /// Tasks that ended in each terminal state since the agent's process began.
    pub fn ended_by_state(&self) -> Vec<(TaskState, u64)> {
        let counted = TaskState::ALL.into_iter().zip(&self.ended);
        let terminal = counted.filter(|(state, _)| state.is_terminal());
        terminal.map(|(state, count)| (state, count.load(Ordering::Relaxed))).collect()
    }

    /// Whether a leader has this agent registered.
    pub fn is_registered(&self) -> bool {
        self.is_registered.load(Ordering::Relaxed)
    }

    /// How often a leader registered this agent since its process began.
    pub fn registrations(&self) -> u64 {
        self.registrations.load(Ordering::Relaxed)
    }

    /// Calls of drivers since the agent's process began: operation, successes, failures.
    pub fn operations(&self) -> Vec<(Operation, u64, u64)> {
        let counted = Operation::ALL.into_iter().zip(&self.operations);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        counted.map(|(operation, [good, bad])| (operation, read(good), read(bad))).collect()
    }

    pub(super) fn enter(&self, record: &TaskRecord) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let before = records.insert(record.task().clone(), record.clone());
        let was_live = before.is_none_or(|before| !before.is_ended());
        let place = TaskState::ALL.iter().position(|state| *state == record.status.state);
        if let Some(count) = place.filter(|_| was_live).and_then(|place| self.ended.get(place)) {
            count.fetch_add(u64::from(record.is_ended()), Ordering::Relaxed);
        }
    }

    pub(super) fn forget(&self, task: &TaskId) {
        self.records.write().unwrap_or_else(PoisonError::into_inner).remove(task);
    }

    pub(super) fn set_registered(&self, is_registered: bool) {
        let before = self.is_registered.swap(is_registered, Ordering::Relaxed);
        if is_registered && !before {
            self.registrations.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self, operation: Operation, is_success: bool) {
        let place = Operation::ALL.iter().position(|one| *one == operation);
        let counts = place.and_then(|place| self.operations.get(place));
        if let Some([good, bad]) = counts {
            if is_success { good } else { bad }.fetch_add(1, Ordering::Relaxed);
        }
    }
}
