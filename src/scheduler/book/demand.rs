//! What one instance of a content needs, worked out once per content: amounts, ports, clauses,
//! and which classes may serve it.

use std::collections::BTreeSet;

use super::column::NO_VALUE;
use super::fleet::{Agent, Class, Fleet};
use super::tally::{Seniority, Tally};
use super::tree::Node;
use crate::domain::{AppVersion, SpecVersion, Strategy};
use crate::scheduler::judge::Judge;
use crate::scheduler::matcher::Need;
use crate::scheduler::ports;
use crate::scheduler::rules::Test;

/// Candidates by value rather than by tree, where so few values are left.
const FEW_VALUES: usize = 256;

/// One placement rule of a content.
#[derive(Clone, Debug)]
struct Clause {
    column: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// About values alone: the verdict that the column keeps.
    Fixed(usize),
    /// About where instances are.
    Counting { test: Test, tally: Tally },
}

/// A content, ready to be placed.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) need: Need,
    /// Its soft wishes, with nothing noted yet.
    pub(super) judge: Option<Judge>,
    /// Ports that it names itself.
    fixed_ports: BTreeSet<u16>,
    ports: usize,
    /// The need in coarse units.
    pub(super) node: Node,
    clauses: Vec<Clause>,
    /// Instances of older versions do not count for its rules.
    pub(super) counts_from: SpecVersion,
    /// Whether the tallies say where the instances are.
    pub(super) is_tallied: bool,
    /// By class: whether its members may suit, as far as values alone decide.
    is_open: Vec<bool>,
    /// The classes for which that is so.
    pub(super) open: Vec<u32>,
    /// Of which forming of the classes.
    era: u64,
}

/// What other placements of an app mean for one that was concluded to fit nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reopening {
    /// Nobody suits who did not before.
    Nobody,
    /// Only agents that have been noted as grown.
    Noted,
    /// Anybody.
    Anybody,
}

impl Demand {
    /// Of a content, where apps without a strategy get `cluster`.
    pub(super) fn of(fleet: &mut Fleet, content: &AppVersion, cluster: Strategy) -> Self {
        let spec = &content.spec;
        let need = Need::without_rules(spec);
        let fixed_ports = ports::fixed(&need.ports);
        let ports = fixed_ports.len() + ports::dynamic_count(&need.ports);
        let mut clauses = Vec::new();
        for rule in &spec.constraints {
            let column = fleet.column(rule);
            let verdict = fleet.columns.get_mut(column).and_then(|column| column.verdict(rule));
            let kind = verdict.map_or_else(
                || Kind::Counting {
                    test: Test::of(rule, u64::from(spec.instances)),
                    tally: Tally::default(),
                },
                Kind::Fixed,
            );
            clauses.push(Clause { column, kind });
        }
        let is_counting = clauses.iter().any(|clause| matches!(clause.kind, Kind::Counting { .. }));
        Self {
            node: Node::of_need(&need, u32::try_from(ports).unwrap_or(u32::MAX)),
            judge: Judge::of(spec, cluster),
            need,
            fixed_ports,
            ports,
            clauses,
            counts_from: content.last_config_change,
            is_tallied: !is_counting,
            is_open: Vec::new(),
            open: Vec::new(),
            era: 0,
        }
    }

    /// Brings verdicts and classes up to date.
    pub(super) fn refresh(&mut self, fleet: &mut Fleet) {
        for clause in &self.clauses {
            if let Kind::Fixed(verdict) = clause.kind
                && let Some(column) = fleet.columns.get_mut(clause.column)
            {
                column.learn(verdict);
            }
        }
        if self.era != fleet.era {
            self.era = fleet.era;
            self.open.clear();
            self.is_open.clear();
        }
        for class in fleet.classes.iter().skip(self.is_open.len()) {
            let is_open = self.may_serve(fleet, class);
            if is_open {
                self.open.push(u32::try_from(self.is_open.len()).unwrap_or(u32::MAX));
            }
            self.is_open.push(is_open);
        }
    }

