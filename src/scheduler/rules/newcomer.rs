//! What an agent that is yet to come has to have for every rule to hold: all of them together, since
//! two rules about one fact may each have agents that suit, and no agent that suits both.

use super::{Rule, Rules, Test, VALUES_TOLD_MAX, texts};
use crate::domain::{AttributeValue, HOSTNAME};

impl Rules {
    /// For people: what a new agent has to have, fact by fact.
    ///
    /// # Errors
    /// When no agent could have it: a whole sentence, which names the rules that exclude each other.
    pub(in crate::scheduler) fn wanted_of_a_new_agent(&self) -> Result<Vec<String>, String> {
        let mut facts = Vec::new();
        for rules in self.by_fact() {
            facts.extend(wish_of(&rules).ok_or_else(|| contradiction(&rules))?);
        }
        Ok(facts)
    }

    /// Rules about the same fact side by side, each told once however often it is written.
    fn by_fact(&self) -> Vec<Vec<&Rule>> {
        let mut all: Vec<Vec<&Rule>> = Vec::new();
        for rule in &self.0 {
            let fact = rule.constraint.fact();
            let is_about_it =
                |rules: &&mut Vec<&Rule>| rules.first().is_some_and(|other| other.constraint.fact() == fact);
            match all.iter_mut().find(is_about_it) {
                Some(rules) if rules.iter().any(|other| other.constraint == rule.constraint) => {}
                Some(rules) => rules.push(rule),
                None => all.push(vec![rule]),
            }
        }
        all
    }
}

/// Names the fewest rules that exclude each other: one, two, or all of these.
fn contradiction(rules: &[&Rule]) -> String {
    if let Some(rule) = rules.iter().find(|rule| wish_of(&[rule]).is_none()) {
        return format!("No agent can meet {}: leave it away.", rule.constraint);
    }
    let pairs = rules.iter().enumerate().flat_map(|(at, a)| rules.iter().skip(at + 1).map(|b| vec![*a, *b]));
    let found = pairs.into_iter().find(|pair| wish_of(pair).is_none()).unwrap_or_else(|| rules.to_vec());
    let told: Vec<String> = found.iter().map(|rule| rule.constraint.to_string()).collect();
    format!("No agent can meet {} together: leave one of them away.", told.join(" and "))
}

/// What rules about one fact ask for, in words; nothing when no value meets them all.
fn wish_of(rules: &[&Rule]) -> Option<Vec<String>> {
    let mut lists = rules.iter().filter_map(|rule| rule.values());
    if let Some(values) = lists.next() {
        let first = rules.first()?;
        let meets = |value: &String| rules.iter().all(|rule| rule.test.allows(value, &rule.tally));
        let field = &first.constraint.field;
        let values: Vec<String> =
            values.into_iter().filter(|value| first.can_be(value)).filter(meets).collect();
        let told = match rules {
            [rule] if matches!(rule.test, Test::Like(_)) => rule.wish(),
            _ => format!("{field} {}", list(&values, " or ")),
        };
        return (!values.is_empty()).then(|| vec![told]);
    }
    let is_excluded = |rule: &&Rule| {
        let is_opposite = |other: &&Rule| {
            matches!(other.test, Test::Unlike(_)) && other.constraint.operand == rule.constraint.operand
        };
        matches!(rule.test, Test::Like(_)) && rules.iter().any(is_opposite)
    };
    (!rules.iter().any(is_excluded)).then(|| rules.iter().map(|rule| rule.wish()).collect())
}

impl Rule {
    /// Values of which one more instance needs one, as far as they can be counted; nothing where
    /// there is no end of them.
    fn values(&self) -> Option<Vec<String>> {
        match &self.test {
            Test::Never => Some(Vec::new()),
            Test::Cluster(Some(value)) | Test::Is(value) => Some(vec![value.clone()]),
            Test::Cluster(None) => self.tally.first().map(|first| vec![first.to_owned()]),
            Test::Like(_) => texts::all_of(self.constraint.operand.as_deref().unwrap_or_default()),
            Test::Unlike(_) => None,
            Test::Unique | Test::MaxPer(_) | Test::Groups { .. } | Test::Evenly => {
                // No attribute holds a line break, so this one is new.
                let takes_new = self.test.allows("\n", &self.tally);
                let open = || self.tally.values().filter(|value| self.test.allows(value, &self.tally));
                (!takes_new).then(|| open().map(str::to_owned).collect())
            }
        }
    }

    /// Whether an agent can have this value: none is empty, and attributes are compared as they
    /// are rendered, so that nothing ever equals `{1,0}`.
    fn can_be(&self, value: &str) -> bool {
        let is_rendered = || AttributeValue::parse(value).rendered() == value;
        !value.is_empty() && (self.constraint.fact() == HOSTNAME || is_rendered())
    }

    /// In words, where there is no end of values.
    fn wish(&self) -> String {
        let field = &self.constraint.field;
        let operand = self.constraint.operand.as_deref().unwrap_or_default();
        match &self.test {
            Test::Like(_) => format!("{field} like {operand}"),
            Test::Unlike(_) => format!("{field} unlike {operand}"),
            _ => {
                let is_full = |value: &&str| !self.test.allows(value, &self.tally);
                let full: Vec<&str> = self.tally.values().filter(is_full).collect();
                if full.is_empty() {
                    return format!("some {field}");
                }
                format!("{field} other than {}", list(&full, ", "))
            }
        }
    }
}

/// Some of them in quotes, and how many more there are.
fn list(values: &[impl AsRef<str>], word: &str) -> String {
    let mut told: Vec<String> =
        values.iter().take(VALUES_TOLD_MAX).map(|value| format!("{:?}", value.as_ref())).collect();
    let left_out = values.len().saturating_sub(told.len());
    told.extend((left_out > 0).then(|| format!("{left_out} more")));
    told.join(word)
}
