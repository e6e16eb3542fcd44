//! What would let an app run that fits nowhere: single changes, each with the agents that would suit then.

use std::collections::BTreeSet;

use super::{Amount, Lack, Verdicts};
use crate::domain::{AppVersion, PortDemand, Resources, Scalar};
use crate::scheduler::matcher::Need;
use crate::scheduler::ports;

/// One change that would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ask for less of something.
    Lower {
        /// Of what.
        amount: Amount,
        /// What is asked for now.
        from: Scalar,
        /// What the nearest agent has spare.
        to: Scalar,
        /// Agents that would suit then.
        agents: usize,
    },
    /// Leave one constraint away.
    Drop {
        /// Its position.
        at: usize,
        /// As it is written.
        constraint: String,
        /// Agents that would suit then.
        agents: usize,
    },
    /// Ask for fewer host ports.
    FewerPorts {
        /// How many are asked for now.
        from: usize,
        /// What the nearest agent has spare.
        to: usize,
        /// Agents that would suit then.
        agents: usize,
    },
    /// Let these host ports be chosen instead of fixing them.
    AnyPorts {
        /// Fixed ones that are not spare somewhere.
        fixed: Vec<u16>,
        /// Agents that would suit then.
        agents: usize,
    },
    /// Agents that get nothing now are heard again.
    Return {
        /// Agents that would suit then.
        agents: usize,
    },
    /// One more agent, with this to spare.
    Add {
        /// At least so much.
        needs: Resources,
        /// At least so many host ports.
        ports: usize,
        /// What else it has to have: an engine, certain ports, what constraints ask for.
        facts: Vec<String>,
    },
}

impl Change {
    /// For people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Lower { amount, from, to, agents } => {
                format!("Lower {} from {from} to {to}: {} would suit.", amount.as_str(), count(*agents))
            }
            Self::Drop { constraint, agents, .. } => {
                format!("Leave the constraint {constraint} away: {} would suit.", count(*agents))
            }
            Self::FewerPorts { from, to, agents } => {
                format!("Lower host ports from {from} to {to}: {} would suit.", count(*agents))
            }
            Self::AnyPorts { fixed, agents } => {
                let fixed: Vec<String> = fixed.iter().map(u16::to_string).collect();
                let (ports, fixed) = (ports::noun(fixed.len()), fixed.join(", "));
                format!("Ask for any {ports} instead of {fixed}: {} would suit.", count(*agents))
            }
            Self::Return { agents } => {
                format!("Wait for, or bring back, who is not heard of: {} would suit.", count(*agents))
            }
            Self::Add { needs, ports, facts } => {
                let mut wanted = vec![format!("{} cpus", needs.cpus), format!("{} MiB of memory", needs.mem)];
                let more = [(needs.disk, "MiB of disk"), (needs.gpus, "gpus")];
                wanted.extend(
                    more.iter()
                        .filter(|(much, _)| *much > Scalar::ZERO)
                        .map(|(much, what)| format!("{much} {what}")),
                );
                wanted.extend((*ports > 0).then(|| ports::counted(*ports)));
                let facts: String = facts.iter().map(|fact| format!(", {fact}")).collect();
                format!("Add an agent with {} to spare{facts}.", wanted.join(", "))
            }
        }
    }

    pub(super) fn agents(&self) -> usize {
        match self {
            Self::Lower { agents, .. }
            | Self::Drop { agents, .. }
            | Self::FewerPorts { agents, .. }
            | Self::AnyPorts { agents, .. }
            | Self::Return { agents } => *agents,
            Self::Add { .. } => 0,
        }
    }
}

fn count(agents: usize) -> String {
    if agents == 1 { "1 agent".to_owned() } else { format!("{agents} agents") }
}

/// Single changes after which at least one agent would suit; an agent to add comes last.
pub(super) fn changes(
    need: &Need,
    content: &AppVersion,
    needs: &Resources,
    verdicts: &Verdicts,
) -> Vec<Change> {
    if verdicts.lacks().any(<[Lack]>::is_empty) {
        return Vec::new();
    }
    // Agents that one thing alone stands in the way of.
    let single = verdicts.lacks().filter_map(|lacks| match lacks {
        [lack] => Some(lack),
        _ => None,
    });
    let single: Vec<&Lack> = single.collect();
    let mut changes: Vec<Change> = Amount::ALL
        .into_iter()
        .filter_map(|amount| {
            let spare = single.iter().filter_map(|lack| match lack {
                Lack::Amount(of, _, spare) if *of == amount => Some(*spare),
                _ => None,
            });
            let spare: Vec<Scalar> = spare.filter(|spare| *spare > Scalar::ZERO).collect();
            let to = spare.iter().max().copied()?;
            let agents = spare.iter().filter(|spare| **spare >= to).count();
            Some(Change::Lower { amount, from: amount.of(needs), to, agents })
        })
        .collect();
    changes.extend(content.spec.constraints.iter().enumerate().filter_map(|(at, constraint)| {
        let agents =
            single.iter().filter(|lack| matches!(lack, Lack::Constraint(of, _) if *of == at)).count();
        (agents > 0).then(|| Change::Drop { at, constraint: constraint.to_string(), agents })
    }));
    changes.extend(changes_of_ports(&single));
    let agents =
        single.iter().filter(|lack| matches!(lack, Lack::Contact(why) if why.is_about_hearing())).count();
    changes.extend((agents > 0).then_some(Change::Return { agents }));
    changes.sort_by_key(|change| std::cmp::Reverse(change.agents()));
    let fixed = need.ports.iter().filter_map(|demand| match demand {
        PortDemand::Exactly(port) => Some(format!("host port {port} among its ports")),
        PortDemand::Any => None,
    });
    let engine = need.image.then(|| "a Docker engine".to_owned());
    let role = (!need.accepted.unreserved).then(|| format!("reserved for {}", need.accepted.list()));
    let of_itself: Vec<String> = role.into_iter().chain(engine).chain(fixed).collect();
    let facts = need.rules.wanted_of_a_new_agent().map(|facts| [of_itself, facts].concat());
    changes.extend(facts.map(|facts| Change::Add { needs: needs.clone(), ports: need.ports.len(), facts }));
    changes
}

/// Fewer host ports, or any instead of fixed ones, for agents that lack nothing else.
fn changes_of_ports(single: &[&Lack]) -> Vec<Change> {
    let lacks = single.iter().filter_map(|lack| match lack {
        Lack::Ports { needed, spare, taken } => {
            Some((*needed, usize::try_from(*spare).unwrap_or(usize::MAX), taken))
        }
        _ => None,
    });
    let (few, fixed): (Vec<_>, Vec<_>) = lacks.partition(|(.., taken)| taken.is_empty());
    let most = few.iter().map(|(needed, spare, _)| (*spare, *needed)).max();
    let fewer = most.map(|(to, from)| Change::FewerPorts {
        from,
        to,
        agents: few.iter().filter(|(_, spare, _)| *spare >= to).count(),
    });
    // An agent that has too few anyway would not suit then either.
    let fixed: Vec<_> = fixed.into_iter().filter(|(needed, spare, _)| spare >= needed).collect();
    let taken: BTreeSet<u16> = fixed.iter().flat_map(|(.., taken)| taken.iter().copied()).collect();
    let any = (!fixed.is_empty())
        .then(|| Change::AnyPorts { fixed: taken.into_iter().collect(), agents: fixed.len() });
    fewer.into_iter().chain(any).collect()
}
