//! What a cycle may look at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::{AgentId, Strategy};
use crate::state::ClusterState;

/// Agents that get nothing now though they are recorded as registered, and why.
pub type Suspects = BTreeMap<AgentId, Suspicion>;

/// Why an agent that is recorded as registered gets nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// Its connection is open and nothing comes.
    Silent {
        /// For so long.
        lasts: Duration,
        /// After so much of it the agent is given up.
        limit: Duration,
    },
    /// It closed its connection, as for a restart.
    Closed {
        /// So long ago.
        lasts: Duration,
        /// After so long the agent is given up.
        limit: Duration,
    },
    /// It has not come to this leader yet.
    NotYetBack,
    /// It is being emptied, in thought or in earnest.
    Drained,
}

impl Suspicion {
    /// How people call an agent of which this is suspected, in lists and metrics; nothing where it
    /// is there all the same.
    pub fn presence(self) -> Option<&'static str> {
        match self {
            Self::Silent { .. } => Some("suspect"),
            Self::Closed { .. } | Self::NotYetBack => Some("disconnected"),
            Self::Drained => None,
        }
    }

    /// Whether it ends when the agent is heard again.
    pub fn is_about_hearing(self) -> bool {
        self != Self::Drained
    }

    /// For people.
    pub fn sentence(self) -> String {
        match self {
            Self::Silent { lasts, limit } => format!(
                "the agent is silent for {}: it gets tasks again when it speaks, and is given up after {}",
                seconds(lasts),
                seconds(limit)
            ),
            Self::Closed { lasts, limit } => format!(
                "the agent closed its connection {} ago: it gets tasks again when it is back, and is given \
                 up after {}",
                seconds(lasts),
                seconds(limit)
            ),
            Self::NotYetBack => {
                "the agent has not come to the present leader yet: it gets tasks when it does".to_owned()
            }
            Self::Drained => "the agent is being emptied: it gets nothing new".to_owned(),
        }
    }
}

/// With tenths where there are any.
fn seconds(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} s"),
        (whole, part) => format!("{whole}.{part} s"),
    }
}

/// One state, and the agents that get nothing now.
#[derive(Clone, Debug)]
pub struct SchedulingView<'a> {
    /// Recorded truth at one index.
    pub state: &'a ClusterState,
    /// Agents to avoid: silent for a while, or not heard of since this master leads.
    pub excluded: BTreeSet<AgentId>,
    /// What apps get that wish for none.
    pub strategy: Strategy,
}

impl<'a> SchedulingView<'a> {
    /// Of one state, without these agents; apps are spread.
    pub fn of(state: &'a ClusterState, excluded: BTreeSet<AgentId>) -> Self {
        Self { state, excluded, strategy: Strategy::default() }
    }

    /// Of one state, without suspects.
    pub fn without(state: &'a ClusterState, suspects: &Suspects) -> Self {
        Self::of(state, suspects.keys().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_says_for_how_long() {
        let (lasts, limit) = (Duration::from_millis(4_270), Duration::from_secs(10));
        assert_eq!(
            Suspicion::Silent { lasts, limit }.sentence(),
            "the agent is silent for 4.2 s: it gets tasks again when it speaks, and is given up after 10 s"
        );
        assert!(Suspicion::Closed { lasts, limit }.sentence().contains("closed its connection 4.2 s ago"));
        assert!(Suspicion::NotYetBack.sentence().contains("not come to the present leader yet"));
    }
}
