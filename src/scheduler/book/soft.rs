//! The turn of a content with soft wishes, or of one that is packed: everybody who has room is weighed once,
//! and then only who is at the top, and whoever changed.
//!
//! Agents to which all counting wishes give the same points make a crowd: within a crowd only what an agent
//! is by itself decides, and that changes only where something is placed or ends. So each crowd is a
//! heap, and the best of all is among their tops.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::counts::Counts;
use super::demand::Demand;
use super::fleet::Fleet;
use super::groups::{MOVING, number_of};
use crate::scheduler::judge::{Face, Judge};

/// Entries beyond so many per agent are of those who changed since: then all are weighed anew.
const ENTRIES_PER_AGENT_MAX: usize = 3;

/// A turn under way.
pub(super) struct Soft {
    judge: Judge,
    crowds: Crowds,
    /// Of the rules when those who were refused were put aside.
    grade: u64,
    /// Whom the last search found; out of its heap until it is known what became of it.
    found: Option<Found>,
}

/// Who may be chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowds {
    all: Vec<Crowd>,
    /// Refused by a rule that looks at instances, with the crowds that they are of.
    aside: Vec<(usize, Entry)>,
    /// Position in the log of changes. Who changed since is weighed again.
    at: u64,
}

/// Agents that counting wishes cannot tell apart.
#[derive(Clone, Debug)]
struct Crowd {
    face: Face,
    heap: BinaryHeap<Entry>,
}

/// An agent as it was weighed; worth nothing when it weighs something else by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Points that only its own facts, load and instances change.
    local: i64,
    lot: u16,
    agent: u32,
}

#[derive(Clone, Copy)]
struct Found {
    crowd: usize,
    points: i64,
    entry: Entry,
}

impl Soft {
    /// Takes up what the content's last turn left, or weighs everybody who has room for an instance, whatever
    /// the rules say now.
    pub(super) fn start(
        judge: Judge,
        fleet: &Fleet,
        demand: &Demand,
        siblings: &Counts,
        known: Option<Crowds>,
    ) -> Self {
        let crowds = Crowds { at: fleet.changes.end(), ..Crowds::default() };
        let mut soft = Self { judge, crowds, grade: demand.grade(), found: None };
        if let Some(known) = known.filter(|_| !soft.judge.counts()) {
            let entries: usize = known.all.iter().map(|crowd| crowd.heap.len()).sum();
            let most = fleet.agents.len().saturating_mul(ENTRIES_PER_AGENT_MAX);
            if let Some(changed) = fleet.changes.since(known.at).filter(|_| entries <= most) {
                (soft.crowds.all, soft.crowds.aside) = (known.all, known.aside);
                soft.readmit();
                changed.iter().for_each(|agent| soft.weigh_again(fleet, demand, siblings, *agent));
                return soft;
            }
        }
        soft.weigh_all(fleet, demand, siblings);
        soft
    }

    /// What the next turn may take up; nothing where counts of instances decide, which are counted anew.
    pub(super) fn end(mut self) -> Option<Crowds> {
        self.put_back();
        (!self.judge.counts()).then_some(self.crowds)
    }

    fn weigh_all(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts) {
        let mut places: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        let mut crowds: Vec<(Face, Vec<Entry>)> = Vec::new();
        for number in (0..).take(fleet.agents.len()) {
            let Some((face, entry)) = self.weigh(fleet, demand, siblings, number) else { continue };
            match places.get(face.values()).and_then(|at| crowds.get_mut(*at)) {
                Some((_, entries)) => entries.push(entry),
                None => {
                    places.insert(face.values().to_vec(), crowds.len());
                    crowds.push((face, vec![entry]));
                }
            }
        }
        let crowds = crowds.into_iter().map(|(face, entries)| Crowd { face, heap: entries.into() });
        self.crowds.all = crowds.collect();
    }

