//! Remembers when tasks under way to their end will be killed, so that a repeated stop
//! neither signals again nor lengthens the grace.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::domain::TaskId;

/// When each stopping task will be killed.
#[derive(Debug, Default)]
pub(crate) struct KillTimes(Mutex<BTreeMap<TaskId, Instant>>);

/// What a stop has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Signal it and kill it in time.
    First,
    /// Kill it sooner than an earlier stop said.
    Sooner,
    /// Nothing: an earlier stop kills it no later.
    UnderWay,
}

impl KillTimes {
    /// Notes that `task` is to be killed at `at`.
    pub(crate) fn note(&self, task: &TaskId, at: Instant) -> Stop {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stop = match times.get(task) {
            None => Stop::First,
            Some(due) if *due <= at => return Stop::UnderWay,
            Some(_) => Stop::Sooner,
        };
        times.insert(task.clone(), at);
        stop
    }

    /// Forgets a task.
    pub(crate) fn forget(&self, task: &TaskId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_sooner_kill_changes_anything() {
        let (times, task, now) = (KillTimes::default(), TaskId::new("t"), Instant::now());
        assert_eq!(times.note(&task, now + Duration::from_secs(5)), Stop::First);
        assert_eq!(times.note(&task, now + Duration::from_secs(9)), Stop::UnderWay);
        assert_eq!(times.note(&task, now), Stop::Sooner);
        times.forget(&task);
        assert_eq!(times.note(&task, now), Stop::First);
    }
}
