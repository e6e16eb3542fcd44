//! One demand, and one demand against one agent.

use super::feasibility;
use super::ground::Plot;
use super::offers::ANY_ROLE;
use super::rules::Rules;
use super::{Reason, ports};
use crate::domain::{AppVersion, InstanceId, PortDemand, PortRanges, Resources, Scalar, TaskId};
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
    /// Takes resources of any role.
    pub(super) any_role: bool,
    /// Its placement rules, and where its instances are already.
    pub(super) rules: Rules,
}

/// Ports and resources of a demand on one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) ports: Vec<u16>,
    pub(super) resources: Resources,
}

impl Need {
    pub(super) fn of(state: &ClusterState, content: &AppVersion) -> Self {
        let spec = &content.spec;
        let roles = &spec.accepted_resource_roles;
        Self {
            cpus: spec.cpus,
            mem: spec.mem,
            disk: spec.disk,
            gpus: spec.gpus,
            ports: spec.port_demands(),
            image: spec.image().is_some(),
            any_role: roles.is_empty() || roles.iter().any(|role| role == ANY_ROLE),
            rules: Rules::of(state, content, None),
        }
    }

    /// The same as if one instance had no place yet.
    pub(super) fn without(state: &ClusterState, content: &AppVersion, instance: &InstanceId) -> Self {
        Self { rules: Rules::of(state, content, Some(instance)), ..Self::of(state, content) }
    }
}

/// Says which ports and resources the task takes there, or the first reason why not.
pub(super) fn match_plot(need: &Need, plot: &Plot<'_>, task: &TaskId) -> Result<Match, Reason> {
    feasibility::check(need, plot)?;
    let ports = ports::assign(&need.ports, &plot.spare.ports, ports::seed_of(task))
        .ok_or(Reason::InsufficientPorts)?;
    let resources = Resources {
        cpus: need.cpus,
        mem: need.mem,
        disk: need.disk,
        gpus: need.gpus,
        ports: PortRanges::of(ports.iter().copied()),
    };
    Ok(Match { ports, resources })
}