    /// Whether values alone, those that a class shares, allow its members.
    fn may_serve(&self, fleet: &Fleet, class: &Class) -> bool {
        (!self.need.image || class.has_docker)
            && self.clauses.iter().all(|clause| {
                let Some(column) = fleet.columns.get(clause.column).filter(|column| !column.is_fine) else {
                    return true;
                };
                match &clause.kind {
                    Kind::Fixed(verdict) => column.holds(*verdict, class.value(clause.column)),
                    // A fact that is not there suits no rule that counts.
                    Kind::Counting { .. } => class.value(clause.column) != NO_VALUE,
                }
            })
    }

    /// Whether a class may suit, as far as values alone decide.
    pub(super) fn is_open(&self, class: u32) -> bool {
        self.is_open.get(class as usize).copied().unwrap_or(false)
    }

    /// Whether some rule counts instances by a fact that divides agents into classes.
    pub(super) fn counts_by_class(&self, fleet: &Fleet) -> bool {
        self.clauses.iter().any(|clause| {
            matches!(clause.kind, Kind::Counting { .. })
                && fleet.columns.get(clause.column).is_some_and(|column| !column.is_fine)
        })
    }

    /// Whether the rules that count by such facts allow a class now.
    pub(super) fn allows_class(&self, fleet: &Fleet, class: &Class) -> bool {
        self.clauses.iter().all(|clause| match &clause.kind {
            Kind::Counting { test, tally }
                if fleet.columns.get(clause.column).is_some_and(|column| !column.is_fine) =>
            {
                tally.allows(test, class.value(clause.column))
            }
            _ => true,
        })
    }

    /// Whether the rules on facts that are asked of each agent allow this one.
    pub(super) fn allows_agent(&self, fleet: &Fleet, agent: &Agent) -> bool {
        self.clauses.iter().all(|clause| {
            let Some(column) = fleet.columns.get(clause.column).filter(|column| column.is_fine) else {
                return true;
            };
            let value = agent.value(clause.column);
            match &clause.kind {
                Kind::Fixed(verdict) => column.holds(*verdict, value),
                Kind::Counting { test, tally } => value != NO_VALUE && tally.allows(test, value),
            }
        })
    }

    /// Whether the exact amounts and ports are there.
    pub(super) fn fits(&self, agent: &Agent) -> bool {
        let (need, spare) = (&self.need, &agent.spare);
        if agent.pools().is_some() || !need.accepted.unreserved {
            return need.fits(&agent.open_to(&need.accepted));
        }
        spare.cpus >= need.cpus
            && spare.mem >= need.mem
            && spare.disk >= need.disk
            && spare.gpus >= need.gpus
            && agent.ports() >= self.ports
            && self.fixed_ports.iter().all(|port| spare.ports.contains(*port))
    }

    /// Everything that can be asked of an agent, whichever way it was found.
    pub(super) fn suits(&self, fleet: &Fleet, agent: &Agent) -> bool {
        self.has_room_on(agent)
            && self.allows_agent(fleet, agent)
            && fleet.classes.get(agent.class as usize).is_some_and(|class| self.allows_class(fleet, class))
    }

    /// Whether an agent may be chosen, is of a class that may suit, and has room.
    pub(super) fn has_room_on(&self, agent: &Agent) -> bool {
        agent.is_open() && self.is_open(agent.class) && self.fits(agent)
    }

    /// Whether nobody offers a port that it names itself, whoever has it now.
    pub(super) fn asks_ports_of_nobody(&self, fleet: &Fleet) -> bool {
        !self.fixed_ports.is_empty() && !fleet.offered.may_have(self.fixed_ports.iter().copied())
    }

