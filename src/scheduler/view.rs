//! What a cycle may look at.

use std::collections::BTreeSet;

use crate::domain::{AgentId, Strategy};
use crate::state::ClusterState;

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
}
