//! One wish to share an app's instances out over the values of a fact, and where they are.

use super::{NO_VALUE, POINT};
use crate::domain::{AgentInfo, Spread, attribute_on, is_hostname};
use crate::scheduler::names::Names;

/// Where the app's own instances are, by the value of one fact.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    wish: Spread,
    /// Values with a share of their own; all values where none has one.
    values: Names,
    /// The number of all other values together, where some have a share of their own.
    others: Option<u32>,
    /// Instances by number of the value.
    counts: Vec<i64>,
    /// Wanted percentage by number of the value; nothing where no value has a share of its own.
    percents: Vec<Option<i64>>,
}

impl Shares {
    pub(super) fn of(wish: Spread) -> Self {
        let targets = wish.targets.clone();
        let mut shares =
            Self { wish, values: Names::default(), others: None, counts: Vec::new(), percents: Vec::new() };
        for target in &targets {
            let value = shares.number(&target.value);
            if let Some(percent) = shares.percents.get_mut(value as usize) {
                *percent = Some(i64::from(target.percent));
            }
        }
        if !targets.is_empty() {
            let left = 100 - shares.percents.iter().flatten().sum::<i64>();
            shares.others = u32::try_from(shares.counts.len()).ok();
            shares.counts.push(0);
            shares.percents.push(Some(left));
        }
        shares
    }

    /// Whether each value is one agent's, or nearly so, and only where it is decides its points.
    pub(super) fn is_of_single_agents(&self) -> bool {
        is_hostname(&self.wish.attribute) && self.wish.targets.is_empty()
    }

    fn number(&mut self, value: &str) -> u32 {
        if let Some(others) = self.others {
            return self.values.find(value).unwrap_or(others);
        }
        let number = self.values.number(value);
        if self.counts.len() < self.values.len() {
            self.counts.push(0);
            self.percents.push(None);
        }
        number
    }

    /// The number of an agent's value; of all values that the wish does not tell apart it is the same.
    pub(super) fn number_on(&mut self, agent: &AgentInfo) -> u32 {
        attribute_on(&self.wish.attribute, agent).map_or(NO_VALUE, |value| self.number(&value))
    }

    /// Counts so many instances more at a value.
    pub(super) fn add(&mut self, value: u32, more: i64) {
        if let Some(count) = self.counts.get_mut(value as usize) {
            *count += more;
        }
    }

    /// What a value should have and has, in thousandths of the app's instances. An agent without
    /// the fact is as bad as one where all of them are.
    pub(super) fn points(&self, value: u32, instances: i64) -> i64 {
        let weight = i64::from(self.wish.weight);
        let Some(count) = self.counts.get(value as usize) else { return -weight * POINT };
        let wanted = self.percent(value).unwrap_or(0) * 10;
        weight * (wanted - count * 1_000 / instances)
    }

    fn percent(&self, value: u32) -> Option<i64> {
        self.percents.get(value as usize).copied().flatten()
    }

    /// For people: what the value of an agent has, and should have.
    pub(super) fn sentence(&self, agent: &AgentInfo, value: u32, instances: i64) -> String {
        let name = &self.wish.attribute;
        let Some(text) = attribute_on(name, agent) else { return format!("the agent has no {name}") };
        let count = self.counts.get(value as usize).copied().unwrap_or(0);
        match self.percent(value) {
            Some(percent) if self.others == Some(value) => {
                format!("values of {name} without a share have {count} of {instances}, want {percent} %")
            }
            Some(percent) => format!("{name} {text:?} has {count} of {instances}, wants {percent} %"),
            None => format!("{name} {text:?} has {count} of {instances}"),
        }
    }
}