    /// Whether a rule refuses every value that an agent has who may be chosen, so that nobody need be
    /// asked: `UNIQUE` with an instance everywhere.
    pub(super) fn is_full_everywhere(&self, fleet: &Fleet) -> bool {
        self.clauses.iter().any(|clause| {
            let Kind::Counting { test: test @ (Test::Unique | Test::MaxPer(_)), tally } = &clause.kind else {
                return false;
            };
            let Some(column) = fleet.columns.get(clause.column) else { return false };
            let open = column.held().saturating_sub(tally.full());
            // Values that only agents have who may not be chosen now count as refused.
            open <= fleet.closed.len() && {
                let values = fleet.closed.iter().filter_map(|agent| fleet.agent(*agent));
                let values: BTreeSet<u32> = values.map(|agent| agent.value(clause.column)).collect();
                let is_closed = |agent: &u32| fleet.closed.contains(agent);
                let is_lost = |value: &&u32| {
                    **value != NO_VALUE
                        && tally.allows(test, **value)
                        && column.holders(**value).iter().all(is_closed)
                };
                values.iter().filter(is_lost).count() == open
            }
        })
    }

    /// Agents among which the answer must be, where rules make them few.
    pub(super) fn candidates(&self, fleet: &Fleet) -> Option<Vec<u32>> {
        self.clauses.iter().find_map(|clause| {
            let column = fleet.columns.get(clause.column).filter(|column| column.is_fine)?;
            let values = match &clause.kind {
                Kind::Fixed(verdict) => {
                    column.matched(*verdict).filter(|values| values.len() <= FEW_VALUES)?.to_vec()
                }
                Kind::Counting { test, tally } => {
                    tally.only(test).filter(|values| values.len() <= FEW_VALUES)?
                }
            };
            Some(values.iter().flat_map(|value| column.holders(*value)).copied().collect())
        })
    }

    /// Changes when agents that were refused by a rule may suit after all: `GROUP_BY` without a
    /// number, when the last of the least used values got an instance.
    pub(super) fn grade(&self) -> u64 {
        let counting = self.clauses.iter().filter_map(|clause| match &clause.kind {
            Kind::Counting { test: Test::Evenly, tally } => Some(u64::from(tally.least())),
            _ => None,
        });
        counting.sum()
    }

    /// Forgets where instances are.
    pub(super) fn forget_tallies(&mut self) {
        for clause in &mut self.clauses {
            if let Kind::Counting { tally, .. } = &mut clause.kind {
                *tally = Tally::default();
                self.is_tallied = false;
            }
        }
    }

    /// Whether any of its instances would do where another was placed: neither a rule nor the choice of
    /// ports asks which one it is.
    pub(super) fn is_alike_for_all(&self) -> bool {
        self.clauses.is_empty() && self.need.ports.is_empty()
    }

    /// Whether a rule asks which instance came first.
    pub(super) fn asks_seniority(&self) -> bool {
        self.clauses
            .iter()
            .any(|clause| matches!(&clause.kind, Kind::Counting { test: Test::Cluster(None), .. }))
    }

    /// Counts an instance on an agent, or no longer. Says for whom that opens a door.
    pub(super) fn count(
        &mut self,
        fleet: &mut Fleet,
        agent: u32,
        more: bool,
        seniority: Option<&Seniority>,
    ) -> Reopening {
        let mut reopening = Reopening::Nobody;
        for clause in &mut self.clauses {
            let Kind::Counting { test, tally } = &mut clause.kind else { continue };
            let value = fleet.agent(agent).map_or(NO_VALUE, |agent| agent.value(clause.column));
            tally.step(test, value, more, seniority);
            match test {
                Test::Unique | Test::MaxPer(_) if more || reopening == Reopening::Anybody => {}
                Test::Unique | Test::MaxPer(_)
                    if fleet.columns.get(clause.column).is_some_and(|c| c.is_fine) =>
                {
                    fleet.note_growth_of(clause.column, value);
                    reopening = Reopening::Noted;
                }
                _ => reopening = Reopening::Anybody,
            }
        }
        reopening
    }
}
