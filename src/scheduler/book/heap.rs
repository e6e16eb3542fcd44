//! Nodes of trees and agents, the best first.

use std::cmp::Ordering;

use super::fleet::Fleet;

/// Marks the position of a node; what has no such mark is the number of an agent.
const NODE: u32 = 1 << 31;

/// A node of a tree, or an agent. Small, because thousands are moved about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The best score at or below it, when it was noted.
    pub(super) score: u32,
    /// Whose tree; of an agent, which class it was in.
    pub(super) class: u32,
    at: u32,
}

/// What an entry stands for.
pub(super) enum Kind {
    /// The node of a tree at this position.
    Node(usize),
    /// The agent with this number.
    Agent(u32),
}

impl Entry {
    pub(super) fn node(score: u32, class: u32, at: usize) -> Self {
        Self { score, class, at: NODE | u32::try_from(at).unwrap_or(u32::MAX) }
    }

    pub(super) fn agent(score: u32, class: u32, number: u32) -> Self {
        Self { score, class, at: number }
    }

    pub(super) fn kind(&self) -> Kind {
        if self.at & NODE == 0 { Kind::Agent(self.at) } else { Kind::Node((self.at & !NODE) as usize) }
    }

    /// At equal scores nodes before agents, because they may hide one with a smaller id; of nodes any.
    fn rank(&self) -> u64 {
        u64::from(self.score) << 1 | u64::from(self.at >> 31)
    }

    /// Greater is better: of equally good agents the one with the smaller id.
    pub(super) fn compare(&self, other: &Self, fleet: &Fleet) -> Ordering {
        self.rank().cmp(&other.rank()).then_with(|| {
            if self.at & NODE != 0 || self.at == other.at {
                return Ordering::Equal;
            }
            let id = |entry: &Self| fleet.agent(entry.at).map(|agent| &agent.id);
            id(other).cmp(&id(self))
        })
    }
}

/// A binary heap whose order asks the fleet where scores are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Heap {
    entries: Vec<Entry>,
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The best.
    pub(super) fn first(&self) -> Option<Entry> {
        self.entries.first().copied()
    }

    pub(super) fn push(&mut self, entry: Entry, fleet: &Fleet) {
        let mut at = self.entries.len();
        self.entries.push(entry);
        while at > 0 {
            let above = (at - 1) / 2;
            let Some(parent) = self.entries.get(above).copied() else { break };
            if entry.compare(&parent, fleet) != Ordering::Greater {
                break;
            }
            self.put(at, parent);
            at = above;
        }
        self.put(at, entry);
    }

    /// Takes the best out.
    pub(super) fn pop(&mut self, fleet: &Fleet) -> Option<Entry> {
        let first = self.first()?;
        let last = self.entries.pop()?;
        if !self.entries.is_empty() {
            self.replace_first(last, fleet);
        }
        Some(first)
    }

    /// Puts an entry in the place of the best, which costs little when it is nearly as good.
    pub(super) fn replace_first(&mut self, entry: Entry, fleet: &Fleet) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            let Some(mut child) = self.entries.get(left).copied() else { break };
            let mut below = left;
            if let Some(right) = self.entries.get(left + 1).copied()
                && right.compare(&child, fleet) == Ordering::Greater
            {
                (child, below) = (right, left + 1);
            }
            if child.compare(&entry, fleet) != Ordering::Greater {
                break;
            }
            self.put(at, child);
            at = below;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::AgentId;

    proptest! {
        #[test]
        fn the_best_comes_first_and_ids_decide_between_equals(
            steps in proptest::collection::vec((0u32..8, any::<bool>(), 0u32..20, 0u8..4), 1..200),
        ) {
            let mut fleet = Fleet::default();
            for at in 0..20 {
                fleet.number(&AgentId::new(format!("a{}", at * 7 % 20)));
            }
            let (mut heap, mut model) = (Heap::default(), Vec::new());
            let name = |entry: &Entry| match entry.kind() {
                Kind::Agent(number) => (entry.score, false, Some(std::cmp::Reverse(fleet.agent(number).unwrap().id.clone()))),
                Kind::Node(_) => (entry.score, true, None),
            };
            for (score, is_node, at, what) in steps {
                let entry = if is_node { Entry::node(score, 0, at as usize) } else { Entry::agent(score, 0, at) };
                match what {
                    0 if !model.is_empty() => {
                        heap.replace_first(entry, &fleet);
                        model.pop();
                        model.push(name(&entry));
                    }
                    1 => {
                        let popped = heap.pop(&fleet);
                        prop_assert_eq!(popped.map(|entry| name(&entry)), model.pop());
                    }
                    _ => {
                        heap.push(entry, &fleet);
                        model.push(name(&entry));
                    }
                }
                model.sort();
                prop_assert_eq!(heap.len(), model.len());
                prop_assert_eq!(heap.first().map(|entry| name(&entry)), model.last().cloned());
            }
        }
    }
}
