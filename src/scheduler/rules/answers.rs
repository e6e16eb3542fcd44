//! What rules say, found once for each value that agents have and not once for each agent.

use std::sync::Arc;

use super::{Rule, Rules, Test};
use crate::domain::{AgentInfo, HOSTNAME};
use crate::scheduler::names::Names;

/// The number of a fact that an agent does not have.
const NO_VALUE: u32 = u32::MAX;

/// What rules object to, each sentence made once for each value.
pub(in crate::scheduler) struct Objections<'a> {
    rules: Vec<(&'a Rule, Known)>,
}

/// What one rule objects to.
#[derive(Default)]
struct Known {
    values: Names,
    /// By number of the value.
    objections: Vec<Option<Arc<str>>>,
    /// Where the fact is not there.
    to_absence: Option<Option<Arc<str>>>,
}

impl Known {
    fn get(&mut self, rule: &Rule, agent: &AgentInfo) -> Option<Arc<str>> {
        let object = || (!rule.allows(agent)).then(|| Arc::from(rule.objection(agent)));
        // No two agents share a name: to remember these would save nothing.
        if rule.constraint.fact() == HOSTNAME {
            return object();
        }
        let Some(value) = rule.constraint.value_on(agent) else {
            return self.to_absence.get_or_insert_with(object).clone();
        };
        let number = self.values.number(&value) as usize;
        if number >= self.objections.len() {
            self.objections.push(object());
        }
        self.objections.get(number).cloned().flatten()
    }
}

impl<'a> Objections<'a> {
    /// Of all rules.
    pub(in crate::scheduler) fn of(rules: &'a Rules) -> Self {
        Self { rules: rules.0.iter().map(|rule| (rule, Known::default())).collect() }
    }

    /// What stands against an agent, for people, with the position of each rule.
    pub(in crate::scheduler) fn against(
        &mut self,
        agent: &AgentInfo,
    ) -> impl Iterator<Item = (usize, Arc<str>)> {
        let rules = self.rules.iter_mut().enumerate();
        rules.filter_map(|(at, (rule, known))| Some((at, known.get(rule, agent)?)))
    }
}

/// Answers of the rules that look at instances, of which one at a time is thought away.
pub(in crate::scheduler) struct Counting {
    rules: Rules,
    answers: Vec<Answers>,
}

/// The answers of one rule.
#[derive(Default)]
struct Answers {
    values: Names,
    /// By number of the value, as far as they were asked for.
    known: Vec<Option<bool>>,
}

impl Counting {
    /// Of these rules, as they have counted so far.
    pub(in crate::scheduler) fn of(rules: &Rules) -> Self {
        let mut rules = rules.clone();
        rules.0.retain(|rule| rule.test.looks_at_instances());
        let answers = rules.0.iter().map(|_| Answers::default()).collect();
        Self { rules, answers }
    }

    /// Numbers of an agent's values, one for each rule.
    pub(in crate::scheduler) fn values_of(&mut self, agent: &AgentInfo) -> Box<[u32]> {
        let of = |(rule, answers): (&Rule, &mut Answers)| {
            rule.constraint.value_on(agent).map_or(NO_VALUE, |value| answers.number(&value))
        };
        self.rules.0.iter().zip(&mut self.answers).map(of).collect()
    }

    /// Whether each rule holds for one more instance on an agent with these values.
    pub(in crate::scheduler) fn allow(&mut self, values: &[u32]) -> bool {
        let holds = |((rule, answers), number): ((&Rule, &mut Answers), &u32)| {
            let Some(value) = answers.values.text(*number) else { return rule.test.allows_absence() };
            match answers.known.get_mut(*number as usize) {
                Some(known) => *known.get_or_insert_with(|| rule.test.allows(value, &rule.tally)),
                None => false,
            }
        };
        self.rules.0.iter().zip(&mut self.answers).zip(values).all(holds)
    }

    /// Whether some rule asks which instance came first: then one that is thought away changes more
    /// than a count.
    pub(in crate::scheduler) fn asks_seniority(&self) -> bool {
        self.rules.0.iter().any(|rule| matches!(rule.test, Test::Cluster(None)))
    }

    /// Thinks an instance on an agent away, or back.
    pub(in crate::scheduler) fn think(&mut self, agent: &AgentInfo, is_away: bool) {
        if is_away {
            self.rules.forget(agent);
        } else {
            self.rules.note(agent);
        }
        for (rule, answers) in self.rules.0.iter().zip(&mut self.answers) {
            match rule.test {
                // Other values do not ask how many this one has.
                Test::Unique | Test::MaxPer(_) => {
                    let number = rule.constraint.value_on(agent).map(|value| answers.number(&value));
                    let known = number.and_then(|number| answers.known.get_mut(number as usize));
                    known.into_iter().for_each(|known| *known = None);
                }
                _ => answers.known.fill(None),
            }
        }
    }

    /// The same agents by other counts.
    pub(in crate::scheduler) fn recount(&mut self, rules: &Rules) {
        self.rules = rules.clone();
        self.rules.0.retain(|rule| rule.test.looks_at_instances());
        self.answers.iter_mut().for_each(|answers| answers.known.fill(None));
    }
}

impl Answers {
    fn number(&mut self, value: &str) -> u32 {
        let number = self.values.number(value);
        if self.known.len() < self.values.len() {
            self.known.push(None);
        }
        number
    }
}
