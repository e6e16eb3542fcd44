//! The start of one task: tried until it succeeds, is refused, or is given back because nothing
//! could be made of it for too long.
//!
//! Pure part of `core`, beside `tasks`. A start may be given back only while nothing of the
//! task can be there: it will be started elsewhere, and must not run twice. So whatever may
//! have reached the means stays here until they answer.

use std::time::Duration;

use super::driver::{DriverError, Started};
use super::effect::{Effect, HeldPort, Timer};
use super::tasks::Task;
use super::turn::Turn;
use crate::domain::TaskState;
use crate::protocol::StatusUpdate;

/// A start that takes longer is told to the masters: most likely an image is pulled.
const SLOW_START_AFTER: Duration = Duration::from_secs(1);
/// A start that could not begin for so long is given back. An engine restarts within 2 s or so;
/// and by then the masters have heard that it is away, so that nothing else comes here.
pub(super) const GIVE_BACK_AFTER: Duration = Duration::from_secs(5);

/// How long a start is waited for that cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It did not have to wait yet.
    Fresh,
    /// It waits; a time was asked for.
    Counting,
    /// That time is over.
    Over,
}

impl Task {
    pub(super) fn start(&mut self, check_ports: bool, turn: &mut Turn) {
        self.starts = true;
        turn.changed(self.record.task());
        turn.then.push(Effect::Start { launch: Box::new(self.record.launch.clone()), check_ports });
        turn.after(SLOW_START_AFTER, Timer::SlowStart(self.record.task().clone()));
    }

    /// The time to try again has come.
    pub(super) fn retry_start(&mut self, is_ending: bool, turn: &mut Turn) {
        self.starts_later = false;
        self.start_again(is_ending, turn);
    }

    pub(super) fn start_again(&mut self, is_ending: bool, turn: &mut Turn) {
        let is_due = self.record.handle.is_none() && self.record.stop.is_none() && !self.record.is_ended();
        if is_due && !self.starts && !is_ending {
            self.starts = true;
            let launch = Box::new(self.record.launch.clone());
            turn.then.push(Effect::Start { launch, check_ports: !self.may_exist });
        }
    }

    /// What was waited for is back: no reason to sit out a pause.
    pub(super) fn retry_at_once(&mut self, is_ending: bool, turn: &mut Turn) {
        if self.starts_later {
            self.start_again(is_ending, turn);
        }
        self.retry_stop(turn);
    }

    pub(super) fn tell_slow_start(&mut self, turn: &mut Turn) {
        if self.starts && self.record.status.state == TaskState::Staging {
            self.tell(TaskState::Starting, "the start is under way; an image may have to be pulled", turn);
        }
    }

    pub(super) fn on_started(&mut self, result: Result<Started, DriverError>, turn: &mut Turn) {
        if let Err(DriverError::Unavailable { means, reason, made_nothing }) = &result {
            self.may_exist |= !made_nothing;
            return self.on_not_begun(&format!("{means}, which does not answer: {reason}"), turn);
        }
        self.starts = false;
        if self.record.is_ended() {
            return;
        }
        match result {
            Ok(started) => self.come_up(started, turn),
            Err(_) if self.record.stop.is_some() => self.end_stopped(None, turn),
            Err(error) => self.end(TaskState::Failed, &error.to_string(), None, turn),
        }
    }

    fn come_up(&mut self, started: Started, turn: &mut Turn) {
        self.tries = 0;
        self.record.handle = Some(started.handle);
        self.record.running_since = Some(turn.now);
        self.record.status.ip_addresses = started.ip_addresses;
        if self.record.stop.is_some() {
            turn.changed(self.record.task());
            self.stop_again(turn);
        } else {
            self.tell(TaskState::Running, "", turn);
            self.start_checks(true, turn);
        }
        self.wait(turn);
    }

    /// The start could not be tried, for want of `what`, with its reason.
    pub(super) fn on_not_begun(&mut self, what: &str, turn: &mut Turn) {
        self.starts = false;
        if self.record.is_ended() {
            return;
        }
        if self.record.stop.is_some() {
            if !self.has_begun() {
                return self.end_stopped(None, turn);
            }
            self.stop_again(turn);
            return self.wait(turn);
        }
        let text = format!("waiting for {what}");
        if self.patience == Patience::Over && !self.has_begun() {
            return self.give_back(&text, turn);
        }
        if self.record.status.message != text {
            let task = self.record.task();
            turn.warn(if self.has_begun() {
                format!("task {task} may run already, and is looked for later: {text}")
            } else {
                format!("cannot start task {task} yet: {text}")
            });
            self.tell(self.record.status.state, &text, turn);
        }
        self.start_later(turn);
    }

    fn start_later(&mut self, turn: &mut Turn) {
        if self.patience == Patience::Fresh {
            self.patience = Patience::Counting;
            turn.after(GIVE_BACK_AFTER, Timer::GiveBack(self.record.task().clone()));
        }
        // An earlier time that is still to come is enough.
        if !std::mem::replace(&mut self.starts_later, true) {
            let delay = self.next_delay();
            turn.after(delay, Timer::Start(self.record.task().clone()));
        }
    }

    /// Its start has been waited for long enough. One that is under way decides when it ends.
    pub(super) fn lose_patience(&mut self, turn: &mut Turn) {
        self.patience = Patience::Over;
        let is_waiting = self.record.stop.is_none() && !self.record.is_ended() && !self.starts;
        if is_waiting && !self.has_begun() {
            let text = self.record.status.message.clone();
            self.give_back(&text, turn);
        }
    }

    /// Ends a task of which nothing was made, for the masters to start another in its place.
    fn give_back(&mut self, waiting: &str, turn: &mut Turn) {
        let text =
            format!("could not be started on this agent: gave up after {GIVE_BACK_AFTER:?} of {waiting}");
        turn.warn(format!("task {} {text}", self.record.task()));
        self.end(TaskState::Failed, &text, None, turn);
    }

    /// Whether anything of the task is there, or may be.
    pub(super) fn has_begun(&self) -> bool {
        self.may_exist || self.record.handle.is_some()
    }

    /// Whether a leader has heard that it runs.
    pub(super) fn is_known_to_run(&self) -> bool {
        let is_told = |update: &StatusUpdate| update.status.state == TaskState::Running;
        self.record.handle.is_some() && !self.record.unacknowledged.iter().any(is_told)
    }

    pub(super) fn on_ports_taken(&mut self, taken: &[HeldPort], turn: &mut Turn) {
        self.starts = false;
        if self.record.is_ended() {
            return;
        }
        if self.record.stop.is_some() {
            return self.end_stopped(None, turn);
        }
        let one = |held: &HeldPort| match &held.holder {
            Some(holder) => format!("{} (by {holder})", held.port),
            None => held.port.to_string(),
        };
        let ports: Vec<String> = taken.iter().map(one).collect();
        let text = format!(
            "host port {} is held by another program on this machine; free it, or ask for another port",
            ports.join(", ")
        );
        self.end(TaskState::Failed, &text, None, turn);
    }
}
