//! One content's turn in a cycle: as many of its instances as fit, each at the best agent.
//!
//! Within a turn room only shrinks and, but for one rule, rules only tighten. So who was
//! passed by once at a level need not be looked at again, and a walk from the best agent to the
//! worst finds them all in turn.

use std::collections::BTreeMap;

use super::counts::Counts;
use super::crowds::Crowds;
use super::demand::Demand;
use super::fleet::Fleet;
use super::groups::MOVING;
use super::search::{Met, best_at_level, best_of, is_by_class};
use super::soft::Soft;
use super::tally::Seniority;
use super::walk::Walk;
use crate::domain::{InstanceId, TaskId, Timestamp};
use crate::scheduler::ports;
use crate::state::Placement;

/// More agents than this grew since the last turn: then all are searched as if for the first time.
const GROWN_MAX: usize = 4_096;

/// Above every number of instances: nobody suits.
const NOBODY: u32 = u32::MAX;

/// How far a content's turns have come; what one leaves the next takes up.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Position in the log of growth. Who grew since is looked at again.
    at: u64,
    /// Of which forming of the classes.
    era: u64,
    /// Agents with so many instances of the app are looked for now; there is no better one.
    level: u32,
    /// No agent with fewer instances suits, but for those that walks still come to.
    base: u32,
    met: Met,
    /// Walks by level. Also those of levels that were left stay good: where a rule closed a
    /// class they wait for it to open.
    walks: BTreeMap<u32, Walk>,
    /// The level of the last search that found somebody; the next one there begins a walk.
    searched: Option<u32>,
}

/// A turn under way.
pub(super) struct Turn<'a> {
    fleet: &'a mut Fleet,
    demand: &'a mut Demand,
    /// Instances of the app, by agent.
    siblings: &'a mut Counts,
    progress: Progress,
    /// For contents with soft wishes, which choose in their own way.
    soft: Option<Soft>,
    /// What such contents keep, where this turn asks nobody.
    crowds: Option<Crowds>,
    /// Nobody suits.
    is_over: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn start(
        fleet: &'a mut Fleet,
        demand: &'a mut Demand,
        siblings: &'a mut Counts,
        progress: Option<Progress>,
        crowds: Option<Crowds>,
    ) -> Self {
        demand.refresh(fleet);
        let is_nobodys = demand.asks_ports_of_nobody(fleet);
        let known = progress.filter(|progress| progress.era == fleet.era);
        let known = known.and_then(|mut progress| {
            let grown = fleet.growth.since(progress.at).filter(|grown| grown.len() <= GROWN_MAX)?;
            progress.walks.values_mut().for_each(|walk| walk.extend(fleet, demand));
            for number in grown {
                progress.look_again(fleet, demand, siblings, *number);
            }
            Some(progress)
        });
        let progress = known.unwrap_or_default();
        if demand.judge.is_none() {
            return Self { fleet, demand, siblings, progress, soft: None, crowds, is_over: is_nobodys };
        }
        // Of earlier turns only counts whether nobody suited, and nobody grew since.
        let is_over = is_nobodys || progress.level == NOBODY;
        let progress = Progress::default();
        let (soft, crowds) = match crowds {
            Some(crowds) if !is_over => (Some(Soft::start(crowds, fleet, demand, siblings)), None),
            crowds => (None, crowds),
        };
        let is_over = soft.is_none();
        Self { fleet, demand, siblings, progress, soft, crowds, is_over }
    }

    /// Places one instance. Nothing when no agent suits.
    pub(super) fn place(&mut self, instance: &InstanceId, attempt: u32) -> Option<(u32, Placement)> {
        if self.is_over {
            return None;
        }
        let found = self.find().and_then(|agent| Some((agent, self.give(agent, instance, attempt)?)));
        let Some((agent, placement)) = found else {
            self.is_over = true;
            return None;
        };
        let before = self.demand.grade();
        let seniority = self.demand.asks_seniority().then(|| assumed_seniority(instance, attempt));
        self.demand.count(self.fleet, agent, true, seniority.as_ref());
        self.siblings.step(agent, true);
        self.fleet.settle(agent);
        if let Some(soft) = &mut self.soft {
            soft.note(self.fleet, self.demand, self.siblings, agent);
            return Some((agent, placement));
        }
        self.progress.look_again(self.fleet, self.demand, self.siblings, agent);
        if self.demand.grade() != before {
            self.progress.reopen();
        }
        Some((agent, placement))
    }

    /// The best agent.
    fn find(&mut self) -> Option<u32> {
        if self.demand.is_full_everywhere(self.fleet) {
            return None;
        }
        if let Some(soft) = &mut self.soft {
            return soft.find(self.fleet, self.demand, self.siblings);
        }
        if let Some(few) = self.demand.candidates(self.fleet) {
            return best_of(self.fleet, self.demand, self.siblings, &few);
        }
        while self.progress.level < NOBODY {
            let found = self.progress.find_at_level(self.fleet, self.demand, self.siblings);
            if found.is_some() {
                return found;
            }
            self.progress.rise();
        }
        None
    }

    /// Takes what the instance needs out of what the agent has to spare.
    fn give(&mut self, number: u32, instance: &InstanceId, attempt: u32) -> Option<Placement> {
        let agent = self.fleet.agent(number)?;
        let need = &self.demand.need;
        let ports = if need.ports.is_empty() {
            Vec::new()
        } else {
            let open = agent.open_to(&need.accepted);
            ports::assign(&need.ports, &open.ports, ports::seed_of(&TaskId::of(instance, attempt)))?
        };
        let resources = need.resources(&ports);
        let drawn = agent.draw(&resources, &need.accepted);
        let agent = agent.id.clone();
        self.fleet.give(number, &resources, &drawn);
        Some(Placement { instance: instance.clone(), attempt, agent, ports, resources, drawn })
    }

    /// What the next turn may build on.
    pub(super) fn end(self) -> (Progress, Option<Crowds>) {
        let (at, era) = (self.fleet.growth.end(), self.fleet.era);
        let crowds = self.soft.map(|soft| soft.end(self.fleet)).or(self.crowds);
        if self.is_over {
            return (Progress { at, era, level: NOBODY, base: NOBODY, ..Progress::default() }, crowds);
        }
        (Progress { at, era, ..self.progress }, crowds)
    }
}

