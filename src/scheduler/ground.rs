//! The working copy of a cycle: what each agent has to spare, less what the cycle placed.

use crate::domain::{AgentId, Resources};
use crate::state::{AgentRow, Placement, Presence};

use super::SchedulingView;

/// One agent that may be offered.
#[derive(Clone, Debug)]
pub(super) struct Plot<'a> {
    pub(super) agent: &'a AgentRow,
    pub(super) spare: Resources,
    /// Gets nothing now.
    pub(super) is_excluded: bool,
}

/// Agents that can be reached, in id order.
pub(super) struct Ground<'a> {
    pub(super) plots: Vec<Plot<'a>>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(view: &SchedulingView<'a>) -> Self {
        let state = view.state;
        let present = state.agents.values().filter(|agent| agent.presence == Presence::Registered);
        let plot = |agent: &'a AgentRow| Plot {
            agent,
            spare: agent.spare(),
            is_excluded: view.excluded.contains(&agent.info.id),
        };
        Self { plots: present.map(|agent| plot(agent)).collect() }
    }

    /// Takes what a placement needs out of what its agent has to spare.
    pub(super) fn take(&mut self, placement: &Placement) {
        let at = self.position(&placement.agent);
        if let Some(plot) = at.and_then(|at| self.plots.get_mut(at)) {
            plot.spare = plot.spare.minus(&placement.resources);
        }
    }

    /// Position of an agent.
    pub(super) fn position(&self, agent: &AgentId) -> Option<usize> {
        self.plots.binary_search_by(|plot| plot.agent.info.id.cmp(agent)).ok()
    }
}
