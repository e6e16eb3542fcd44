//! How far a cluster is from where it had better be: what every plan to rebalance has to lower.

use crate::scheduler::{Suspects, load, misplaced};
use crate::state::{ClusterState, Presence};

/// How far a cluster is from where it had better be; compared from the first field to the last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Unrest {
    /// Instances that wait for a place.
    waiting: usize,
    /// Instances that stand against a rule.
    misplaced: usize,
    /// How full agents are, the fullest first.
    loads: Vec<u64>,
}

impl Unrest {
    /// Of the agents that take new tasks.
    pub(super) fn of(state: &ClusterState, suspects: &Suspects) -> Self {
        let present = state.agents.values().filter(|agent| agent.presence == Presence::Registered);
        let open = present.filter(|agent| !suspects.contains_key(&agent.info.id));
        let mut loads: Vec<u64> = open.map(|agent| load(agent)).collect();
        loads.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            waiting: state.instances.values().filter(|row| row.is_waiting()).count(),
            misplaced: state.apps.iter().map(|(app, _)| misplaced(state, app).len()).sum(),
            loads,
        }
    }
}
