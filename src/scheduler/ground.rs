//! The working copy of a cycle: what each agent has to spare, less what the cycle placed.

use std::borrow::Cow;

use crate::domain::{Accepted, AgentId, Pools, Reserved, Resources};
use crate::state::{AgentRow, Placement, Presence};

use super::SchedulingView;

/// One agent that may be offered.
#[derive(Clone, Debug)]
pub(super) struct Plot<'a> {
    pub(super) agent: &'a AgentRow,
    /// Of all roles together.
    pub(super) spare: Resources,
    /// The same by role; nothing where all is unreserved.
    pub(super) pools: Option<Pools>,
    /// Gets nothing now.
    pub(super) is_excluded: bool,
}

impl<'a> Plot<'a> {
    /// Of an agent that can be reached; see [`Plot::whatever`].
    pub(super) fn of(
        agent: &'a AgentRow,
        is_excluded: bool,
        spare_of: impl Fn(&AgentRow) -> Resources,
    ) -> Option<Self> {
        (agent.presence == Presence::Registered).then(|| Self::whatever(agent, is_excluded, spare_of))
    }

    /// Of an agent whether it can be reached or not, with what `spare_of` says: lists of ports cost most of
    /// all that is spare, and [`AgentRow::spare_amounts`] is enough for those who ask for none.
    pub(super) fn whatever(
        agent: &'a AgentRow,
        is_excluded: bool,
        spare_of: impl Fn(&AgentRow) -> Resources,
    ) -> Self {
        Self {
            agent,
            spare: spare_of(agent),
            pools: agent.pools(),
            is_excluded: is_excluded || agent.hindrances.tasks.is_some(),
        }
    }

    /// What an app with these roles may use of what is spare.
    pub(super) fn open_to(&self, accepted: &Accepted) -> Cow<'_, Resources> {
        Pools::open_of(self.pools.as_ref(), &self.spare, accepted)
    }

    fn take(&mut self, resources: &Resources, drawn: &Reserved) {
        self.spare = self.spare.minus(resources);
        if let Some(pools) = &mut self.pools {
            pools.take(resources, drawn);
        }
    }
}

/// Agents that can be reached, in id order.
pub(super) struct Ground<'a> {
    pub(super) plots: Vec<Plot<'a>>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(view: &SchedulingView<'a>) -> Self {
        let plot = |agent: &'a AgentRow| {
            let is_excluded = view.excluded.contains(&agent.info.id);
            Plot::of(agent, is_excluded, AgentRow::spare)
        };
        Self { plots: view.state.agents.values().filter_map(|agent| plot(agent)).collect() }
    }

    /// Takes what a placement needs out of what its agent has to spare.
    pub(super) fn take(&mut self, placement: &Placement) {
        let at = self.position(&placement.agent);
        if let Some(plot) = at.and_then(|at| self.plots.get_mut(at)) {
            plot.take(&placement.resources, &placement.drawn);
        }
    }

    /// Position of an agent.
    pub(super) fn position(&self, agent: &AgentId) -> Option<usize> {
        self.plots.binary_search_by(|plot| plot.agent.info.id.cmp(agent)).ok()
    }
}
