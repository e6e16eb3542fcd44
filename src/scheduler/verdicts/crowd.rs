//! Agents that counting wishes cannot tell apart, the best first; put in order only as far as somebody asks.
//!
//! Most of those that suit are never asked for: the first few of them answer for all.

use std::cmp::Reverse;

use crate::scheduler::judge::Face;

/// So many are put in order at first, and then as many again as there were.
const ORDERED_MIN: usize = 16;

/// What an agent is worth by itself, lots aside, which take longer to draw than all the rest. The least is
/// the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Merit {
    /// Points that no count of instances changes; 0 where the app has no wishes.
    pub(super) points: Reverse<i64>,
    /// Instances of the app there; 0 where points decide.
    pub(super) siblings: u32,
    /// The free share; 0 where points decide.
    pub(super) free: Reverse<u16>,
}

/// How the cycle compares agents; the least is the best. Of equal ones the smaller id comes first.
pub(super) type Order = (Merit, Reverse<u16>, usize);

/// One that suits, but perhaps for rules that count.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    merit: Merit,
    lot: u16,
    /// Position among all agents.
    pub(super) at: usize,
    /// What rules that count look at, once somebody asked.
    pub(super) values: Option<Box<[u32]>>,
}

impl Contender {
    /// With what its crowd's points are more.
    pub(super) fn order(&self, shared: i64) -> Order {
        let points = Reverse(self.merit.points.0 + shared);
        (Merit { points, ..self.merit }, Reverse(self.lot), self.at)
    }
}

/// Agents to which all counting wishes give the same points.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    /// What these wishes look at; nothing where there are none.
    pub(super) face: Option<Face>,
    ordered: Vec<Contender>,
    /// None of them is better than any of those in order.
    rest: Vec<(Merit, usize)>,
}

impl Crowd {
    /// Of nobody yet.
    pub(super) fn of(face: Option<Face>) -> Self {
        Self { face, ..Self::default() }
    }

    /// Lets an agent in; before anybody asks for the best.
    pub(super) fn join(&mut self, merit: Merit, at: usize) {
        self.rest.push((merit, at));
    }

    /// The one at a place, the best being at the first. `lot_of` draws for the agent at a position.
    pub(super) fn get(&mut self, place: usize, lot_of: impl Fn(usize) -> u16) -> Option<&mut Contender> {
        if place >= self.ordered.len() {
            self.put_in_order(lot_of);
        }
        self.ordered.get_mut(place)
    }

    fn put_in_order(&mut self, lot_of: impl Fn(usize) -> u16) {
        let more = self.ordered.len().max(ORDERED_MIN);
        let next = if self.rest.len() <= more {
            std::mem::take(&mut self.rest)
        } else {
            let (_, (last, _), _) = self.rest.select_nth_unstable(more);
            // Those whom only lots tell from the last one come along.
            let last = *last;
            self.rest.extract_if(.., |(merit, _)| *merit <= last).collect()
        };
        let contender = |(merit, at)| Contender { merit, lot: lot_of(at), at, values: None };
        let mut next: Vec<Contender> = next.into_iter().map(contender).collect();
        next.sort_unstable_by_key(|one| one.order(0));
        self.ordered.append(&mut next);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_far_as_somebody_asks_the_order_is_that_of_all(
            joined in proptest::collection::vec((-3i64..3, 0u32..3, 0u16..3, 0u16..4), 0..300),
            asked in 0usize..300,
        ) {
            let merit = |(points, siblings, free, _): (i64, u32, u16, u16)| {
                Merit { points: Reverse(points), siblings, free: Reverse(free) }
            };
            let mut crowd = Crowd::default();
            joined.iter().enumerate().for_each(|(at, one)| crowd.join(merit(*one), at));
            let mut wanted: Vec<_> =
                joined.iter().enumerate().map(|(at, one)| (merit(*one), Reverse(one.3), at)).collect();
            wanted.sort();
            wanted.truncate(asked);
            let found: Vec<Order> =
                (0..asked).map_while(|place| Some(crowd.get(place, |at| joined[at].3)?.order(0))).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
