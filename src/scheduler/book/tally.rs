//! Where an app's instances are, by the value of one fact, for rules that look at them.
//!
//! The same questions as `rules::Tally` answers, over numbers and in constant time: how many have
//! a value, which count is the least, how many go beyond an even share, which came first.

use std::collections::BTreeMap;

use super::column::NO_VALUE;
use super::counts::Counts;
use crate::domain::{TaskId, Timestamp};
use crate::scheduler::rules::Test;

/// Values below this are counted in a row.
const DENSE_VALUES: usize = 512;

/// Orders instances by when they were placed. Only kept for `CLUSTER` without a value.
pub(super) type Seniority = (Timestamp, TaskId);

/// Counts for one rule of one content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    dense: Vec<u32>,
    sparse: Counts,
    /// Values in use.
    used: u64,
    /// Values that `UNIQUE` or `MAX_PER` refuse.
    full: usize,
    /// How many values have a count, by count. Its first key is the least count in use.
    levels: BTreeMap<u32, u32>,
    /// Instances beyond an even share, over all values.
    beyond: u64,
    by_seniority: BTreeMap<Seniority, u32>,
}

impl Tally {
    /// How many instances have a value.
    pub(super) fn count(&self, value: u32) -> u32 {
        let dense = self.dense.get(value as usize).copied();
        dense.unwrap_or_else(|| self.sparse.get(value))
    }

    /// Counts one instance more, or one less.
    pub(super) fn step(&mut self, test: &Test, value: u32, more: bool, seniority: Option<&Seniority>) {
        if value == NO_VALUE {
            return;
        }
        if let (Test::Cluster(None), Some(seniority)) = (test, seniority) {
            if more {
                self.by_seniority.insert(seniority.clone(), value);
            } else {
                self.by_seniority.remove(seniority);
            }
        }
        let old = self.count(value);
        let new = if more { old.saturating_add(1) } else { old.saturating_sub(1) };
        self.write(value, new, more);
        self.used = self.used.saturating_add(u64::from(old == 0)).saturating_sub(u64::from(new == 0));
        match test {
            Test::Unique | Test::MaxPer(_) => {
                let most = if let Test::MaxPer(most) = test { *most } else { 1 };
                let is_full = |count: u32| usize::from(u64::from(count) >= most);
                self.full = self.full.saturating_add(is_full(new)).saturating_sub(is_full(old));
            }
            Test::Evenly => {
                self.level(old, false);
                self.level(new, true);
            }
            Test::Groups { groups, instances } => {
                let share = instances / (*groups).max(1);
                let beyond = |count: u32| u64::from(count).saturating_sub(share);
                self.beyond = self.beyond.saturating_add(beyond(new)).saturating_sub(beyond(old));
            }
            _ => {}
        }
    }

    fn write(&mut self, value: u32, count: u32, more: bool) {
        let at = value as usize;
        if at < DENSE_VALUES {
            if self.dense.len() <= at {
                self.dense.resize(at + 1, 0);
            }
            if let Some(place) = self.dense.get_mut(at) {
                *place = count;
            }
        } else {
            self.sparse.step(value, more);
        }
    }

    fn level(&mut self, count: u32, more: bool) {
        if count == 0 {
            return;
        }
        let values = self.levels.entry(count).or_default();
        *values = if more { values.saturating_add(1) } else { values.saturating_sub(1) };
        if *values == 0 {
            self.levels.remove(&count);
        }
    }

    /// The least count of a value in use.
    pub(super) fn least(&self) -> u32 {
        self.levels.keys().next().copied().unwrap_or(0)
    }

    /// Whether the rule allows one more instance at a value.
    pub(super) fn allows(&self, test: &Test, value: u32) -> bool {
        let count = u64::from(self.count(value));
        match test {
            Test::Unique => count == 0,
            Test::MaxPer(most) => count < *most,
            Test::Cluster(None) => self.first().is_none_or(|first| first == value),
            Test::Groups { groups, .. } if count == 0 => self.used < *groups,
            Test::Groups { groups, instances } => {
                let (share, remainder) = (instances / (*groups).max(1), instances % (*groups).max(1));
                count < share || (count == share && self.beyond < remainder)
            }
            Test::Evenly => count == 0 || count == u64::from(self.least()),
            _ => false,
        }
    }

    /// How many values `UNIQUE` or `MAX_PER` refuse.
    pub(super) fn full(&self) -> usize {
        self.full
    }

    /// Where the instance is that was placed first.
    fn first(&self) -> Option<u32> {
        self.by_seniority.values().next().copied()
    }

    /// The values of which alone one may be allowed, where the rule makes them few.
    pub(super) fn only(&self, test: &Test) -> Option<Vec<u32>> {
        match test {
            Test::Cluster(None) => self.first().map(|first| vec![first]),
            Test::Groups { groups, .. } if self.used >= *groups => {
                let dense = self.dense.iter().enumerate().filter(|(_, count)| **count > 0);
                let dense = dense.filter_map(|(value, _)| u32::try_from(value).ok());
                Some(dense.chain(self.sparse.keys()).collect())
            }
            _ => None,
        }
    }
}
