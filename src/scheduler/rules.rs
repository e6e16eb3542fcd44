//! Placement rules: judged by what an agent has and where the app's instances are already.
//!
//! [`Rules`] are one content's, ready to be judged, with a tally for each rule that looks at
//! other instances. Source: spec 4; the table of `tests` is spec 4.4.

mod answers;
mod newcomer;
mod tally;
mod texts;

pub(super) use self::answers::{Counting, Objections};
use self::tally::Tally;
use crate::domain::{AgentInfo, AppVersion, Constraint, InstanceId, Operator, Pattern};
use crate::state::{ClusterState, InstanceRow, Placement, TaskRow};

/// Values that one sentence names at most; of more it says how many there are.
const VALUES_TOLD_MAX: usize = 20;

/// All rules of one content; each has to hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    constraint: Constraint,
    test: Test,
    tally: Tally,
}

/// What is asked of an agent's value.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// Nothing: the operand cannot be had, which validation refuses.
    Never,
    Unique,
    /// Equal to this, or to where the first instance is.
    Cluster(Option<String>),
    Like(Pattern),
    Unlike(Pattern),
    Is(String),
    MaxPer(u64),
    /// Evenly over so many values.
    Groups {
        /// How many values.
        groups: u64,
        /// How many instances the app wants.
        instances: u64,
    },
    /// Evenly over whatever values there are.
    Evenly,
}

impl Rules {
    /// Of one content, with its instances as `state` has them, all but one that is to be `left_out`.
    pub(super) fn of(state: &ClusterState, content: &AppVersion, left_out: Option<&InstanceId>) -> Self {
        let spec = &content.spec;
        if spec.constraints.is_empty() {
            return Self::default();
        }
        let instances = u64::from(spec.instances);
        let mut rules = Self(spec.constraints.iter().map(|rule| Rule::of(rule, instances)).collect());
        let counted = state.instances_of(&content.app).filter(|row| Some(&row.id) != left_out);
        let mut placed: Vec<&TaskRow> = counted.filter_map(|row| placed(row, content)).collect();
        placed.sort_by_key(|task| (task.staged_at, &task.id));
        for agent in placed.into_iter().filter_map(|task| state.agents.get(&task.agent)) {
            rules.note(&agent.info);
        }
        rules
    }

    /// Remembers what was placed since `state`, as [`Rules::of`] would once it is recorded.
    pub(super) fn note_placements(
        &mut self,
        state: &ClusterState,
        content: &AppVersion,
        placements: &[Placement],
    ) {
        if self.0.is_empty() {
            return;
        }
        for placement in placements {
            let row = state.instances.get(&placement.instance);
            let is_own =
                row.is_some_and(|row| row.app == content.app && row.version >= content.last_config_change);
            if let Some(agent) = state.agents.get(&placement.agent).filter(|_| is_own) {
                self.note(&agent.info);
            }
        }
    }

    /// Remembers one more instance on an agent.
    pub(super) fn note(&mut self, agent: &AgentInfo) {
        for rule in self.0.iter_mut().filter(|rule| rule.test.looks_at_instances()) {
            if let Some(value) = rule.constraint.value_on(agent) {
                rule.tally.add(&value);
            }
        }
    }

    /// Forgets one instance on an agent; which one was first stays known.
    pub(super) fn forget(&mut self, agent: &AgentInfo) {
        for rule in self.0.iter_mut().filter(|rule| rule.test.looks_at_instances()) {
            if let Some(value) = rule.constraint.value_on(agent) {
                rule.tally.remove(&value);
            }
        }
    }

    /// Whether every rule holds for one more instance there.
    pub(super) fn allow(&self, agent: &AgentInfo) -> bool {
        self.0.iter().all(|rule| rule.allows(agent))
    }

    /// Whether the answer of the rule at a position depends on where instances are.
    pub(super) fn counts(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|rule| rule.test.looks_at_instances())
    }

    /// For people: the first rule that does not hold, and what stands against it.
    pub(super) fn objection(&self, agent: &AgentInfo) -> Option<String> {
        self.0.iter().find(|rule| !rule.allows(agent)).map(|rule| rule.objection(agent))
    }
}

/// The attempt by which an instance counts for its app's rules: placed and not ended, within
/// reach or given up as inactive, and not about to leave for another place. Source: spec 4.1.
pub(super) fn counted(row: &InstanceRow) -> Option<&TaskRow> {
    let task = row.task.as_ref().filter(|task| task.is_live() && !row.expunged && !row.is_moving())?;
    (task.unreachable_since.is_none() || task.inactive).then_some(task)
}

