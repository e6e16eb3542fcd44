//! Where an app's instances are, by the values of one fact.

use std::collections::BTreeMap;

use super::VALUES_TOLD_MAX;
use crate::scheduler::names::Names;

/// How many instances each value has, and how many values have so many: rules ask for both.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Values that are or were in use.
    names: Names,
    /// Instances by number of the value.
    counts: Vec<u64>,
    /// Numbers of instances above none, with how many values have so many.
    levels: BTreeMap<u64, u64>,
    /// Number of the value of the instance that was placed first.
    first: Option<u32>,
}

impl Tally {
    pub(super) fn add(&mut self, value: &str) {
        let number = self.names.number(value);
        self.first.get_or_insert(number);
        if self.counts.len() < self.names.len() {
            self.counts.resize(self.names.len(), 0);
        }
        self.step(number, 1);
    }

    pub(super) fn remove(&mut self, value: &str) {
        if let Some(number) = self.names.find(value) {
            self.step(number, -1);
        }
    }

    fn step(&mut self, number: u32, by: i64) {
        let Some(count) = self.counts.get_mut(number as usize) else { return };
        let (old, new) = (*count, count.saturating_add_signed(by));
        *count = new;
        if let Some(values) = self.levels.get_mut(&old) {
            *values -= 1;
            if *values == 0 {
                self.levels.remove(&old);
            }
        }
        if new > 0 {
            *self.levels.entry(new).or_default() += 1;
        }
    }

    /// Value of the instance that was placed first.
    pub(super) fn first(&self) -> Option<&str> {
        self.names.text(self.first?)
    }

    /// Values in use, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        let texts = self.names.texts_from(0).iter().zip(&self.counts);
        let mut values: Vec<&str> = texts.filter(|(_, count)| **count > 0).map(|(text, _)| &**text).collect();
        values.sort_unstable();
        values.into_iter()
    }

    /// How many values are in use.
    fn used(&self) -> u64 {
        self.levels.values().sum()
    }

    pub(super) fn count(&self, value: &str) -> u64 {
        let number = self.names.find(value);
        number.and_then(|number| self.counts.get(number as usize).copied()).unwrap_or(0)
    }

    /// For people: how many each value has.
    pub(super) fn told(&self) -> String {
        let values = self.values().take(VALUES_TOLD_MAX);
        let mut told: Vec<String> = values.map(|value| format!("{value:?}: {}", self.count(value))).collect();
        let left_out = self.used().saturating_sub(told.len() as u64);
        told.extend((left_out > 0).then(|| format!("{left_out} more values")));
        told.join(", ")
    }

    /// GROUP_BY with a number: at most so many values, each with an even share of the
    /// instances and the remainder one each. Groups do not wait for one another. Source: spec 4.3.
    pub(super) fn has_room_in(&self, value: &str, groups: u64, instances: u64) -> bool {
        let (share, remainder) = (instances / groups, instances % groups);
        let count = self.count(value);
        if count == 0 {
            return self.used() < groups;
        }
        let beyond: u64 =
            self.levels.iter().map(|(count, values)| count.saturating_sub(share) * values).sum();
        count < share || (count == share && beyond < remainder)
    }

    /// GROUP_BY without a number: a new value, or one that has the fewest. Source: spec 4.3.
    pub(super) fn is_least_used(&self, value: &str) -> bool {
        let least = self.levels.keys().next().copied().unwrap_or(0);
        let count = self.count(value);
        count == 0 || count == least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_say_how_many_values_have_so_many() {
        let mut tally = Tally::default();
        for value in ["a", "a", "b", "c", "a", "b"] {
            tally.add(value);
        }
        tally.remove("c");
        tally.remove("c");
        tally.remove("never");
        assert_eq!(tally.levels, BTreeMap::from([(2, 1), (3, 1)]));
        assert_eq!((tally.first(), tally.count("c")), (Some("a"), 0));
        assert!(tally.is_least_used("b") && tally.is_least_used("c") && !tally.is_least_used("a"));
    }

    #[test]
    fn a_sentence_stays_short_however_many_values_there_are() {
        let mut tally = Tally::default();
        (0..100).for_each(|at| tally.add(&format!("v{at:02}")));
        assert!(tally.told().ends_with(r#""v19": 1, 80 more values"#), "{}", tally.told());
    }
}
