//! What one input leads to, gathered and put in order. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effect::{Effect, Timer};
use super::tasks::Task;
use crate::domain::{TaskId, TaskState, TaskStatus, Timestamp};
use crate::protocol::{Fence, FromAgent, StatusUpdate};

/// Updates in one message: about 256 KiB.
const UPDATES_IN_MESSAGE_MAX: usize = 512;

/// What one input leads to, while it is gathered.
pub(super) struct Turn {
    pub(super) now: Timestamp,
    pub(super) fence: Option<Fence>,
    changed: BTreeSet<TaskId>,
    pub(super) before_news: Vec<Effect>,
    pub(super) news: Vec<StatusUpdate>,
    pub(super) then: Vec<Effect>,
}

impl Turn {
    pub(super) fn at(now: Timestamp) -> Self {
        Self {
            now,
            fence: None,
            changed: BTreeSet::new(),
            before_news: Vec::new(),
            news: Vec::new(),
            then: Vec::new(),
        }
    }

    /// The record of `task` has to be saved.
    pub(super) fn changed(&mut self, task: &TaskId) {
        self.changed.insert(task.clone());
    }

    /// `update` is to be told; its task's record is saved first.
    pub(super) fn tell(&mut self, update: StatusUpdate) {
        self.changed(&update.id.task);
        self.news.push(update);
    }

    pub(super) fn after(&mut self, delay: Duration, timer: Timer) {
        self.then.push(Effect::After { delay, timer });
    }

    pub(super) fn warn(&mut self, text: String) {
        self.then.push(Effect::Warn(text));
    }

    /// All of it in order: what must be durable, what to tell, what to do. Without a
    /// registration nothing is told.
    pub(super) fn into_effects(self, tasks: &BTreeMap<TaskId, Task>, is_registered: bool) -> Vec<Effect> {
        let mut effects: Vec<Effect> = self.fence.map(Effect::SaveFence).into_iter().collect();
        let changed = self.changed.iter().filter_map(|task| tasks.get(task));
        effects.extend(changed.map(|task| Effect::Save(Box::new(task.record.clone()))));
        effects.extend(self.before_news);
        if is_registered {
            for updates in self.news.chunks(UPDATES_IN_MESSAGE_MAX) {
                effects.push(Effect::Send(FromAgent::Status { updates: updates.to_vec() }));
            }
        }
        effects.extend(self.then);
        effects
    }
}

/// A status of a task that says only its state, with what is lasting of the one before.
pub(super) fn next_status(before: &TaskStatus, state: TaskState, at: Timestamp, text: &str) -> TaskStatus {
    TaskStatus {
        health: before.health.clone(),
        ip_addresses: before.ip_addresses.clone(),
        ..TaskStatus::new(state, at, text)
    }
}
