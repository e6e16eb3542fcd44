//! What others may see of a running agent: its tasks and counts. Written by `runtime`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::core::AgentCore;
use super::record::TaskRecord;
use crate::domain::{TaskId, TaskState};
use crate::protocol::Fence;
use crate::telemetry::{Samples, metrics};

/// A running agent, as metrics and logs see it.
#[derive(Debug, Default)]
pub struct AgentView {
    records: RwLock<BTreeMap<TaskId, TaskRecord>>,
    is_registered: AtomicBool,
    heeded: RwLock<Option<Fence>>,
    unacknowledged: AtomicU64,
    held_ports: AtomicU64,
    is_disk_full: AtomicBool,
    withheld: AtomicU64,
}

impl AgentView {
    /// Tasks that the agent remembers, in order.
    pub fn tasks(&self) -> Vec<TaskRecord> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What the agent remembers of `task`.
    pub fn task(&self, task: &TaskId) -> Option<TaskRecord> {
        self.records.read().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }

    /// How many remembered tasks are in each state, in the order of [`TaskState::ALL`].
    pub fn tasks_by_state(&self) -> Vec<(TaskState, usize)> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let count = |state| records.values().filter(|record| record.status.state == state).count();
        TaskState::ALL.into_iter().map(|state| (state, count(state))).collect()
    }

    /// Whether a leader has this agent registered.
    pub fn is_registered(&self) -> bool {
        self.is_registered.load(Ordering::Relaxed)
    }

    /// Who sent the latest message that the agent acted on in this run of its process, and
    /// from which state; nothing before the first.
    pub fn heeded(&self) -> Option<Fence> {
        self.heeded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Status updates that no leader has acknowledged yet.
    pub fn unacknowledged(&self) -> u64 {
        self.unacknowledged.load(Ordering::Relaxed)
    }

    /// Ports of the agent's ranges that strangers hold.
    pub fn held_ports(&self) -> u64 {
        self.held_ports.load(Ordering::Relaxed)
    }

    /// Whether the disk takes no records, also while nothing waits for it.
    pub fn is_disk_full(&self) -> bool {
        self.is_disk_full.load(Ordering::Relaxed)
    }

    /// What waits for a disk that takes records again: records, and what is to be done after them.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    /// Writes the agent's own metrics; made to be a source of the registry.
    pub fn sample(&self, samples: &mut Samples) {
        for (state, count) in self.tasks_by_state() {
            let name = state.as_str().trim_start_matches("TASK_").to_ascii_lowercase();
            samples.set_count(&metrics::TASKS, &[&name], u64::try_from(count).unwrap_or(u64::MAX));
        }
        samples.set_count(&metrics::CONNECTED, &[], self.is_registered().into());
        samples.set_count(&metrics::LEADER_TERM, &[], self.heeded().map_or(0, |fence| fence.term));
        samples.set_count(&metrics::UNACKNOWLEDGED, &[], self.unacknowledged());
        samples.set_count(&metrics::HELD_PORTS, &[], self.held_ports());
        samples.set_count(&metrics::DISK_FULL, &[], self.is_disk_full().into());
        samples.set_count(&metrics::WITHHELD, &[], self.withheld());
    }

    pub(super) fn enter(&self, record: &TaskRecord) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        records.insert(record.task().clone(), record.clone());
    }

    pub(super) fn forget(&self, task: &TaskId) {
        self.records.write().unwrap_or_else(PoisonError::into_inner).remove(task);
    }

    pub(super) fn observe(&self, core: &AgentCore) {
        self.is_registered.store(core.is_registered(), Ordering::Relaxed);
        *self.heeded.write().unwrap_or_else(PoisonError::into_inner) = core.heeded().cloned();
        self.unacknowledged.store(core.unacknowledged(), Ordering::Relaxed);
        self.held_ports.store(core.held_ports().count().into(), Ordering::Relaxed);
    }

    pub(super) fn note_disk_full(&self, is_full: bool) {
        self.is_disk_full.store(is_full, Ordering::Relaxed);
    }

    pub(super) fn note_withheld(&self, count: usize) {
        self.withheld.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.is_registered.store(false, Ordering::Relaxed);
    }
}
