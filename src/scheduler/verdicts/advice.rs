//! Which changes would let an app run that fits nowhere: the smallest, each with the agents that would
//! suit then.
//!
//! One pass over what stands in the way of each agent; a second one where no single change would do.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Amount, Change, Keepers, Lack, Verdicts};
use crate::domain::{AppVersion, Constraint, PortDemand, Scalar};
use crate::scheduler::matcher::Need;

/// What is there to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Advice {
    /// What would let at least one agent suit, those that help most first; an agent to add comes last.
    pub(super) changes: Vec<Change>,
    /// Where no agent could be added that suits: which constraints exclude each other. For people.
    pub(super) contradiction: Option<String>,
}

impl Advice {
    /// Adds what the app's own copies have to do with it, first of all; and says it in words.
    pub(super) fn beside(&mut self, keepers: &Keepers<'_>, verdicts: &Verdicts) -> Option<String> {
        if self.changes.is_empty() {
            return None;
        }
        self.changes.splice(0..0, keepers.stop_first(verdicts));
        keepers.note(&self.changes)
    }
}

/// Nothing where an agent suits.
pub(super) fn advice(need: &Need, content: &AppVersion, verdicts: &Verdicts) -> Advice {
    if verdicts.lacks().any(<[Lack]>::is_empty) {
        return Advice::default();
    }
    let remedies = Remedies { need, constraints: &content.spec.constraints };
    let mut changes = remedies.singles(verdicts);
    // Who can only be waited for is no reason to keep silent of what could be done at once.
    if changes.iter().all(Change::waits) {
        let may_wait = changes.is_empty();
        changes.extend(remedies.together(verdicts).filter(|joint| may_wait || !joint.waits()));
    }
    changes.sort_by_key(|change| Reverse(change.agents()));
    let (facts, contradiction) = match need.rules.wanted_of_a_new_agent() {
        Ok(facts) => (Some([of_itself(need), facts].concat()), None),
        Err(contradiction) => (None, Some(contradiction)),
    };
    let (needs, ports) = (need.resources(&[]), need.ports.len());
    changes.extend(facts.map(|facts| Change::Add { needs, ports, facts }));
    Advice { changes, contradiction }
}

/// What an agent has to have beside room and what constraints ask for.
fn of_itself(need: &Need) -> Vec<String> {
    let fixed = need.ports.iter().filter_map(|demand| match demand {
        PortDemand::Exactly(port) => Some(format!("host port {port} among its ports")),
        PortDemand::Any => None,
    });
    let engine = need.image.then(|| "a Docker engine".to_owned());
    let role = (!need.accepted.unreserved).then(|| format!("reserved for {}", need.accepted.list()));
    role.into_iter().chain(engine).chain(fixed).collect()
}

/// What a lack asks to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    Lower(Amount),
    /// By the first position where the constraint is written.
    Drop(usize),
    FewerPorts,
    AnyPorts,
    Return,
}

/// How many changes, whether one of them is to wait, and how far away they are: the least is the best.
type Size = (usize, bool, u64);

/// What may be changed of one content.
struct Remedies<'a> {
    need: &'a Need,
    constraints: &'a [Constraint],
}

