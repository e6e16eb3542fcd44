//! What would let an app run that fits nowhere, in words; [`mod@super::advice`] finds it.

use super::Amount;
use crate::domain::{Millionths, Resources, Scalar};
use crate::scheduler::ports;

/// A change that would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ask for less of something.
    Lower {
        /// Of what.
        amount: Amount,
        /// What is asked for now.
        from: Scalar,
        /// What the nearest agent has spare; 0 only of what an app may do without.
        to: Scalar,
        /// Agents that would suit then.
        agents: usize,
    },
    /// Leave one constraint away.
    Drop {
        /// Its positions: more than one where it is written more than once.
        at: Vec<usize>,
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
    /// Several of the above at once, where none of them alone would do.
    Together {
        /// Each counts the same agents: those that would suit after all of them.
        parts: Vec<Change>,
        /// Agents that would suit then.
        agents: usize,
    },
    /// Let copies of older content stop before those serve that replace them.
    StopFirst {
        /// The `minimumHealthCapacity` now.
        from: Millionths,
        /// The largest that is low enough, whichever of them stop first.
        to: Millionths,
        /// Agents that would suit when enough of the copies there are gone, as they are on one at least.
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
            Self::Add { needs, ports, facts } => {
                let amounts = Amount::ALL.into_iter().map(|amount| (amount, amount.of(needs)));
                let asked = |(amount, much): &(Amount, Scalar)| amount.is_vital() || *much > Scalar::ZERO;
                let mut wanted: Vec<String> =
                    amounts.filter(asked).map(|(amount, much)| amount.counted(much)).collect();
                wanted.extend((*ports > 0).then(|| ports::counted(*ports)));
                let facts: String = facts.iter().map(|fact| format!(", {fact}")).collect();
                format!("Add an agent with {} to spare{facts}.", wanted.join(", "))
            }
            Self::Together { parts, agents } => sentence(parts, *agents),
            Self::StopFirst { agents, .. } if *agents > 1 => {
                format!("{}: at least 1 of {agents} agents would suit.", clauses(std::slice::from_ref(self)))
            }
            single => sentence(std::slice::from_ref(single), single.agents()),
        }
    }

    /// What to do, as the beginning of a sentence and the rest of it.
    fn clause(&self) -> (&'static str, String) {
        match self {
            Self::Lower { amount, from, to, .. } => {
                ("lower", format!("{} from {from} to {to}", amount.as_str()))
            }
            Self::Drop { at, constraint, .. } if at.len() > 1 => {
                ("leave", format!("the constraint {constraint} away, all {} times", at.len()))
            }
            Self::Drop { constraint, .. } => ("leave", format!("the constraint {constraint} away")),
            Self::FewerPorts { from, to, .. } => ("lower", format!("host ports from {from} to {to}")),
            Self::AnyPorts { fixed, .. } => {
                let told: Vec<String> = fixed.iter().map(u16::to_string).collect();
                ("ask", format!("for any {} instead of {}", ports::noun(fixed.len()), told.join(", ")))
            }
            Self::Return { .. } => ("wait", "for, or bring back, who is not heard of".to_owned()),
            Self::StopFirst { from, to, .. } => {
                let (from, to) = (from.to_f64(), to.to_f64());
                let what = "minimumHealthCapacity of the upgradeStrategy";
                ("lower", format!("{what} from {from} to {to}, so that older copies stop first"))
            }
            // These speak for themselves.
            Self::Together { .. } | Self::Add { .. } => ("", String::new()),
        }
    }

    /// Whether it needs agents that are not heard of.
    pub(super) fn waits(&self) -> bool {
        match self {
            Self::Together { parts, .. } => parts.iter().any(Self::waits),
            single => matches!(single, Self::Return { .. }),
        }
    }

    /// Whether it asks for less of what agents have to spare.
    pub(super) fn is_about_room(&self) -> bool {
        match self {
            Self::Together { parts, .. } => parts.iter().any(Self::is_about_room),
            Self::Lower { .. } | Self::FewerPorts { .. } | Self::AnyPorts { .. } => true,
            Self::Drop { .. } | Self::Return { .. } | Self::StopFirst { .. } | Self::Add { .. } => false,
        }
    }

    pub(super) fn agents(&self) -> usize {
        match self {
            Self::Lower { agents, .. }
            | Self::Drop { agents, .. }
            | Self::FewerPorts { agents, .. }
            | Self::AnyPorts { agents, .. }
            | Self::Return { agents }
            | Self::Together { agents, .. }
            | Self::StopFirst { agents, .. } => *agents,
            Self::Add { .. } => 0,
        }
    }
}

/// `Lower cpus from 5 to 1 and mem from 99999 to 1024: 1 agent would suit.`
fn sentence(parts: &[Change], agents: usize) -> String {
    let agents = if agents == 1 { "1 agent".to_owned() } else { format!("{agents} agents") };
    format!("{}: {agents} would suit.", clauses(parts))
}

fn clauses(parts: &[Change]) -> String {
    let mut told = String::new();
    let mut last = "";
    for (verb, rest) in parts.iter().map(Change::clause) {
        let again = if verb == last { "" } else { verb };
        let words = if last.is_empty() { ["", &capital(verb)] } else { [" and ", again] };
        told.extend(words);
        let gap = if told.ends_with(' ') { "" } else { " " };
        told.extend([gap, &rest]);
        last = verb;
    }
    told
}

/// With a capital letter.
fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
