//! All agents that may serve a demand, the best first, one after the other.
//!
//! Nodes of the trees wait in a heap by their scores; the first is opened and makes room for its
//! children, until an agent comes first. Who was met is not met again, so that a content passes
//! the agents that already have its instances only once, however many turns it takes.
//! Scores only fall, so that what was noted of a node earlier is never too small; agents whose
//! score rose are offered to the walk again.

use super::demand::Demand;
use super::fleet::{Agent, Fleet};
use super::heap::{Entry, Heap, Kind};
use super::tree::{ROOT, Tree};

/// Stands for the tree over the classes' roots.
const ALL_CLASSES: u32 = u32::MAX;

/// What is still to come of one class, or of all.
#[derive(Clone, Debug, Default)]
struct Lane {
    class: u32,
    heap: Heap,
    /// One more than the score that its first may have at most; 0 when nobody is left.
    bound: u64,
}

/// A walk under way.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// One for all classes; or one for each, by class, where rules open and close classes as
    /// instances are placed.
    lanes: Vec<Lane>,
    is_by_class: bool,
    /// How many of the demand's open classes it knows.
    classes: usize,
    /// Only agents that were offered.
    pub(super) is_partial: bool,
}

impl Walk {
    /// Through everybody.
    pub(super) fn start(fleet: &Fleet, demand: &Demand, is_by_class: bool) -> Self {
        let mut walk = Self { is_by_class, ..Self::of_nobody(demand) };
        walk.is_partial = false;
        if is_by_class {
            walk.classes = 0;
            walk.extend(fleet, demand);
        } else {
            let root = fleet.roots.root();
            let lane = walk.lane(ALL_CLASSES);
            lane.heap.push(Entry::node(root.score(), ALL_CLASSES, ROOT), fleet);
            lane.note_bound();
        }
        walk
    }

    /// Through agents that will be offered.
    pub(super) fn of_nobody(demand: &Demand) -> Self {
        Self { lanes: Vec::new(), is_by_class: true, classes: demand.open.len(), is_partial: true }
    }

    /// Through classes that came since, too.
    pub(super) fn extend(&mut self, fleet: &Fleet, demand: &Demand) {
        let known = if self.is_partial { demand.open.len() } else { self.classes };
        for class in demand.open.iter().skip(known) {
            let root = fleet.roots.leaf(*class);
            let lane = if self.is_by_class { self.lane(*class) } else { self.lane(ALL_CLASSES) };
            if root.covers(&demand.node) {
                lane.heap.push(Entry::node(root.score(), *class, ROOT), fleet);
                lane.note_bound();
            }
        }
        self.classes = demand.open.len();
    }

    /// How many nodes and agents it remembers.
    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.heap.len()).sum()
    }

    fn lane(&mut self, class: u32) -> &mut Lane {
        let at = self.lanes.partition_point(|lane| lane.class < class);
        if self.lanes.get(at).is_none_or(|lane| lane.class != class) {
            self.lanes.insert(at, Lane { class, ..Lane::default() });
        }
        #[expect(clippy::indexing_slicing, reason = "inserted above")]
        &mut self.lanes[at]
    }

    /// Has an agent met, once more if need be.
    pub(super) fn offer(&mut self, fleet: &Fleet, number: u32) {
        let Some(agent) = fleet.agent(number) else { return };
        let lane = if self.is_by_class { self.lane(agent.class) } else { self.lane(ALL_CLASSES) };
        lane.heap.push(Entry::agent(agent.score(), agent.class, number), fleet);
        lane.note_bound();
    }

    /// The next best agent of a class that is allowed now.
    pub(super) fn next(&mut self, fleet: &Fleet, demand: &Demand) -> Option<u32> {
        loop {
            let (mut first, mut second): (Option<(u64, usize)>, u64) = (None, 0);
            for (at, lane) in self.lanes.iter().enumerate() {
                let best = first.map_or(0, |(bound, _)| bound);
                if lane.bound > second && (!self.is_by_class || allows(fleet, demand, lane.class)) {
                    if lane.bound > best {
                        (first, second) = (Some((lane.bound, at)), best);
                    } else {
                        second = lane.bound;
                    }
                }
            }
            let (bound, at) = first?;
            let lane = self.lanes.get_mut(at)?;
            lane.open(fleet, demand);
            if lane.bound > second {
                return lane.pop(fleet);
            }
            if lane.bound == second && bound == second {
                return self.next_of_equals(fleet, demand, second);
            }
        }
    }

    /// Classes whose first agents are equally good: the smallest id decides.
    fn next_of_equals(&mut self, fleet: &Fleet, demand: &Demand, bound: u64) -> Option<u32> {
        let is_by_class = self.is_by_class;
        let lanes = self.lanes.iter_mut().filter(|lane| lane.bound == bound);
        let mut equals: Vec<&mut Lane> =
            lanes.filter(|lane| !is_by_class || allows(fleet, demand, lane.class)).collect();
        equals.iter_mut().for_each(|lane| lane.open(fleet, demand));
        let compare = |a: &Lane, b: &Lane| match (a.heap.first(), b.heap.first()) {
            (Some(a), Some(b)) => a.compare(&b, fleet),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        equals.into_iter().max_by(|a, b| compare(a, b))?.pop(fleet)
    }
}