impl Progress {
    /// How many nodes and agents its walks remember.
    pub(super) fn len(&self) -> usize {
        self.walks.values().map(Walk::len).sum()
    }

    /// Whether nobody suited, and nobody grew since.
    pub(super) fn rests(&self, fleet: &Fleet) -> bool {
        let grew_nobody = fleet.growth.since(self.at).is_some_and(<[u32]>::is_empty);
        self.level == NOBODY && self.era == fleet.era && grew_nobody
    }

    /// The best agent at the level. The first is searched for, which costs least when it remains
    /// the only one, or when there is none; from the second on a walk goes from one to the next.
    fn find_at_level(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts) -> Option<u32> {
        let level = self.level;
        if !self.walks.contains_key(&level) {
            if level < self.base {
                return None;
            }
            if self.searched != Some(level) {
                self.searched = Some(level);
                return best_at_level(fleet, demand, siblings, level, &mut self.met);
            }
        }
        let start = || Walk::start(fleet, demand, is_by_class(fleet, demand));
        let walk = self.walks.entry(level).or_insert_with(start);
        while let Some(agent) = walk.next(fleet, demand) {
            if self.met.is_it(fleet, demand, siblings, level, agent) {
                return Some(agent);
            }
        }
        None
    }

    /// Nobody suits at this level: goes on to the next number of instances that anybody has.
    fn rise(&mut self) {
        let above = self.level.saturating_add(1);
        self.base = self.base.max(above);
        self.searched = None;
        let met = self.met.levels.range(above..).next().copied();
        let walked = self.walks.range(above..).next().map(|(level, _)| *level);
        self.level = met.into_iter().chain(walked).min().unwrap_or(NOBODY);
    }

    /// An agent has more room than before, or another number of instances.
    fn look_again(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts, number: u32) {
        let Some(agent) = fleet.agent(number).filter(|agent| demand.has_room_on(agent)) else { return };
        if !demand.allows_agent(fleet, agent) {
            self.met.rule = true;
            return;
        }
        let level = siblings.get(number);
        if level >= MOVING {
            return;
        }
        self.met.levels.insert(level);
        if level < self.base || self.walks.contains_key(&level) {
            let walk = self.walks.entry(level).or_insert_with(|| Walk::of_nobody(demand));
            walk.offer(fleet, number);
        }
        self.level = self.level.min(level);
    }

    /// A rule allows more than before: everybody is asked anew, but for those whom walks passed.
    fn reopen(&mut self) {
        (self.level, self.base, self.searched) = (0, 0, None);
        let has_met_rule = std::mem::take(&mut self.met.rule);
        self.walks.retain(|_, walk| !has_met_rule && !walk.is_partial);
    }
}

/// An instance that was placed in this cycle comes after all that are recorded.
pub(super) fn assumed_seniority(instance: &InstanceId, attempt: u32) -> Seniority {
    (Timestamp::from_millis(i64::MAX), TaskId::of(instance, attempt))
}
