//! Who waits for one content: the longest first, of equals the one with the smaller id.

use std::collections::VecDeque;

use crate::domain::{InstanceId, Timestamp};

/// Since when somebody waits, and who.
pub(super) type Ticket = (Timestamp, InstanceId);

/// An instance that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    /// The number of the attempt to come.
    pub(super) attempt: u32,
}

/// A line that most leave at its head and join at its end. Who comes or leaves elsewhere is noted, and
/// takes effect when the line is settled, all at once: so that thousands who do cost no more than one
/// pass over those behind the first of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// In order.
    waiters: VecDeque<Waiter>,
    arrivals: Vec<Waiter>,
    departures: Vec<Ticket>,
}

impl Line {
    /// How many wait; counted right after the line was settled.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Who comes first.
    pub(super) fn head(&self) -> Option<&Ticket> {
        self.waiters.front().map(|waiter| &waiter.ticket)
    }

    /// Takes the first out, unless `serve` has nothing for it.
    pub(super) fn serve<T>(&mut self, serve: impl FnOnce(&Waiter) -> Option<T>) -> Option<(Waiter, T)> {
        let served = serve(self.waiters.front()?)?;
        self.waiters.pop_front().map(|waiter| (waiter, served))
    }

    /// Somebody begins to wait.
    pub(super) fn join(&mut self, waiter: Waiter) {
        if self.arrivals.is_empty() && self.waiters.back().is_none_or(|last| last.ticket < waiter.ticket) {
            self.waiters.push_back(waiter);
        } else {
            self.arrivals.push(waiter);
        }
    }

    /// Somebody no longer waits, who joined before the line was settled last.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        self.departures.push(ticket);
    }

    /// Lets those out and in who were noted.
    pub(super) fn settle(&mut self) {
        if !self.departures.is_empty() {
            let mut gone = std::mem::take(&mut self.departures);
            gone.sort_unstable();
            if let Some(first) = gone.first() {
                let at = self.waiters.partition_point(|waiter| waiter.ticket < *first);
                let mut behind = self.waiters.split_off(at);
                let mut gone = gone.iter().peekable();
                behind.retain(|waiter| {
                    while gone.next_if(|ticket| **ticket < waiter.ticket).is_some() {}
                    gone.next_if(|ticket| **ticket == waiter.ticket).is_none()
                });
                self.waiters.append(&mut behind);
            }
        }
        if !self.arrivals.is_empty() {
            let mut new = std::mem::take(&mut self.arrivals);
            new.sort_unstable_by(|a, b| a.ticket.cmp(&b.ticket));
            if let Some(first) = new.first() {
                let at = self.waiters.partition_point(|waiter| waiter.ticket < first.ticket);
                let mut behind = self.waiters.split_off(at).into_iter().peekable();
                for waiter in new {
                    while let Some(other) = behind.next_if(|other| other.ticket < waiter.ticket) {
                        self.waiters.push_back(other);
                    }
                    self.waiters.push_back(waiter);
                }
                self.waiters.extend(behind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_an_ordered_map(
            rounds in proptest::collection::vec(
                (proptest::collection::vec((0i64..4, 0u8..40), 0..12), proptest::collection::vec(any::<u8>(), 0..6), 0usize..5),
                1..12,
            ),
        ) {
            let (mut line, mut model) = (Line::default(), BTreeMap::<Ticket, u32>::new());
            for (attempt, (come, go, served)) in (0u32..).zip(rounds) {
                let known: Vec<Ticket> = model.keys().cloned().collect();
                for at in go {
                    if let Some(ticket) = known.get(usize::from(at))
                        && model.remove(ticket).is_some()
                    {
                        line.leave(ticket.clone());
                    }
                }
                for (since, id) in come {
                    let ticket = (Timestamp::from_millis(since), InstanceId::new(format!("{id}")));
                    if !known.contains(&ticket) && !model.contains_key(&ticket) {
                        line.join(Waiter { ticket: ticket.clone(), attempt });
                        model.insert(ticket, attempt);
                    }
                }
                line.settle();
                prop_assert_eq!(line.len(), model.len());
                prop_assert_eq!(line.head(), model.keys().next());
                prop_assert!(line.serve(|_| None::<()>).is_none());
                for _ in 0..served {
                    let wanted = model.pop_first().map(|(ticket, attempt)| Waiter { ticket, attempt });
                    prop_assert_eq!(line.serve(|_| Some(())).map(|(waiter, ())| waiter), wanted);
                }
            }
        }
    }
}
