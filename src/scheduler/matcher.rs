//! What one instance of a content needs.

use std::collections::BTreeSet;

use super::ports;
use super::rules::Rules;
use crate::domain::{
    Accepted, AgentId, AppId, AppVersion, PortDemand, PortRanges, Resources, RunSpec, Scalar,
};
use crate::state::ClusterState;

/// What one instance of a content needs, worked out once per content and cycle.
#[derive(Clone, Debug)]
pub(super) struct Need {
    pub(super) cpus: Scalar,
    pub(super) mem: Scalar,
    pub(super) disk: Scalar,
    pub(super) gpus: Scalar,
    pub(super) ports: Vec<PortDemand>,
    /// Runs from an image.
    pub(super) image: bool,
    /// Whose resources it takes.
    pub(super) accepted: Accepted,
    /// Its placement rules, and where its instances are already.
    pub(super) rules: Rules,
    /// Agents that an instance of the app is moving away from.
    pub(super) left: BTreeSet<AgentId>,
}

impl Need {
    /// What one instance takes, with these host ports.
    pub(super) fn resources(&self, ports: &[u16]) -> Resources {
        Resources {
            cpus: self.cpus,
            mem: self.mem,
            disk: self.disk,
            gpus: self.gpus,
            ports: PortRanges::of(ports.iter().copied()),
        }
    }

    /// Whether so much is enough.
    pub(super) fn fits(&self, spare: &Resources) -> bool {
        spare.cpus >= self.cpus
            && spare.mem >= self.mem
            && spare.disk >= self.disk
            && spare.gpus >= self.gpus
            && ports::fit(&self.ports, &spare.ports)
    }

    pub(super) fn of(state: &ClusterState, content: &AppVersion) -> Self {
        let left = left_by(state, &content.app);
        Self { rules: Rules::of(state, content, None), left, ..Self::without_rules(&content.spec) }
    }

    /// Of a content whose rules somebody else judges.
    pub(super) fn without_rules(spec: &RunSpec) -> Self {
        Self {
            cpus: spec.cpus,
            mem: spec.mem,
            disk: spec.disk,
            gpus: spec.gpus,
            ports: spec.port_demands(),
            image: spec.image().is_some(),
            accepted: spec.accepted(),
            rules: Rules::default(),
            left: BTreeSet::new(),
        }
    }
}

/// Agents that instances of an app move away from: none of it is put there again meanwhile.
fn left_by(state: &ClusterState, app: &AppId) -> BTreeSet<AgentId> {
    let moving = state.instances_of(app).filter(|row| row.is_moving());
    moving.filter_map(|row| Some(row.task.as_ref()?.agent.clone())).collect()
}
