//! Finds the best agent for one more instance, without asking those that cannot be it.

use std::collections::BTreeSet;

use super::counts::Counts;
use super::demand::Demand;
use super::fleet::{Class, Fleet};
use super::groups::MOVING;
use super::tree::{Node, ROOT, Tree};

/// Walking all classes costs less than walking their tree and meeting closed ones, when at most
/// one in so many is open.
const CLOSED_RATIO: usize = 4;

/// What became known of agents that were met in vain.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    /// Numbers of instances of the app that suitable agents have.
    pub(super) levels: BTreeSet<u32>,
    /// Somebody was refused by a rule on a fact that is asked of each agent.
    pub(super) rule: bool,
}

impl Met {
    /// Whether an agent that looks large enough is one with exactly `level` instances, and suits.
    pub(super) fn is_it(
        &mut self,
        fleet: &Fleet,
        demand: &Demand,
        siblings: &Counts,
        level: u32,
        number: u32,
    ) -> bool {
        let has = siblings.get(number);
        if has < level || has >= MOVING || (has > level && self.levels.contains(&has)) {
            return false;
        }
        let Some(agent) = fleet.agent(number).filter(|agent| demand.fits(agent)) else { return false };
        if !demand.allows_agent(fleet, agent) {
            self.rule = true;
            return false;
        }
        if has > level {
            self.levels.insert(has);
        }
        has == level
    }
}

/// One search.
pub(super) struct Search<'a> {
    fleet: &'a Fleet,
    demand: &'a Demand,
    /// Instances of the app, by agent.
    siblings: &'a Counts,
    /// Agents with so many of them are looked for.
    level: u32,
    need: Node,
    best: Option<(u32, u32)>,
    met: &'a mut Met,
}

/// The best agent with exactly `level` instances of the app: the largest score, then the smallest
/// id. When there is none, everybody who looks large enough was met.
pub(super) fn best_at_level(
    fleet: &Fleet,
    demand: &Demand,
    siblings: &Counts,
    level: u32,
    met: &mut Met,
) -> Option<u32> {
    let mut search = Search { fleet, demand, siblings, level, need: demand.node, best: None, met };
    if is_by_class(fleet, demand) {
        search.walk_classes();
    } else {
        search.descend_roots(ROOT);
    }
    search.best.map(|(_, agent)| agent)
}

/// Whether classes are better looked at one by one than by the tree over their roots.
pub(super) fn is_by_class(fleet: &Fleet, demand: &Demand) -> bool {
    demand.counts_by_class(fleet) || demand.open.len() * CLOSED_RATIO < fleet.classes.len()
}

/// The best of a few agents: fewest instances of the app, then as [`best_at_level`].
pub(super) fn best_of(fleet: &Fleet, demand: &Demand, siblings: &Counts, few: &[u32]) -> Option<u32> {
    let suitable = few.iter().copied().filter_map(|number| {
        let agent = fleet.agent(number).filter(|agent| demand.suits(fleet, agent))?;
        let siblings = Some(siblings.get(number)).filter(|siblings| *siblings < MOVING)?;
        Some((siblings, std::cmp::Reverse(agent.score()), &agent.id, number))
    });
    suitable.min().map(|(.., number)| number)
}

impl<'a> Search<'a> {
    /// Every open class in turn, the one with the best root first: its answer rules out nearly
    /// all the others by their roots alone.
    fn walk_classes(&mut self) {
        let (fleet, demand, need) = (self.fleet, self.demand, self.need);
        let mut top: Option<(u32, u32, &Class)> = None;
        for (number, class) in open_classes(fleet, demand) {
            let root = fleet.roots.leaf(number);
            if top.is_none_or(|(score, ..)| root.score() > score)
                && root.covers(&need)
                && demand.allows_class(fleet, class)
            {
                top = Some((root.score(), number, class));
            }
        }
        let Some((_, first, class)) = top else { return };
        self.descend(class, &class.tree, ROOT);
        for (number, class) in open_classes(fleet, demand) {
            let root = fleet.roots.leaf(number);
            if number != first && root.covers(&self.need) && demand.allows_class(fleet, class) {
                self.descend(class, &class.tree, ROOT);
            }
        }
    }

    /// The tree over the classes, for demands to which nearly all are open.
    fn descend_roots(&mut self, at: usize) {
        let roots = &self.fleet.roots;
        if !roots.node(at).covers(&self.need) {
            return;
        }
        if let Some(number) = roots.leaf_at(at) {
            let class = self.fleet.classes.get(number as usize);
            if let Some(class) = class.filter(|_| self.demand.is_open(number)) {
                self.descend(class, &class.tree, ROOT);
            }
            return;
        }
        for at in better_first(roots, at) {
            self.descend_roots(at);
        }
    }

    fn descend(&mut self, class: &'a Class, tree: &'a Tree, at: usize) {
        let node = tree.node(at);
        if !node.covers(&self.need) {
            return;
        }
        if let Some(leaf) = tree.leaf_at(at) {
            if let Some(agent) = class.members.get(leaf as usize) {
                self.meet(*agent, node.score());
            }
            return;
        }
        for at in better_first(tree, at) {
            self.descend(class, tree, at);
        }
    }

    fn meet(&mut self, number: u32, score: u32) {
        if self.met.is_it(self.fleet, self.demand, self.siblings, self.level, number) {
            self.offer(number, score);
        }
    }

    fn offer(&mut self, number: u32, score: u32) {
        let id = |number: u32| self.fleet.agent(number).map(|agent| &agent.id);
        if self.best.is_none_or(|(best, holder)| score > best || (score == best && id(number) < id(holder))) {
            self.best = Some((score, number));
            self.need.ask_score(score);
        }
    }
}

fn open_classes<'a>(fleet: &'a Fleet, demand: &'a Demand) -> impl Iterator<Item = (u32, &'a Class)> {
    demand.open.iter().filter_map(|number| Some((*number, fleet.classes.get(*number as usize)?)))
}

fn better_first(tree: &Tree, at: usize) -> [usize; 2] {
    let (left, right) = (2 * at, 2 * at + 1);
    if tree.node(right).score() > tree.node(left).score() { [right, left] } else { [left, right] }
}
