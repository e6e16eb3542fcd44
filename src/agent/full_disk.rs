//! What the loop does while the disk takes no records: it tells people and masters, keeps what has
//! to wait, and does what needs no room.
//!
//! Part of `runtime`. The ends of tasks find room that `reserve` keeps, since what an ended task
//! leaves is what can be removed.

use std::time::Duration;

use tokio::time::Instant;

use super::checkpoint::Checkpoints;
use super::effect::{DiskRoom, Effect};
use super::record::TaskRecord;
use super::runtime::Runtime;
use crate::domain::TaskId;
use crate::protocol::FromAgent;

/// Pause before a record is written again that the disk did not take.
pub(super) const SAVE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often people are told that the disk still takes nothing.
const FULL_DISK_TOLD_EVERY: Duration = Duration::from_secs(60);

/// A disk that takes no records, or did not and has little room since.
pub(super) struct FullDisk {
    since: Instant,
    /// When people were told last.
    told: Instant,
    /// For people, as the masters have it.
    pub(super) why: String,
}

impl Runtime {
    /// Saves the ends of tasks, for which room is kept; gives what else there is to do.
    pub(super) async fn save_ends(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let ends: Vec<TaskRecord> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Save(record) if record.is_ended() => Some(TaskRecord::clone(record)),
                _ => None,
            })
            .collect();
        if ends.is_empty() {
            return effects;
        }
        let saved = self.saved_by(Checkpoints::save_each, ends).await;
        let is_open = |effect: &Effect| !matches!(effect, Effect::Save(old) if saved.contains(old.task()));
        self.withheld.retain(is_open);
        effects.retain(is_open);
        effects
    }

    /// Does what the full disk allows. What rests on no record that waits may be told and done.
    pub(super) fn do_without_disk(&mut self, effect: Effect) {
        match effect {
            Effect::SaveFence(_) | Effect::Save(_) => self.withhold(effect),
            Effect::Forget(ref task) if self.has_withheld(task) => self.withhold(effect),
            Effect::Remove(ref handle) if self.has_withheld(&handle.task) => self.withhold(effect),
            // The core says the others again until they are acknowledged.
            Effect::Send(FromAgent::Status { mut updates }) => {
                updates.retain(|update| !self.has_withheld(&update.id.task));
                if !updates.is_empty() {
                    self.send(FromAgent::Status { updates });
                }
            }
            // The agent stays registered, and so its tasks are not taken for lost.
            Effect::Send(_)
            | Effect::Forget(_)
            | Effect::Remove(_)
            | Effect::Disconnect(_)
            | Effect::Start { .. }
            | Effect::GiveUpStart(_)
            | Effect::Wait(_)
            | Effect::Stop { .. }
            | Effect::List
            | Effect::StartChecks { .. }
            | Effect::StopChecks(_)
            | Effect::After { .. }
            | Effect::Warn(_) => self.do_one(effect),
        }
    }

    fn has_withheld(&self, task: &TaskId) -> bool {
        self.withheld.iter().any(|effect| matches!(effect, Effect::Save(record) if record.task() == task))
    }

    /// A record found no room.
    pub(super) fn meet_full_disk(&mut self, error: &std::io::Error) {
        let why = self.checkpoints.refusal(error);
        let is_known = self.full_disk.as_ref().is_some_and(|disk| disk.why == why);
        self.tell_no_room(&DiskRoom::No(why.clone()));
        if !is_known {
            self.operations.tried_disk(why);
        }
    }

    /// Tells people, who need not hear it more often than once a minute.
    pub(super) fn tell_no_room(&mut self, room: &DiskRoom) {
        let Some(why) = room.hindrance(true) else { return };
        let now = Instant::now();
        let known = self.full_disk.as_ref().map(|disk| (disk.since, disk.told));
        let is_told = known.is_some_and(|(_, told)| now.duration_since(told) < FULL_DISK_TOLD_EVERY);
        let (since, told) = known.unwrap_or((now, now));
        let told = if is_told { told } else { now };
        self.full_disk = Some(FullDisk { since, told, why: why.to_owned() });
        self.view.note_disk_full(true);
        if is_told {
            return;
        }
        if matches!(room, DiskRoom::No(_)) {
            tracing::warn!(
                why,
                "the disk takes no records of tasks: what runs goes on, but nothing is started and no news is \
                 told until it does; make room there"
            );
        } else {
            tracing::warn!(
                why,
                "the disk has too little room to start tasks: what runs goes on; make more there"
            );
        }
    }

    pub(super) fn tell_room(&mut self) {
        if let Some(FullDisk { since, .. }) = self.full_disk.take() {
            self.view.note_disk_full(false);
            tracing::info!(after = ?since.elapsed(), "the disk takes records of tasks again; what waited is done now");
        }
    }

    /// Keeps one effect for later; of a task's records the latest is enough.
    fn withhold(&mut self, effect: Effect) {
        if let Effect::Save(record) = &effect {
            let task = record.task();
            self.withheld.retain(|earlier| !matches!(earlier, Effect::Save(old) if old.task() == task));
        }
        self.withheld.push(effect);
    }

    pub(super) async fn save_again(&mut self) {
        self.save_again_at = None;
        let effects = std::mem::take(&mut self.withheld);
        self.perform(effects).await;
        self.view.note_withheld(self.withheld.len());
    }
}
