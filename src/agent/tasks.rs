//! The life of one task on its agent: started once, told to stop by name, ended, forgotten.
//!
//! Pure part of `core`. A [`Task`] is the record that disk keeps and what only this run
//! of the agent knows: which operations are under way. Its start is in `starting`.

use std::time::Duration;

use super::driver::{DriverError, Ended};
use super::effect::{Effect, Timer};
use super::exit_text;
use super::record::{StopAsked, TaskRecord};
use super::starting::Patience;
use super::turn::{Turn, next_status};
use super::verdict::{self, Probe};
use crate::domain::{Exit, TaskState};

/// First pause after a driver did not answer; doubles up to [`RETRY_AFTER_MAX`].
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Longest pause between tries: drivers come back when people mend them.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Tries to remove what a task left; then it stays and people are told. About five minutes. Means
/// that are away are waited for instead: they know what there is to remove.
const REMOVE_TRIES_MAX: u32 = 15;

pub(super) struct Task {
    pub(super) record: TaskRecord,
    /// A start is under way.
    pub(super) starts: bool,
    /// Something of it may be there, though no start has succeeded. Only who is sure that nothing
    /// was ever made may say otherwise.
    pub(super) may_exist: bool,
    /// How long its start is waited for.
    pub(super) patience: Patience,
    /// A time to try its start again was asked for.
    pub(super) starts_later: bool,
    /// Somebody waits for its end.
    waits: bool,
    /// A stop is being passed on.
    stops: bool,
    /// A time to pass it on again was asked for.
    stops_later: bool,
    /// What it left is being removed.
    removes: bool,
    /// Tries in a row that a driver did not answer.
    pub(super) tries: u32,
}

impl Task {
    /// A task of which an earlier run of the agent may have made something.
    pub(super) fn of(record: TaskRecord) -> Self {
        Self {
            record,
            starts: false,
            may_exist: true,
            patience: Patience::Fresh,
            starts_later: false,
            waits: false,
            stops: false,
            stops_later: false,
            removes: false,
            tries: 0,
        }
    }

    /// Takes the task up again after the agent's process began anew.
    pub(super) fn resume(&mut self, boot: &str, turn: &mut Turn) {
        if self.record.is_ended() {
            if self.record.unacknowledged.is_empty() {
                self.remove(turn);
            }
            return;
        }
        let is_container = self.record.handle.as_ref().is_some_and(|handle| handle.container.is_some());
        if self.record.boot_id != boot && !is_container {
            return self.end(TaskState::Lost, exit_text::RESTARTED_MACHINE, None, turn);
        }
        match (&self.record.handle, &self.record.stop) {
            (None, None) => return self.start(false, turn),
            (_, Some(_)) => self.stop_again(turn),
            (Some(_), None) => self.start_checks(false, turn),
        }
        self.wait(turn);
    }

    /// Tells that it will be stopped, then stops it; once.
    pub(super) fn ask_stop(&mut self, why: StopAsked, turn: &mut Turn) {
        if self.record.is_ended() || self.record.stop.is_some() {
            return;
        }
        let text = why.message();
        self.record.stop = Some(why);
        if self.has_checks() {
            turn.then.push(Effect::StopChecks(self.record.task().clone()));
        }
        self.tell(TaskState::Killing, &text, turn);
        // A start under way is awaited first: stopping beside it could miss what it makes.
        // It need not go on to its end.
        if self.starts {
            return turn.then.push(Effect::GiveUpStart(self.record.task().clone()));
        }
        if !self.has_begun() {
            return self.end_stopped(None, turn);
        }
        self.stop_again(turn);
        self.wait(turn);
    }

    /// The time to pass a stop on again has come.
    pub(super) fn retry_stop(&mut self, turn: &mut Turn) {
        if std::mem::take(&mut self.stops_later) {
            self.stop_again(turn);
        }
    }

    pub(super) fn stop_again(&mut self, turn: &mut Turn) {
        if self.record.is_ended() || self.record.stop.is_none() || self.starts || self.stops {
            return;
        }
        self.stops = true;
        let (handle, grace) = (self.record.handle_or_name(), self.record.launch.kill_grace);
        turn.then.push(Effect::Stop { handle, grace });
    }

    pub(super) fn on_stop_passed(&mut self, result: Result<(), DriverError>, turn: &mut Turn) {
        self.stops = false;
        match result {
            Ok(()) | Err(DriverError::Missing) => self.wait(turn),
            Err(_) if self.record.is_ended() => {}
            Err(error) => {
                let task = self.record.task().clone();
                turn.then.push(Effect::Warn(format!("cannot stop task {task} yet: {error}")));
                self.stops_later = true;
                let delay = self.next_delay();
                turn.after(delay, Timer::Stop(task));
            }
        }
    }

    pub(super) fn wait(&mut self, turn: &mut Turn) {
        let has_begun = self.record.handle.is_some() || self.record.stop.is_some();
        if !self.waits && !self.starts && has_begun && !self.record.is_ended() {
            self.waits = true;
            turn.then.push(Effect::Wait(self.record.handle_or_name()));
        }
    }

