//! The turn of a content with soft wishes, or of one that is packed: everybody who has room is weighed once,
//! and then only who is at the top, and whoever changed.

use std::cmp::Reverse;

use super::counts::Counts;
use super::crowds::{Crowds, Entry};
use super::demand::Demand;
use super::fleet::Fleet;

/// A turn under way.
pub(super) struct Soft {
    crowds: Crowds,
    /// Of the rules when those who were refused were put aside.
    grade: u64,
    /// Whom the last search found; out of its heap until it is known what became of it.
    found: Option<Found>,
}

#[derive(Clone, Copy)]
struct Found {
    crowd: usize,
    points: i64,
    entry: Entry,
}

impl Soft {
    /// Takes up what the content's last turn left.
    pub(super) fn start(mut crowds: Crowds, fleet: &Fleet, demand: &Demand, siblings: &Counts) -> Self {
        crowds.weigh_changed(fleet, demand, siblings);
        Self { crowds, grade: demand.grade(), found: None }
    }

    /// What the next turn may take up.
    pub(super) fn end(mut self, fleet: &Fleet) -> Crowds {
        self.put_back();
        self.crowds.rest(fleet);
        self.crowds
    }

    /// The agent with the most points that suits now.
    pub(super) fn find(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts) -> Option<u32> {
        self.put_back();
        let grade = demand.grade();
        if std::mem::replace(&mut self.grade, grade) != grade {
            self.crowds.readmit();
        }
        let mut equals: Vec<(usize, Entry)> = Vec::new();
        for at in 0..self.crowds.all.len() {
            let common = self.crowds.all.get(at).map_or(0, |crowd| self.crowds.judge.common(&crowd.face));
            while let Some(entry) = self.pop_unless_beaten(at, common) {
                // Who has no room any more, or weighs something else, is there again if it matters.
                if !self.crowds.is_so(fleet, demand, siblings, (at, entry)) {
                    continue;
                }
                if !fleet.agent(entry.agent).is_some_and(|agent| demand.suits(fleet, agent)) {
                    self.crowds.aside.push((at, entry));
                    continue;
                }
                let found = Found { crowd: at, points: entry.points + common, entry };
                let id_of = |number: u32| fleet.agent(number).map(|agent| Reverse(&agent.id));
                let order = |found: &Found| (found.points, found.entry.lot, id_of(found.entry.agent));
                if self.found.as_ref().is_none_or(|best| order(&found) > order(best)) {
                    self.put_back();
                    self.found = Some(found);
                } else {
                    equals.push((at, entry));
                }
            }
        }
        equals.into_iter().for_each(|(at, entry)| self.crowds.push(at, entry));
        self.found.map(|found| found.entry.agent)
    }

    /// The top of a crowd, taken out, if nothing better is known.
    fn pop_unless_beaten(&mut self, at: usize, common: i64) -> Option<Entry> {
        let crowd = self.crowds.all.get_mut(at)?;
        let top = crowd.heap.peek()?;
        let beaten = |best: &Found| (top.points + common, top.lot) < (best.points, best.entry.lot);
        if self.found.as_ref().is_some_and(beaten) {
            return None;
        }
        crowd.heap.pop()
    }

    /// Whom the last search found goes back to its crowd.
    fn put_back(&mut self) {
        if let Some(found) = self.found.take() {
            self.crowds.push(found.crowd, found.entry);
        }
    }

    /// An instance was given to the agent that was found.
    pub(super) fn note(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts, number: u32) {
        self.found = None;
        for agent in self.crowds.give(fleet, number) {
            self.crowds.weigh_again(fleet, demand, siblings, agent);
        }
    }
}
