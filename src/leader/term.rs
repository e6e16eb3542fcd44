//! A store bound to one term: dead when the term is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::Timestamp;
use crate::state::{Applied, Command};
use crate::store::{ProposeError, StateStore, View};
use crate::world::Clock;

/// Ids named by the commands of one log entry at most, so that an entry stays under about 300 KiB.
const ENTRY_IDS_MAX: usize = 2_048;

/// Longest wait for a moment of the wall clock. Clocks may be set; after this a controller looks anyway.
const LOOK_AHEAD_MAX: Duration = Duration::from_secs(60);

/// Why a proposal of a controller was not recorded, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecorded {
    /// This master no longer leads in that term.
    #[error("the term is over")]
    TermEnded,
    /// The store is busy, or gave no answer: look again before repeating anything.
    #[error("not recorded now: {0}")]
    NotNow(ProposeError),
}

impl From<ProposeError> for Unrecorded {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader | ProposeError::TermEnded => Self::TermEnded,
            ProposeError::Busy | ProposeError::OutcomeUnknown(_) => Self::NotNow(error),
        }
    }
}

/// What a controller may do to the state: read it, and propose in one term.
pub struct LeaderStore {
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    term: u64,
    /// Proposals in a row that changed nothing.
    fruitless: Arc<AtomicU32>,
    /// Time that proposals took, in microseconds.
    waited: Arc<AtomicU64>,
}

impl LeaderStore {
    pub(super) fn new(store: Arc<dyn StateStore>, clock: Arc<dyn Clock>, term: u64) -> Self {
        Self { store, clock, term, fruitless: Arc::default(), waited: Arc::default() }
    }

    /// The same store; both count fruitless proposals and waits together.
    pub(super) fn share(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            term: self.term,
            fruitless: Arc::clone(&self.fruitless),
            waited: Arc::clone(&self.waited),
        }
    }

    /// The state at the latest index, and what time it is there: recorded time never runs backwards.
    pub fn look(&self) -> (View, Timestamp) {
        let view = self.store.snapshot();
        let now = Timestamp::from_millis(self.clock.now_millis()).max(view.now);
        (view, now)
    }

    /// Rings when the state changed.
    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.store.applied()
    }

    /// Records commands in order, in as few log entries as are reasonable.
    ///
    /// # Errors
    /// [`Unrecorded`]; earlier entries may have been recorded.
    pub async fn propose(&self, commands: Vec<Command>) -> Result<Vec<Applied>, Unrecorded> {
        let mut answers = Vec::new();
        for entry in entries(commands) {
            let names: Vec<&'static str> = entry.iter().map(Command::name).collect();
            let began = Instant::now();
            let proposed = self.store.propose(entry, Some(self.term)).await;
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.waited.fetch_add(took, Ordering::Relaxed);
            let applied = proposed?;
            for (at, refusal) in &applied.refusals {
                // The state moved between look and record; the next look sees it.
                tracing::debug!(command = names.get(*at), %refusal, "refused");
            }
            answers.push(applied);
        }
        if answers.iter().any(|applied| !applied.events.is_empty()) {
            self.fruitless.store(0, Ordering::Relaxed);
        } else if !answers.is_empty() {
            self.fruitless.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answers)
    }

    /// How long proposals took so far, together.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    /// Proposals in a row that changed nothing.
    pub(super) fn fruitless(&self) -> u32 {
        self.fruitless.load(Ordering::Relaxed)
    }
}

/// When to look, for a moment of the wall clock that is `now`.
pub(super) fn instant_of(moment: Timestamp, now: Timestamp) -> Instant {
    Instant::now() + moment.since(now).min(LOOK_AHEAD_MAX)
}

/// Commands in parts of at most [`ENTRY_IDS_MAX`] ids, at least one command each.
fn entries(commands: Vec<Command>) -> Vec<Vec<Command>> {
    let mut entries: Vec<Vec<Command>> = Vec::new();
    let mut room = 0;
    for command in commands {
        let weight = weight(&command);
        match entries.last_mut().filter(|_| weight <= room) {
            Some(entry) => entry.push(command),
            None => {
                room = ENTRY_IDS_MAX;
                entries.push(vec![command]);
            }
        }
        room = room.saturating_sub(weight);
    }
    entries
}

fn weight(command: &Command) -> usize {
    match command {
        Command::CreateInstances { ids, .. } => ids.len(),
        Command::SetGoal { instances, .. }
        | Command::MarkInactive { instances }
        | Command::Expunge { instances }
        | Command::Readmit { instances } => instances.len(),
        Command::LaunchTasks { placements, .. } => placements.len(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::InstanceId;

    #[test]
    fn entries_are_bounded_and_keep_the_order() {
        let command = |count: usize| Command::Expunge { instances: vec![InstanceId::new("x"); count] };
        let parts = entries([1, 2_047, 1, 9_000, 1, 1].map(command).to_vec());
        let sizes: Vec<Vec<usize>> = parts.iter().map(|part| part.iter().map(weight).collect()).collect();
        assert_eq!(sizes, [vec![1, 2_047], vec![1], vec![9_000], vec![1, 1]]);
    }
}
