//! One content's turn in a cycle: as many of its instances as fit, each at the best agent.
//!
//! Within a turn room only shrinks and, but for one rule, rules only tighten. So who was
//! refused once is hidden from the trees for the rest of the turn, and asked no more.

use std::collections::BTreeMap;

use super::demand::Demand;
use super::fleet::Fleet;
use super::search::{Met, Refusal, best_at_level, best_of, siblings_on};
use super::tally::Seniority;
use crate::domain::{InstanceId, PortRanges, Resources, TaskId, Timestamp};
use crate::scheduler::ports;
use crate::state::Placement;

/// More agents than this grew since a conclusion: then all are searched as if for the first time.
const GROWN_MAX: usize = 256;

/// What a turn found out about all agents, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conclusion {
    /// No agent with fewer instances of the app than this suits.
    below: u32,
    /// Position in the log of growth; who grew since may suit after all.
    at: u64,
}

/// Above every number of instances: nobody suits.
const NOBODY: u32 = u32::MAX;

/// A turn under way.
pub(super) struct Turn<'a> {
    fleet: &'a mut Fleet,
    demand: &'a mut Demand,
    /// Instances of the app, by agent.
    siblings: &'a mut BTreeMap<u32, u32>,
    /// Agents with so many of them are looked for now; there is no better one.
    level: u32,
    /// Who grew since the last conclusion, while one of them may be better than `level`.
    grown: Option<Vec<u32>>,
    met: Met,
    /// Hidden until the turn ends.
    refused: Vec<u32>,
    /// Hidden until a rule opens.
    ruled_out: Vec<u32>,
    /// Hidden until their number of instances is looked for.
    waiting: BTreeMap<u32, Vec<u32>>,
    /// Hidden classes.
    closed: Vec<u32>,
    /// Nobody suits.
    is_over: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn start(
        fleet: &'a mut Fleet,
        demand: &'a mut Demand,
        siblings: &'a mut BTreeMap<u32, u32>,
        conclusion: Option<Conclusion>,
    ) -> Self {
        demand.refresh(fleet);
        let known = conclusion.and_then(|conclusion| {
            let grown = fleet.growth.since(conclusion.at).filter(|grown| grown.len() <= GROWN_MAX)?;
            let mut grown = grown.to_vec();
            grown.sort_unstable();
            grown.dedup();
            Some((conclusion.below, Some(grown)))
        });
        let (level, grown) = known.unwrap_or((0, None));
        Self {
            is_over: !demand.need.any_role,
            fleet,
            demand,
            siblings,
            level,
            grown,
            met: Met::default(),
            refused: Vec::new(),
            ruled_out: Vec::new(),
            waiting: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    /// Places one instance; `more` follow. Nothing when no agent suits.
    pub(super) fn place(
        &mut self,
        instance: &InstanceId,
        attempt: u32,
        more: bool,
    ) -> Option<(u32, Placement)> {
        if self.is_over {
            return None;
        }
        let found = self.find(more).and_then(|agent| Some((agent, self.give(agent, instance, attempt)?)));
        let Some((agent, placement)) = found else {
            self.is_over = true;
            return None;
        };
        let before = self.demand.grade();
        let seniority = self.demand.asks_seniority().then(|| assumed_seniority(instance, attempt));
        self.demand.count(self.fleet, agent, true, seniority.as_ref());
        let siblings = self.siblings.entry(agent).or_default();
        *siblings = siblings.saturating_add(1);
        let siblings = *siblings;
        if more && self.grown.is_none() {
            self.fleet.hide(agent);
            self.waiting.entry(siblings).or_default().push(agent);
            self.hide_met();
        } else {
            self.fleet.settle(agent);
        }
        self.met = Met::default();
        if self.demand.grade() != before {
            self.reopen();
        }
        Some((agent, placement))
    }

    /// The best agent.
    fn find(&mut self, more: bool) -> Option<u32> {
        if let Some(few) = self.demand.candidates(self.fleet) {
            return best_of(self.fleet, self.demand, self.siblings, &few);
        }
        if let Some(grown) = &mut self.grown {
            let (fleet, demand, siblings, level) = (&*self.fleet, &*self.demand, &*self.siblings, self.level);
            grown.retain(|number| {
                siblings_on(siblings, *number) < level
                    && fleet.agent(*number).is_some_and(|agent| demand.suits(fleet, agent))
            });
            if let Some(best) = best_of(fleet, demand, siblings, grown) {
                return Some(best);
            }
            self.grown = None;
        }
        while self.level < NOBODY {
            let met = &mut self.met;
            let found = best_at_level(self.fleet, self.demand, self.siblings, self.level, met);
            if found.is_some() {
                return found;
            }
            self.rise(more);
        }
        None
    }

    /// Nobody suits at this level: goes on to the next number of instances that anybody has.
    fn rise(&mut self, more: bool) {
        let met = self.met.refused.iter().filter_map(|(_, refusal)| match refusal {
            Refusal::Siblings(siblings) => Some(*siblings),
            _ => None,
        });
        let hidden = self.waiting.keys().copied().find(|siblings| *siblings > self.level);
        self.level = met.chain(hidden).min().unwrap_or(NOBODY);
        if more && self.level < NOBODY {
            self.hide_met();
        }
        self.met.refused.clear();
        while let Some(next) = self.waiting.first_entry().filter(|next| *next.key() <= self.level) {
            for agent in next.remove() {
                self.fleet.settle(agent);
            }
        }
    }

    /// Hides those who were met in vain, so that they are not met again.
    fn hide_met(&mut self) {
        for (agent, refusal) in self.met.refused.drain(..) {
            let list = match refusal {
                Refusal::Siblings(siblings) if siblings <= self.level => continue,
                Refusal::Siblings(siblings) => self.waiting.entry(siblings).or_default(),
                Refusal::Rule => &mut self.ruled_out,
                Refusal::Room => &mut self.refused,
            };
            list.push(agent);
            self.fleet.hide(agent);
        }
        for class in self.met.closed.drain(..) {
            self.fleet.hide_class(class);
            self.closed.push(class);
        }
    }

    /// A rule allows more than before: everything but room is asked anew.
    fn reopen(&mut self) {
        self.level = 0;
        self.grown = None;
        for agent in std::mem::take(&mut self.ruled_out) {
            self.fleet.settle(agent);
        }
    }

    /// Takes what the instance needs out of what the agent has to spare.
    fn give(&mut self, number: u32, instance: &InstanceId, attempt: u32) -> Option<Placement> {
        let agent = self.fleet.agent(number)?;
        let need = &self.demand.need;
        let ports = if need.ports.is_empty() {
            Vec::new()
        } else {
            ports::assign(&need.ports, &agent.spare.ports, ports::seed_of(&TaskId::of(instance, attempt)))?
        };
        let resources = Resources {
            cpus: need.cpus,
            mem: need.mem,
            disk: need.disk,
            gpus: need.gpus,
            ports: PortRanges::of(ports.iter().copied()),
        };
        let agent = agent.id.clone();
        self.fleet.give(number, &resources);
        Some(Placement { instance: instance.clone(), attempt, agent, ports, resources })
    }

    /// Shows everybody again, and says what was found out about all.
    pub(super) fn end(mut self, before: Option<Conclusion>) -> Option<Conclusion> {
        let mut hidden = std::mem::take(&mut self.refused);
        hidden.append(&mut self.ruled_out);
        self.waiting.values_mut().for_each(|agents| hidden.append(agents));
        for agent in hidden {
            self.fleet.settle(agent);
        }
        for class in std::mem::take(&mut self.closed) {
            self.fleet.settle_class(class);
        }
        let at = self.fleet.growth.end();
        match self.level {
            _ if self.is_over => Some(Conclusion { below: NOBODY, at }),
            _ if self.grown.is_some() => before,
            0 => None,
            below => Some(Conclusion { below, at }),
        }
    }
}

/// An instance that was placed in this cycle comes after all that are recorded.
pub(super) fn assumed_seniority(instance: &InstanceId, attempt: u32) -> Seniority {
    (Timestamp::from_millis(i64::MAX), TaskId::of(instance, attempt))
}
