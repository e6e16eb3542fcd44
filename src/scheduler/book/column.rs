//! One fact that rules ask for, over all agents: its values as numbers, and what rules that look
//! at nothing else say of each value.

use std::collections::BTreeMap;

use crate::domain::{AgentInfo, Constraint, HOSTNAME};
use crate::scheduler::names::Names;
use crate::scheduler::rules::Test;

/// The number of no value: the agent has no such fact.
pub(super) const NO_VALUE: u32 = u32::MAX;

/// A fact with more values than this does not divide agents into classes; it is asked of each.
const COARSE_VALUES_MAX: usize = 256;

/// Values and verdicts of one fact.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Any rule that asks for the fact.
    sample: Constraint,
    values: Names,
    /// Who has a value, by value.
    holders: Vec<Vec<u32>>,
    /// Values that somebody has.
    held: usize,
    /// Asked of each agent, instead of once per class.
    pub(super) is_fine: bool,
    verdicts: Vec<Verdict>,
    verdict_of: BTreeMap<(&'static str, Option<String>), usize>,
}

/// What a rule about values alone says of each; shared by all contents that have the rule.
#[derive(Clone, Debug)]
struct Verdict {
    test: Test,
    holds: Vec<bool>,
    /// Values for which it holds.
    matched: Vec<u32>,
}

impl Column {
    pub(super) fn of(rule: &Constraint) -> Self {
        Self {
            sample: rule.clone(),
            values: Names::default(),
            holders: Vec::new(),
            held: 0,
            is_fine: rule.fact() == HOSTNAME,
            verdicts: Vec::new(),
            verdict_of: BTreeMap::new(),
        }
    }

    /// Whether a rule asks for this fact.
    pub(super) fn answers(&self, rule: &Constraint) -> bool {
        self.sample.fact() == rule.fact()
    }

    /// How many values were seen.
    pub(super) fn width(&self) -> usize {
        self.values.len()
    }

    /// Whether the fact has too many values to divide agents by.
    pub(super) fn is_wide(&self) -> bool {
        self.sample.fact() == HOSTNAME || self.values.len() > COARSE_VALUES_MAX
    }

    /// The number of the value that an agent has.
    pub(super) fn read(&mut self, info: &AgentInfo) -> u32 {
        let value = self.sample.value_on(info).map_or(NO_VALUE, |text| self.values.number(&text));
        if self.holders.len() < self.values.len() {
            self.holders.resize(self.values.len(), Vec::new());
        }
        value
    }

    /// Remembers who has a value, or no longer has it.
    pub(super) fn hold(&mut self, value: u32, agent: u32, holds: bool) {
        let Some(holders) = self.holders.get_mut(value as usize) else { return };
        let was_held = !holders.is_empty();
        if holds {
            holders.push(agent);
        } else {
            holders.retain(|holder| *holder != agent);
        }
        self.held = self.held.saturating_add(usize::from(!holders.is_empty()));
        self.held = self.held.saturating_sub(usize::from(was_held));
    }

    /// How many values somebody has.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Who has a value.
    pub(super) fn holders(&self, value: u32) -> &[u32] {
        self.holders.get(value as usize).map_or(&[], Vec::as_slice)
    }

    /// The verdict of a rule about values alone; nothing for one that looks at instances.
    pub(super) fn verdict(&mut self, rule: &Constraint) -> Option<usize> {
        let key = (rule.operator.as_str(), rule.operand.clone());
        if let Some(known) = self.verdict_of.get(&key) {
            return Some(*known);
        }
        let test = Test::of(rule, 0);
        if test.looks_at_instances() {
            return None;
        }
        self.verdicts.push(Verdict { test, holds: Vec::new(), matched: Vec::new() });
        self.verdict_of.insert(key, self.verdicts.len() - 1);
        Some(self.verdicts.len() - 1)
    }

    /// Judges values that came since; each is judged once per rule, however many contents have it.
    pub(super) fn learn(&mut self, verdict: usize) {
        let Some(verdict) = self.verdicts.get_mut(verdict) else { return };
        for text in self.values.texts_from(verdict.holds.len()) {
            let holds = verdict.test.allows_value(text);
            if holds {
                verdict.matched.push(u32::try_from(verdict.holds.len()).unwrap_or(NO_VALUE));
            }
            verdict.holds.push(holds);
        }
    }

    /// What a verdict says of a value.
    pub(super) fn holds(&self, verdict: usize, value: u32) -> bool {
        self.verdicts.get(verdict).is_some_and(|verdict| {
            let known = verdict.holds.get(value as usize);
            known.copied().unwrap_or(value == NO_VALUE && verdict.test.allows_absence())
        })
    }

    /// Values for which a verdict holds; nothing when it also holds where the fact is missing.
    pub(super) fn matched(&self, verdict: usize) -> Option<&[u32]> {
        let verdict = self.verdicts.get(verdict)?;
        (!verdict.test.allows_absence()).then_some(verdict.matched.as_slice())
    }
}
