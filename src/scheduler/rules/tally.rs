//! Where an app's instances are, by the values of one fact.

use std::collections::BTreeMap;

use super::VALUES_TOLD_MAX;
use crate::scheduler::fingerprint::ByText;

/// How many instances each value has, and how many values have so many: rules ask for both.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Values in use, with how many instances each has.
    counts: ByText<String, u64>,
    /// Numbers of instances, with how many values have so many.
    levels: BTreeMap<u64, u64>,
    /// Value of the instance that was placed first.
    first: Option<String>,
}

impl Tally {
    pub(super) fn add(&mut self, value: &str) {
        if self.first.is_none() {
            self.first = Some(value.to_owned());
        }
        let count = self.count(value);
        self.set(value, count, count + 1);
    }

    pub(super) fn remove(&mut self, value: &str) {
        let count = self.count(value);
        if count > 0 {
            self.set(value, count, count - 1);
        }
    }

    fn set(&mut self, value: &str, old: u64, new: u64) {
        if let Some(values) = self.levels.get_mut(&old) {
            *values -= 1;
            if *values == 0 {
                self.levels.remove(&old);
            }
        }
        if new == 0 {
            self.counts.remove(value);
            return;
        }
        *self.levels.entry(new).or_default() += 1;
        match self.counts.get_mut(value) {
            Some(count) => *count = new,
            None => drop(self.counts.insert(value.to_owned(), new)),
        }
    }

    /// Value of the instance that was placed first.
    pub(super) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Values in use, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        let mut values: Vec<&str> = self.counts.keys().map(String::as_str).collect();
        values.sort_unstable();
        values.into_iter()
    }

    pub(super) fn count(&self, value: &str) -> u64 {
        self.counts.get(value).copied().unwrap_or(0)
    }

    /// For people: how many each value has.
    pub(super) fn told(&self) -> String {
        let values = self.values().take(VALUES_TOLD_MAX);
        let mut told: Vec<String> = values.map(|value| format!("{value:?}: {}", self.count(value))).collect();
        let left_out = self.counts.len().saturating_sub(told.len());
        told.extend((left_out > 0).then(|| format!("{left_out} more values")));
        told.join(", ")
    }

    /// GROUP_BY with a number: at most so many values, each with an even share of the
    /// instances and the remainder one each. Groups do not wait for one another. Source: spec 4.3.
    pub(super) fn has_room_in(&self, value: &str, groups: u64, instances: u64) -> bool {
        let (share, remainder) = (instances / groups, instances % groups);
        let Some(count) = self.counts.get(value).copied() else {
            return u64::try_from(self.counts.len()).is_ok_and(|used| used < groups);
        };
        let beyond: u64 =
            self.levels.iter().map(|(count, values)| count.saturating_sub(share) * values).sum();
        count < share || (count == share && beyond < remainder)
    }

    /// GROUP_BY without a number: a new value, or one that has the fewest. Source: spec 4.3.
    pub(super) fn is_least_used(&self, value: &str) -> bool {
        let least = self.levels.keys().next().copied().unwrap_or(0);
        self.counts.get(value).is_none_or(|count| *count == least)
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
