//! Yes or no: whether a demand fits an agent, one small question each, in funnel order.

use super::Amount;
use super::ground::Plot;
use super::matcher::Need;
use super::{Reason, ports};
use crate::domain::{Hindrances, Pools, Resources};

/// The first reason in funnel order why a demand does not fit.
pub(super) fn check(need: &Need, plot: &Plot<'_>) -> Result<(), Reason> {
    let open = plot.open_to(&need.accepted);
    let questions: [(bool, Reason); 8] = [
        (!is_kept_for_others(need, plot), Reason::UnfulfilledRole),
        (suits_kind(need, plot), Reason::UnfulfilledConstraint),
        (!plot.is_excluded, Reason::AgentMaintenance),
        (open.cpus >= need.cpus, Reason::InsufficientCpus),
        (open.mem >= need.mem, Reason::InsufficientMemory),
        (open.disk >= need.disk, Reason::InsufficientDisk),
        (open.gpus >= need.gpus, Reason::InsufficientGpus),
        (ports::fit(&need.ports, &open.ports), Reason::InsufficientPorts),
    ];
    questions.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, reason)| Err(reason))
}

/// Whether enough is spare, but too much of it for roles that the app does not accept.
pub(super) fn is_kept_for_others(need: &Need, plot: &Plot<'_>) -> bool {
    need.fits(&plot.spare) && !need.fits(&plot.open_to(&need.accepted))
}

/// For people: what an app may not use here, the first kind that it lacks for that.
/// `needs 3 cpus: of 4 spare 2 are reserved for db, and the app accepts only *`.
pub(super) fn kept_for_others(need: &Need, plot: &Plot<'_>) -> String {
    let (open, needs) = (plot.open_to(&need.accepted), need.resources(&[]));
    let lacking = Amount::ALL.into_iter().find(|amount| amount.of(&open) < amount.of(&needs));
    let of = |resources: &Resources| match lacking {
        Some(amount) => amount.of(resources).to_string(),
        None => resources.ports.count().to_string(),
    };
    let fixed: Vec<String> = ports::fixed(&need.ports).iter().map(u16::to_string).collect();
    let needed = match lacking {
        Some(amount) => format!("{} {}", amount.of(&needs), amount.as_str()),
        None if fixed.is_empty() => format!("{} host ports", need.ports.len()),
        None => format!("{} host ports ({})", need.ports.len(), fixed.join(", ")),
    };
    let none = Pools { unreserved: plot.spare.clone(), ..Pools::default() };
    let pools = plot.pools.as_ref().unwrap_or(&none);
    let foreign = pools.reserved.iter().filter(|(role, _)| !need.accepted.contains(role));
    let mut kept: Vec<String> = foreign
        .map(|(role, pool)| (role, of(pool)))
        .filter(|(_, much)| much != "0")
        .map(|(role, much)| format!("{much} are reserved for {role}"))
        .collect();
    if !need.accepted.unreserved {
        kept.push(format!("{} are unreserved", of(&pools.unreserved)));
    }
    let (spare, roles) = (of(&plot.spare), need.accepted.list());
    format!("needs {needed}: of {spare} spare {}, and the app accepts only {roles}", kept.join(", "))
}

/// Runs such tasks, no placement rule forbids it, and none of the app is about to leave it.
fn suits_kind(need: &Need, plot: &Plot<'_>) -> bool {
    let info = &plot.agent.info;
    (!need.image || plot.agent.takes_containers()) && !need.left.contains(&info.id) && need.rules.allow(info)
}

/// For people: why an agent runs no containers, ever or now.
pub(super) fn without_containers(hindrances: &Hindrances) -> String {
    match &hindrances.containers {
        Some(hindrance) => format!("needs an image, and the agent can start no containers now: {hindrance}"),
        None => "needs an image, the agent runs no containers".to_owned(),
    }
}

/// For people: why an agent gets nothing though it is there.
pub(super) fn cannot_start(hindrance: &str) -> String {
    format!("the agent can start no tasks now: {hindrance}")
}
