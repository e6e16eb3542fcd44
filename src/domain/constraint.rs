//! Placement rules over facts of agents, as data. Judged by the scheduler.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AgentInfo, AttributeValue};

/// The fact that every agent has and no two share, as a rule.
pub const HOSTNAME: &str = "@hostname";

/// One rule, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname` or the name of an attribute.
    pub field: String,
    /// What must hold.
    pub operator: Operator,
    /// Operand, where the operator takes one.
    pub operand: Option<String>,
}

impl Constraint {
    /// What an agent has in the field, as rules compare it; nothing where it has no such fact.
    /// Source: spec 4.1.
    pub fn value_on<'a>(&self, agent: &'a AgentInfo) -> Option<Cow<'a, str>> {
        attribute_on(&self.field, agent)
    }

    /// Which fact the field means: `@hostname`, or the name of an attribute. `@region` and
    /// `@zone` are the attributes `region` and `zone`.
    pub fn fact(&self) -> &str {
        fact_of(&self.field)
    }
}

fn fact_of(field: &str) -> &str {
    match field {
        "hostname" | HOSTNAME => HOSTNAME,
        "@region" => "region",
        "@zone" => "zone",
        other => other,
    }
}

/// Whether a field means the fact that no two agents share.
pub fn is_hostname(field: &str) -> bool {
    fact_of(field) == HOSTNAME
}

/// What rules look at when they name an attribute of this name, where that is not the attribute.
pub fn seen_instead_of(attribute: &str) -> Option<&str> {
    let fact = fact_of(attribute);
    (fact != attribute || fact == HOSTNAME).then_some(fact)
}

/// What an agent has in the field of a rule, as rules compare it; nothing where it has no such fact.
pub fn attribute_on<'a>(field: &str, agent: &'a AgentInfo) -> Option<Cow<'a, str>> {
    match fact_of(field) {
        HOSTNAME => Some(Cow::Borrowed(&agent.hostname)),
        name => agent.attributes.get(name).map(AttributeValue::rendered),
    }
}

impl fmt::Display for Constraint {
    /// As people write it: `["rack","GROUP_BY","3"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?},{:?}", self.field, self.operator.as_str())?;
        if let Some(operand) = &self.operand {
            write!(f, ",{operand:?}")?;
        }
        f.write_str("]")
    }
}

/// What a [`Constraint`] demands. Source: spec 4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// No two instances share the value.
    Unique,
    /// All instances share one value.
    Cluster,
    /// Spread evenly over the values.
    GroupBy,
    /// The value matches a regular expression.
    Like,
    /// At most so many instances per value.
    MaxPer,
    /// The value does not match a regular expression.
    Unlike,
    /// The value equals the operand.
    Is,
}

impl Operator {
    /// Reads Marathon's spelling in any case.
    pub fn parse(raw: &str) -> Option<Self> {
        Some(match raw.to_ascii_uppercase().as_str() {
            "UNIQUE" => Self::Unique,
            "CLUSTER" => Self::Cluster,
            "GROUP_BY" => Self::GroupBy,
            "LIKE" => Self::Like,
            "MAX_PER" => Self::MaxPer,
            "UNLIKE" => Self::Unlike,
            "IS" => Self::Is,
            _ => return None,
        })
    }

    /// Whether its operand is a regular expression.
    pub fn takes_pattern(self) -> bool {
        matches!(self, Self::Like | Self::Unlike)
    }

    /// Marathon's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unique => "UNIQUE",
            Self::Cluster => "CLUSTER",
            Self::GroupBy => "GROUP_BY",
            Self::Like => "LIKE",
            Self::MaxPer => "MAX_PER",
            Self::Unlike => "UNLIKE",
            Self::Is => "IS",
        }
    }
}
