//! Facts of an agent that constraints look at, and Mesos' text form of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// One fact of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeValue {
    /// Any text: `rack:r1`.
    Text(String),
    /// A number in thousandths, may be negative: `level:1.5`.
    Scalar(i64),
    /// Ranges of numbers: `jdk:[6-7]`.
    Ranges(Vec<(i64, i64)>),
    /// Texts without order: `gpu:{0,1}`.
    Set(BTreeSet<String>),
}

/// Facts of one agent by name.
pub type Attributes = BTreeMap<String, AttributeValue>;

impl AttributeValue {
    /// Reads one value in Mesos' form: `{a,b}` is a set, `[1-2]` ranges, a number a scalar,
    /// anything else text.
    /// Source: Mesos, "Attributes and resources".
    pub fn parse(raw: &str) -> Self {
        let raw = raw.trim();
        if let Some(inner) = raw.strip_prefix('{').and_then(|r| r.strip_suffix('}')) {
            let items = inner.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty());
            return Self::Set(items.collect());
        }
        if let Some(inner) = raw.strip_prefix('[').and_then(|r| r.strip_suffix(']')) {
            let ranges: Option<Vec<(i64, i64)>> = inner.split(',').map(parse_range).collect();
            if let Some(mut ranges) = ranges {
                ranges.sort_unstable();
                return Self::Ranges(ranges);
            }
        }
        parse_thousandths(raw).map_or_else(|| Self::Text(raw.to_owned()), Self::Scalar)
    }

    /// As constraints compare it: its `Display`, which texts need not be copied for.
    pub fn rendered(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            _ => Cow::Owned(self.to_string()),
        }
    }
}

fn parse_range(raw: &str) -> Option<(i64, i64)> {
    let (from, to) = raw.split_once('-')?;
    Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
}

fn parse_thousandths(raw: &str) -> Option<i64> {
    if !raw.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-') {
        return None;
    }
    let value: f64 = raw.parse().ok()?;
    if !(-1e12..=1e12).contains(&value) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "range checked above")]
    let thousandths = (value * 1000.0).round_ties_even() as i64;
    Some(thousandths)
}

impl fmt::Display for AttributeValue {
    /// The rendering that constraints compare.
    /// Source: spec 4.1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Scalar(thousandths) => write_thousandths(f, *thousandths),
            Self::Ranges(ranges) => {
                let parts: Vec<String> = ranges.iter().map(|(from, to)| format!("{from}-{to}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
            Self::Set(items) => {
                let parts: Vec<&str> = items.iter().map(String::as_str).collect();
                write!(f, "{{{}}}", parts.join(","))
            }
        }
    }
}

fn write_thousandths(f: &mut fmt::Formatter<'_>, thousandths: i64) -> fmt::Result {
    let sign = if thousandths < 0 { "-" } else { "" };
    let whole = thousandths.unsigned_abs() / 1000;
    let rest = thousandths.unsigned_abs() % 1000;
    if rest == 0 {
        return write!(f, "{sign}{whole}");
    }
    let rest = format!("{rest:03}");
    write!(f, "{sign}{whole}.{}", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, rendered: &str) {
        assert_eq!(AttributeValue::parse(raw).to_string(), rendered);
    }

    #[test]
    fn values_render_as_constraints_compare_them() {
        check("r1", "r1");
        check("1.0", "1");
        check("0.80", "0.8");
        check("1.0005", "1");
        check("1.00051", "1.001");
        check("[10-12,6-7]", "[6-7,10-12]");
        check("{1,0}", "{0,1}");
        check("-2.5", "-2.5");
        check("1.2.3", "1.2.3");
    }
}
