//! What a cycle may look at.

use std::collections::BTreeSet;

use crate::domain::AgentId;
use crate::state::ClusterState;

/// One state, and the agents that get nothing now.
#[derive(Clone, Debug)]
pub struct SchedulingView<'a> {
    /// Recorded truth at one index.
    pub state: &'a ClusterState,
    /// Agents to avoid: silent for a while, or not heard of since this master leads.
    pub excluded: BTreeSet<AgentId>,
}

impl<'a> SchedulingView<'a> {
    /// Of one state, without these agents.
    pub fn of(state: &'a ClusterState, excluded: BTreeSet<AgentId>) -> Self {
        Self { state, excluded }
    }
}
