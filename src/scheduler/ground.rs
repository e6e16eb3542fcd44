//! The working copy of a cycle: what each agent has to spare, less what the cycle placed.

use std::borrow::Cow;

use crate::domain::{Accepted, AgentId, Pools, PortRanges, Reserved, Resources};
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

impl Plot<'_> {
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
        Self::with(view, AgentRow::spare)
    }

    /// The same without ports, for those who ask for none: lists cost most of all that is spare.
    pub(super) fn of_amounts(view: &SchedulingView<'a>) -> Self {
        Self::with(view, spare_amounts)
    }

    fn with(view: &SchedulingView<'a>, spare_of: impl Fn(&AgentRow) -> Resources) -> Self {
        let state = view.state;
        let present = state.agents.values().filter(|agent| agent.presence == Presence::Registered);
        let plot = |agent: &'a AgentRow| Plot {
            agent,
            spare: spare_of(agent),
            pools: agent.pools(),
            is_excluded: agent.hindrances.tasks.is_some() || view.excluded.contains(&agent.info.id),
        };
        Self { plots: present.map(|agent| plot(agent)).collect() }
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

fn spare_amounts(agent: &AgentRow) -> Resources {
    let (totals, used) = (&agent.info.totals, &agent.used);
    Resources {
        cpus: totals.cpus.minus(used.cpus),
        mem: totals.mem.minus(used.mem),
        disk: totals.disk.minus(used.disk),
        gpus: totals.gpus.minus(used.gpus),
        ports: PortRanges::default(),
    }
}