    /// What an agent is worth that has room.
    fn weigh(
        &mut self,
        fleet: &Fleet,
        demand: &Demand,
        siblings: &Counts,
        number: u32,
    ) -> Option<(Face, Entry)> {
        let agent = fleet.agent(number).filter(|agent| demand.has_room_on(agent))?;
        let own = Some(siblings.get(number)).filter(|own| *own < MOVING)?;
        let face = self.judge.face_of(&agent.row.as_ref()?.info);
        let local = self.judge.local(&face, agent.load(), number_of(own));
        Some((face, Entry { local, lot: agent.lot(), agent: number }))
    }

    /// Puts an agent that changed where it belongs now. What it was is not looked for: it is known when it
    /// comes to the top.
    fn weigh_again(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts, number: u32) {
        let Some((face, entry)) = self.weigh(fleet, demand, siblings, number) else { return };
        let crowd = self.crowds.all.iter_mut().find(|crowd| crowd.face.values() == face.values());
        match crowd {
            Some(crowd) => crowd.heap.push(entry),
            None => self.crowds.all.push(Crowd { face, heap: BinaryHeap::from([entry]) }),
        }
    }

    /// The agent with the most points that suits now.
    pub(super) fn find(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts) -> Option<u32> {
        self.put_back();
        let grade = demand.grade();
        if std::mem::replace(&mut self.grade, grade) != grade {
            self.readmit();
        }
        let mut equals: Vec<(usize, Entry)> = Vec::new();
        for at in 0..self.crowds.all.len() {
            let shared = self.crowds.all.get(at).map_or(0, |crowd| self.judge.shared(&crowd.face));
            while let Some(entry) = self.pop_unless_beaten(at, shared) {
                // Who has no room any more, or weighs something else, is there again if it matters.
                let now = self.weigh(fleet, demand, siblings, entry.agent);
                let Some(agent) = now.filter(|(_, now)| *now == entry).and_then(|_| fleet.agent(entry.agent))
                else {
                    continue;
                };
                if !demand.suits(fleet, agent) {
                    self.crowds.aside.push((at, entry));
                    continue;
                }
                let found = Found { crowd: at, points: entry.local + shared, entry };
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
        equals.into_iter().for_each(|(at, entry)| self.push(at, entry));
        self.found.map(|found| found.entry.agent)
    }

    /// The top of a crowd, taken out, if nothing better is known.
    fn pop_unless_beaten(&mut self, at: usize, shared: i64) -> Option<Entry> {
        let crowd = self.crowds.all.get_mut(at)?;
        let top = crowd.heap.peek()?;
        let beaten = |best: &Found| (top.local + shared, top.lot) < (best.points, best.entry.lot);
        if self.found.as_ref().is_some_and(beaten) {
            return None;
        }
        crowd.heap.pop()
    }

    fn push(&mut self, at: usize, entry: Entry) {
        if let Some(crowd) = self.crowds.all.get_mut(at) {
            crowd.heap.push(entry);
        }
    }

    /// Whom the last search found goes back to its crowd.
    fn put_back(&mut self) {
        if let Some(found) = self.found.take() {
            self.push(found.crowd, found.entry);
        }
    }

    /// Those whom a rule refused may be asked again.
    fn readmit(&mut self) {
        for (at, entry) in std::mem::take(&mut self.crowds.aside) {
            self.push(at, entry);
        }
    }

    /// An instance was given to the agent that was found.
    pub(super) fn note(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts, number: u32) {
        let Some(found) = self.found.take() else { return };
        if let Some(crowd) = self.crowds.all.get(found.crowd) {
            self.judge.note_face(&crowd.face, 1);
        }
        if let Some((_, entry)) = self.weigh(fleet, demand, siblings, number) {
            self.push(found.crowd, entry);
        }
    }
}

impl Crowds {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.all.iter().map(|crowd| crowd.heap.len()).sum::<usize>() + self.aside.len()
    }
}