/// The same for the rules of one content: those of a content that differs at most in its scale.
/// Instances that an upgrade is about to replace do not count. Source: spec 4.1.
pub(super) fn placed<'a>(row: &'a InstanceRow, content: &AppVersion) -> Option<&'a TaskRow> {
    counted(row).filter(|_| row.version >= content.last_config_change)
}

impl Rule {
    fn of(constraint: &Constraint, instances: u64) -> Self {
        Self {
            constraint: constraint.clone(),
            test: Test::of(constraint, instances),
            tally: Tally::default(),
        }
    }

    fn allows(&self, agent: &AgentInfo) -> bool {
        match self.constraint.value_on(agent) {
            Some(value) => self.test.allows(&value, &self.tally),
            // A fact that is not there is unlike anything, and nothing else.
            None => self.test.allows_absence(),
        }
    }

    fn objection(&self, agent: &AgentInfo) -> String {
        let field = &self.constraint.field;
        let Some(value) = self.constraint.value_on(agent) else {
            return format!("{} needs {field}, which the agent does not have", self.constraint);
        };
        let has = self.tally.count(&value);
        match &self.test {
            Test::Unique | Test::MaxPer(_) => {
                format!("{}: {field} {value:?} has {has} already", self.constraint)
            }
            Test::Groups { .. } | Test::Evenly => {
                format!("{}: {field} {value:?} has {has} of {}", self.constraint, self.tally.told())
            }
            Test::Cluster(None) => {
                let first = self.tally.first().unwrap_or_default();
                format!("{}: {field} is {value:?}, the others are on {first:?}", self.constraint)
            }
            _ => format!("{}: {field} is {value:?}", self.constraint),
        }
    }
}

impl Test {
    /// Of one rule, of a content with so many instances.
    pub(super) fn of(constraint: &Constraint, instances: u64) -> Self {
        let operand = constraint.operand.as_deref().unwrap_or_default();
        // An empty pattern matches nothing, and nothing is unlike it.
        let pattern = || (!operand.is_empty()).then(|| Pattern::parse(operand).ok()).flatten();
        match constraint.operator {
            Operator::Unique => Self::Unique,
            Operator::Cluster => Self::Cluster((!operand.is_empty()).then(|| operand.to_owned())),
            Operator::Like => pattern().map_or(Self::Never, Self::Like),
            Operator::Unlike => pattern().map_or(Self::Never, Self::Unlike),
            Operator::Is => Self::Is(rendered(operand)),
            Operator::MaxPer => operand.parse().map_or(Self::Never, Self::MaxPer),
            Operator::GroupBy => match operand.parse() {
                Ok(groups) if groups > 0 => Self::Groups { groups, instances },
                _ => Self::Evenly,
            },
        }
    }

    /// Whether the answer depends on where instances are, not on the value alone.
    pub(super) fn looks_at_instances(&self) -> bool {
        matches!(
            self,
            Self::Unique | Self::Cluster(None) | Self::MaxPer(_) | Self::Groups { .. } | Self::Evenly
        )
    }

    /// Whether an agent without the fact suits.
    pub(super) fn allows_absence(&self) -> bool {
        matches!(self, Self::Unlike(_))
    }

    /// Whether a value suits while there is no instance yet.
    pub(super) fn allows_value(&self, value: &str) -> bool {
        self.allows(value, &Tally::default())
    }

    fn allows(&self, value: &str, tally: &Tally) -> bool {
        match self {
            Self::Never => false,
            Self::Unique => tally.count(value) == 0,
            Self::Cluster(Some(wanted)) | Self::Is(wanted) => value == wanted,
            Self::Cluster(None) => tally.first().is_none_or(|first| first == value),
            Self::Like(pattern) => pattern.matches(value),
            Self::Unlike(pattern) => !pattern.matches(value),
            Self::MaxPer(most) => tally.count(value) < *most,
            Self::Groups { groups, instances } => tally.has_room_in(value, *groups, *instances),
            Self::Evenly => tally.is_least_used(value),
        }
    }
}

/// A number as attributes render it, anything else as it is. Source: spec 4.2, IS.
fn rendered(operand: &str) -> String {
    let is_number = || {
        let (whole, rest) = operand.split_once('.').unwrap_or((operand, "0"));
        [whole, rest].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    if is_number() { crate::domain::AttributeValue::parse(operand).to_string() } else { operand.to_owned() }
}

#[cfg(test)]
mod tests;