fn allows(fleet: &Fleet, demand: &Demand, class: u32) -> bool {
    fleet.classes.get(class as usize).is_some_and(|class| demand.allows_class(fleet, class))
}

impl Lane {
    /// Opens nodes until an agent comes first.
    fn open(&mut self, fleet: &Fleet, demand: &Demand) {
        while let Some(first) = self.heap.first() {
            let (better, other) = match first.kind() {
                Kind::Agent(number) => {
                    let agent = fleet.agent(number).filter(|agent| agent.is_open());
                    // Gone: it is offered when it returns.
                    let now = agent.filter(|agent| agent.class == first.class).map(Agent::score);
                    if now == Some(first.score) {
                        break;
                    }
                    // Less than it was: its turn comes later.
                    let is_less = |score: &u32| *score < first.score;
                    (now.filter(is_less).map(|score| Entry::agent(score, first.class, number)), None)
                }
                Kind::Node(at) if first.class == ALL_CLASSES => match fleet.roots.leaf_at(at) {
                    Some(class) if demand.is_open(class) => (entry(fleet, demand, class, ROOT), None),
                    Some(_) => (None, None),
                    None => children(fleet, demand, first.class, at),
                },
                Kind::Node(at) => children(fleet, demand, first.class, at),
            };
            match better {
                Some(entry) => self.heap.replace_first(entry, fleet),
                None => drop(self.heap.pop(fleet)),
            }
            if let Some(entry) = other {
                self.heap.push(entry, fleet);
            }
        }
        self.note_bound();
    }

    fn note_bound(&mut self) {
        self.bound = self.heap.first().map_or(0, |entry| u64::from(entry.score) + 1);
    }

    /// Takes the first, which is an agent.
    fn pop(&mut self, fleet: &Fleet) -> Option<u32> {
        let entry = self.heap.pop(fleet)?;
        self.note_bound();
        match entry.kind() {
            Kind::Agent(number) => Some(number),
            Kind::Node(_) => None,
        }
    }
}

/// What is below a node and may serve the demand, the better first.
fn children(fleet: &Fleet, demand: &Demand, class: u32, at: usize) -> (Option<Entry>, Option<Entry>) {
    match (entry(fleet, demand, class, 2 * at), entry(fleet, demand, class, 2 * at + 1)) {
        (Some(left), Some(right)) if right.compare(&left, fleet).is_gt() => (Some(right), Some(left)),
        (None, right) => (right, None),
        both => both,
    }
}

/// What is at a place in a tree, if it may serve the demand.
fn entry(fleet: &Fleet, demand: &Demand, class: u32, at: usize) -> Option<Entry> {
    let home = fleet.classes.get(class as usize);
    let tree: &Tree = home.map_or(&fleet.roots, |home| &home.tree);
    let node = tree.node(at);
    if !node.covers(&demand.node) {
        return None;
    }
    let member = home.and_then(|home| home.members.get(home.tree.leaf_at(at)? as usize));
    Some(match member {
        // The leaf has the agent's own score.
        Some(number) => Entry::agent(node.score(), class, *number),
        None => Entry::node(node.score(), class, at),
    })
}