    pub(super) fn on_ended(&mut self, result: Result<Ended, DriverError>, boot: &str, turn: &mut Turn) {
        self.waits = false;
        if self.record.is_ended() {
            return;
        }
        let is_restarted = self.record.boot_id != boot;
        match result {
            Ok(ended) if self.record.stop.is_some() => self.end_stopped(Some(ended.exit), turn),
            Err(DriverError::Missing) if self.record.stop.is_some() => self.end_stopped(None, turn),
            Ok(ended) if is_restarted => {
                self.end(TaskState::Lost, exit_text::RESTARTED_MACHINE, Some(ended.exit), turn);
            }
            Err(DriverError::Missing) => {
                let text = if is_restarted { exit_text::RESTARTED_MACHINE } else { exit_text::VANISHED };
                self.end(TaskState::Lost, text, None, turn);
            }
            Ok(ended) => {
                let is_success = ended.exit.code == Some(0) && !ended.exit.out_of_memory;
                let state = if is_success { TaskState::Finished } else { TaskState::Failed };
                let text = exit_text::of(&ended, &self.record.launch);
                self.end(state, &text, Some(ended.exit), turn);
            }
            Err(_) => {
                // Nothing is known of the task; it may run on. Ask again.
                let delay = self.next_delay();
                turn.after(delay, Timer::Wait(self.record.task().clone()));
            }
        }
    }

    pub(super) fn on_probed(&mut self, probe: &Probe, turn: &mut Turn) {
        if self.record.status.state != TaskState::Running {
            return;
        }
        let found = self.record.launch.health_checks.iter().find(|check| check.index == probe.check);
        let Some(check) = found.map(|launch| launch.check.clone()) else { return };
        let since = self.record.running_since.unwrap_or(turn.now);
        let verdict = verdict::judge(&check, &mut self.record.status.health, probe, since, turn.now);
        if let Some(cause) = verdict.kill {
            return self.ask_stop(StopAsked::Unhealthy { cause }, turn);
        }
        if verdict.is_news {
            let text = self.record.status.message.clone();
            self.tell(TaskState::Running, &text, turn);
        }
    }

    /// Enters the end of the task.
    pub(super) fn end(&mut self, state: TaskState, text: &str, exit: Option<Exit>, turn: &mut Turn) {
        if self.has_checks() && self.record.stop.is_none() {
            turn.then.push(Effect::StopChecks(self.record.task().clone()));
        }
        let status = next_status(&self.record.status, state, turn.now, text);
        self.tries = 0;
        turn.tell(self.record.tell(crate::domain::TaskStatus { exit, ..status }));
    }

    pub(super) fn end_stopped(&mut self, exit: Option<Exit>, turn: &mut Turn) {
        let text = self.record.stop.as_ref().map(StopAsked::message).unwrap_or_default();
        self.end(TaskState::Killed, &text, exit, turn);
    }

    pub(super) fn acknowledge(&mut self, seq: u64, turn: &mut Turn) {
        self.record.acknowledge(seq);
        // Not saved: after a restart it would be told once more, which is harmless.
        if self.record.is_ended() && self.record.unacknowledged.is_empty() {
            self.remove(turn);
        }
    }

    pub(super) fn remove(&mut self, turn: &mut Turn) {
        if !self.removes && self.record.is_ended() {
            self.removes = true;
            turn.then.push(Effect::Remove(self.record.handle_or_name()));
        }
    }

    /// Whether the task may be forgotten.
    pub(super) fn on_removed(&mut self, result: Result<(), DriverError>, turn: &mut Turn) -> bool {
        self.removes = false;
        let Err(error) = result else { return true };
        if matches!(error, DriverError::Missing) {
            return true;
        }
        let task = self.record.task().clone();
        if matches!(error, DriverError::Unavailable { .. }) {
            self.tries = self.tries.min(REMOVE_TRIES_MAX / 2);
        }
        if self.tries >= REMOVE_TRIES_MAX {
            let text = format!("what task {task} left behind stays: {error}; remove it by hand");
            turn.then.push(Effect::Warn(text));
            return true;
        }
        let delay = self.next_delay();
        turn.after(delay, Timer::Remove(task));
        false
    }

    pub(super) fn tell(&mut self, state: TaskState, text: &str, turn: &mut Turn) {
        let status = next_status(&self.record.status, state, turn.now, text);
        turn.tell(self.record.tell(status));
    }

    pub(super) fn start_checks(&self, is_new: bool, turn: &mut Turn) {
        if self.has_checks() {
            let checks = verdict::executed(&self.record.launch.health_checks);
            let handle = self.record.handle_or_name();
            turn.then.push(Effect::StartChecks { handle, checks, is_new });
        }
    }

    fn has_checks(&self) -> bool {
        !self.record.launch.health_checks.is_empty()
    }

    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = RETRY_AFTER.saturating_mul(1 << self.tries.min(6)).min(RETRY_AFTER_MAX);
        self.tries = self.tries.saturating_add(1);
        delay
    }
}
