//! One wish to be near to another app or far from it, and where that app is.

use super::{NO_VALUE, POINT};
use crate::domain::{Affinity, AgentInfo, AppId, attribute_on, is_hostname};
use crate::scheduler::names::Names;

/// Where another app is, by the value of one fact.
#[derive(Clone, Debug)]
pub(super) struct Near {
    pub(super) app: AppId,
    pub(super) attribute: String,
    weight: i64,
    values: Names,
    /// Agents that have an instance of it, by number of the value.
    counts: Vec<i64>,
}

impl Near {
    pub(super) fn of(wish: Affinity) -> Self {
        Self {
            app: wish.app,
            attribute: wish.attribute,
            weight: i64::from(wish.weight),
            values: Names::default(),
            counts: Vec::new(),
        }
    }

    /// Whether each value is one agent's, or nearly so.
    pub(super) fn is_of_single_agents(&self) -> bool {
        is_hostname(&self.attribute)
    }

    /// The number of an agent's value.
    pub(super) fn number_on(&mut self, agent: &AgentInfo) -> u32 {
        let Some(value) = attribute_on(&self.attribute, agent) else { return NO_VALUE };
        let number = self.values.number(&value);
        if self.counts.len() < self.values.len() {
            self.counts.push(0);
        }
        number
    }

    /// Counts so many agents with an instance more at a value.
    pub(super) fn add(&mut self, value: u32, more: i64) {
        if let Some(count) = self.counts.get_mut(value as usize) {
            *count += more;
        }
    }

    /// The whole weight where the other app is, and else nothing.
    pub(super) fn points(&self, value: u32) -> i64 {
        let is_near = self.counts.get(value as usize).is_some_and(|count| *count > 0);
        if is_near { self.weight * POINT } else { 0 }
    }
}
