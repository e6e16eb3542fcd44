//! Yes or no: whether a demand fits an agent, one small question each, in funnel order.

use super::ground::Plot;
use super::matcher::Need;
use super::{Reason, ports};

/// The first reason in funnel order why a demand does not fit.
pub(super) fn check(need: &Need, plot: &Plot<'_>) -> Result<(), Reason> {
    let questions: [(bool, Reason); 8] = [
        (need.any_role, Reason::UnfulfilledRole),
        (suits_kind(need, plot), Reason::UnfulfilledConstraint),
        (!plot.is_excluded, Reason::AgentMaintenance),
        (plot.spare.cpus >= need.cpus, Reason::InsufficientCpus),
        (plot.spare.mem >= need.mem, Reason::InsufficientMemory),
        (plot.spare.disk >= need.disk, Reason::InsufficientDisk),
        (plot.spare.gpus >= need.gpus, Reason::InsufficientGpus),
        (ports::fit(&need.ports, &plot.spare.ports), Reason::InsufficientPorts),
    ];
    questions.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, reason)| Err(reason))
}

/// Runs such tasks, no placement rule forbids it, and none of the app is about to leave it.
fn suits_kind(need: &Need, plot: &Plot<'_>) -> bool {
    let info = &plot.agent.info;
    (!need.image || info.has_docker) && !need.left.contains(&info.id) && need.rules.allow(info)
}

/// For people: what was needed and what was there.
pub(super) fn detail(need: &Need, plot: &Plot<'_>, reason: Reason) -> String {
    let spare = &plot.spare;
    match reason {
        Reason::UnfulfilledRole => "the app accepts no resources of role *".to_owned(),
        Reason::UnfulfilledConstraint if need.image && !plot.agent.info.has_docker => {
            "needs an image, the agent runs no containers".to_owned()
        }
        Reason::UnfulfilledConstraint if need.left.contains(&plot.agent.info.id) => {
            "an instance of the app moves away from the agent".to_owned()
        }
        Reason::UnfulfilledConstraint => need.rules.objection(&plot.agent.info).unwrap_or_default(),
        Reason::AgentMaintenance => "the agent gets no new tasks now".to_owned(),
        Reason::InsufficientCpus => format!("needs {} cpus, {} are spare", need.cpus, spare.cpus),
        Reason::InsufficientMemory => format!("needs {} MiB of memory, {} are spare", need.mem, spare.mem),
        Reason::InsufficientDisk => format!("needs {} MiB of disk, {} are spare", need.disk, spare.disk),
        Reason::InsufficientGpus => format!("needs {} gpus, {} are spare", need.gpus, spare.gpus),
        Reason::InsufficientPorts => ports::detail(&need.ports, &spare.ports),
        Reason::NoCorrespondingReservationFound | Reason::DeclinedScarceResources => String::new(),
    }
}
