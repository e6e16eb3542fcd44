//! What an agent has too little of for one more instance, or keeps for others.

use super::{Amount, Lack, PortHolder, TakenPort};
use crate::scheduler::ground::Plot;
use crate::scheduler::matcher::Need;
use crate::scheduler::{feasibility, ports};
use crate::state::AgentRow;

/// Adds it to what stands in the way of an agent.
pub(super) fn shortage(need: &Need, plot: &Plot<'_>, lacks: &mut Vec<Lack>) {
    if !feasibility::is_kept_for_others(need, plot) {
        return of_what_is_open(need, plot, lacks);
    }
    let mut short = Vec::new();
    of_what_is_open(need, plot, &mut short);
    let words = feasibility::kept_for_others(need, plot).into();
    lacks.push(Lack::Role { words, short: short.into() });
}

/// The same of what the app may use, whatever is kept for whom.
fn of_what_is_open(need: &Need, plot: &Plot<'_>, lacks: &mut Vec<Lack>) {
    let open = plot.open_to(&need.accepted);
    for amount in Amount::ALL {
        let (needed, spare) = (amount.of_need(need), amount.of(&open));
        if needed > spare {
            lacks.push(Lack::Amount(amount, needed, spare));
        }
    }
    if !ports::fit(&need.ports, &open.ports) {
        let fixed = ports::fixed(&need.ports);
        let taken = fixed.into_iter().filter(|port| !open.ports.contains(*port));
        let taken = taken.map(|port| TakenPort { port, by: holder_of(plot.agent, port) }).collect();
        lacks.push(Lack::Ports { needed: need.ports.len(), spare: open.ports.count(), taken });
    }
}

/// Who has a port of an agent that is not open to somebody.
fn holder_of(agent: &AgentRow, port: u16) -> PortHolder {
    if !agent.info.totals.ports.contains(port) {
        PortHolder::NotOffered
    } else if agent.used.ports.contains(port) {
        PortHolder::Task
    } else if agent.held_ports.contains(port) {
        PortHolder::Stranger
    } else {
        PortHolder::Role
    }
}