impl Remedies<'_> {
    /// Nothing where no change of the app helps against a lack, or only one that makes it another app:
    /// without any cpus or memory nothing runs.
    fn of(&self, lack: &Lack) -> Option<Remedy> {
        match lack {
            Lack::Unreachable(_) => Some(Remedy::Return),
            Lack::Contact(why) => why.is_about_hearing().then_some(Remedy::Return),
            Lack::Constraint(at, _) => {
                let written = self.constraints.get(*at)?;
                let first = self.constraints.iter().position(|other| other == written);
                first.map(Remedy::Drop)
            }
            Lack::Amount(amount, _, spare) => {
                (*spare > Scalar::ZERO || !amount.is_vital()).then_some(Remedy::Lower(*amount))
            }
            Lack::Ports { taken, .. } if taken.is_empty() => Some(Remedy::FewerPorts),
            // An agent that has too few anyway would not suit then either.
            Lack::Ports { needed, spare, .. } => (as_count(*spare) >= *needed).then_some(Remedy::AnyPorts),
            Lack::Role { .. } | Lack::Hindered(_) | Lack::Containers(_) | Lack::Left => None,
        }
    }

    /// The remedy that is enough for an agent by itself, with a lack that tells how much.
    fn single<'l>(&self, lacks: &'l [Lack]) -> Option<(Remedy, &'l Lack)> {
        let mut all = Lack::without_roles(lacks);
        let first = all.next()?;
        let remedy = self.of(first)?;
        all.all(|lack| self.of(lack) == Some(remedy)).then_some((remedy, first))
    }

    fn singles(&self, verdicts: &Verdicts) -> Vec<Change> {
        let singles: Vec<(Remedy, &Lack)> = verdicts.lacks().filter_map(|lacks| self.single(lacks)).collect();
        let of = |wanted: Remedy| {
            let all = singles.iter().filter(move |(remedy, _)| *remedy == wanted).map(|(_, lack)| *lack);
            (!singles.is_empty()).then_some(all).into_iter().flatten()
        };
        let lower = Amount::ALL.into_iter().filter_map(|amount| {
            let spare = of(Remedy::Lower(amount)).filter_map(Lack::spare_amount);
            let to = spare.clone().max()?;
            let agents = spare.filter(|spare| *spare >= to).count();
            Some(Change::Lower { amount, from: amount.of_need(self.need), to, agents })
        });
        let drop = (0..self.constraints.len()).filter_map(|at| {
            let agents = of(Remedy::Drop(at)).count();
            (agents > 0).then(|| self.drop(at, agents))
        });
        let fewer = of(Remedy::FewerPorts).filter_map(Lack::spare_ports).max().map(|to| {
            let agents = of(Remedy::FewerPorts).filter_map(Lack::spare_ports).filter(|spare| *spare >= to);
            Change::FewerPorts { from: self.need.ports.len(), to, agents: agents.count() }
        });
        let taken: BTreeSet<u16> = of(Remedy::AnyPorts).flat_map(Lack::taken_ports).collect();
        let any = (!taken.is_empty()).then(|| Change::AnyPorts {
            fixed: taken.into_iter().collect(),
            agents: of(Remedy::AnyPorts).count(),
        });
        let back = of(Remedy::Return).count();
        let back = (back > 0).then_some(Change::Return { agents: back });
        lower.chain(drop).chain(fewer).chain(any).chain(back).collect()
    }

    fn drop(&self, first: usize, agents: usize) -> Change {
        let written = self.constraints.get(first);
        let all = self.constraints.iter().enumerate().filter(|(_, other)| Some(*other) == written);
        let at = all.map(|(at, _)| at).collect();
        Change::Drop { at, constraint: written.map(Constraint::to_string).unwrap_or_default(), agents }
    }

    /// The fewest changes after which an agent would suit, of these the smallest: nothing where no changes
    /// would be enough for any.
    fn together(&self, verdicts: &Verdicts) -> Option<Change> {
        let mut kinds: Vec<Remedy> = Vec::new();
        let mut best: Option<(Size, &[Lack])> = None;
        for lacks in verdicts.lacks() {
            kinds.clear();
            let is_curable = Lack::without_roles(lacks).all(|lack| {
                let remedy = self.of(lack);
                kinds.extend(remedy.filter(|remedy| !kinds.contains(remedy)));
                remedy.is_some()
            });
            let distance = Lack::without_roles(lacks).map(Lack::distance).max().unwrap_or(0);
            let size = (kinds.len(), kinds.contains(&Remedy::Return), distance);
            if is_curable && kinds.len() > 1 && best.is_none_or(|(least, _)| size < least) {
                best = Some((size, lacks));
            }
        }
        let (_, nearest) = best?;
        let agents = verdicts.lacks().filter(|lacks| self.is_cured_like(lacks, nearest)).count();
        let mut parts: Vec<Change> = Vec::new();
        for lack in Lack::without_roles(nearest) {
            let part = self.part(lack, agents);
            parts.extend(part.filter(|part| !parts.contains(part)));
        }
        Some(Change::Together { parts, agents })
    }

    /// What one lack asks for, as much as it says.
    fn part(&self, lack: &Lack, agents: usize) -> Option<Change> {
        Some(match self.of(lack)? {
            Remedy::Lower(amount) => {
                let from = amount.of_need(self.need);
                Change::Lower { amount, from, to: lack.spare_amount()?, agents }
            }
            Remedy::Drop(first) => self.drop(first, agents),
            Remedy::FewerPorts => {
                Change::FewerPorts { from: self.need.ports.len(), to: lack.spare_ports()?, agents }
            }
            Remedy::AnyPorts => Change::AnyPorts { fixed: lack.taken_ports().collect(), agents },
            Remedy::Return => Change::Return { agents },
        })
    }

    /// Whether what is enough for `nearest` is enough here.
    fn is_cured_like(&self, lacks: &[Lack], nearest: &[Lack]) -> bool {
        let is_as_near = |lack: &Lack, other: &Lack| {
            self.of(lack) == self.of(other)
                && lack.spare_amount() >= other.spare_amount()
                && (lack.spare_ports() >= other.spare_ports() || lack.taken_ports().next().is_some())
                && lack.taken_ports().all(|port| other.taken_ports().any(|taken| taken == port))
        };
        Lack::without_roles(lacks).all(|lack| {
            self.of(lack).is_some() && Lack::without_roles(nearest).any(|other| is_as_near(lack, other))
        })
    }
}

fn as_count(ports: u32) -> usize {
    usize::try_from(ports).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
