//! Soft wishes of an app for where its instances go: they choose among agents that suit, and
//! never keep an instance waiting. What has to hold is a constraint.
//!
//! The block `placement` of an app's JSON; ours, Marathon had nothing like it. Judged by the
//! scheduler, in points: a wish of weight 100 is worth 100 points where it is wholly fulfilled.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AppId, Constraint, Operator, Pattern, Violation};

/// Most preferences of one app; each is asked of every agent in every turn of the app.
pub const PREFERENCES_MAX: usize = 16;
/// Most facts that one app spreads over.
pub const SPREADS_MAX: usize = 4;
/// Most shares of one spread.
pub const TARGETS_MAX: usize = 64;
/// Most apps that one app wants to be near to or far from.
pub const AFFINITIES_MAX: usize = 16;
/// Largest weight; the smallest is its negative.
pub const WEIGHT_MAX: i32 = 100;
/// Longest name of a fact, and longest value, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Whether instances go where there is much room, or where there is little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// To agents with few instances of the app, then to empty ones.
    #[default]
    Spread,
    /// To agents that are full already, so that others stay empty.
    Binpack,
}

impl Strategy {
    /// Reads it as people write it.
    pub fn parse(raw: &str) -> Option<Self> {
        match raw {
            "spread" => Some(Self::Spread),
            "binpack" => Some(Self::Binpack),
            _ => None,
        }
    }

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Binpack => "binpack",
        }
    }
}

/// All wishes of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// Absent means the cluster's.
    pub strategy: Option<Strategy>,
    /// Agents that are liked or disliked.
    pub preferences: Vec<Preference>,
    /// How instances are shared out.
    pub spread: Vec<Spread>,
    /// Apps to be near to or far from.
    pub affinity: Vec<Affinity>,
}

/// Agents whose fact has a value are liked, or disliked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// `hostname` or the name of an attribute.
    pub attribute: String,
    /// Which values.
    pub wanted: Wanted,
    /// -100 to 100, not 0.
    pub weight: i32,
}

/// Which values of a fact are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// This one; numbers are compared as numbers.
    Value(String),
    /// All that match the regular expression as a whole.
    Pattern(String),
}

impl Preference {
    /// The constraint that holds exactly where the fact has such a value.
    pub fn rule(&self) -> Constraint {
        let (operator, operand) = match &self.wanted {
            Wanted::Value(value) => (Operator::Is, value),
            Wanted::Pattern(pattern) => (Operator::Like, pattern),
        };
        Constraint { field: self.attribute.clone(), operator, operand: Some(operand.clone()) }
    }
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Wanted::Value(value) => write!(f, "{} is {value:?}", self.attribute),
            Wanted::Pattern(pattern) => write!(f, "{} is like {pattern:?}", self.attribute),
        }
    }
}

/// How instances are shared out over the values of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// `hostname` or the name of an attribute.
    pub attribute: String,
    /// 1 to 100.
    pub weight: i32,
    /// Shares of single values; without any all values get the same.
    #[serde(default)]
    pub targets: Vec<Target>,
}

/// The share that one value should get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Which value.
    pub value: String,
    /// 0 to 100; what all targets leave is for the other values together.
    pub percent: u32,
}

/// Another app whose instances are liked, or disliked, near by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affinity {
    /// Which.
    pub app: AppId,
    /// What near means: the same value of this fact. `hostname` is the same agent.
    pub attribute: String,
    /// -100 to 100, not 0; negative keeps away.
    pub weight: i32,
}

impl Wishes {
    /// Whether there is any besides the strategy.
    pub fn has_any(&self) -> bool {
        !(self.preferences.is_empty() && self.spread.is_empty() && self.affinity.is_empty())
    }

    /// Every broken rule, with its path in the app `id`.
    pub fn faults(&self, id: &AppId) -> Vec<Violation> {
        let mut faults = Faults(Vec::new());
        faults.count(self.preferences.len(), PREFERENCES_MAX, "/placement/preferences");
        for (at, wish) in self.preferences.iter().take(PREFERENCES_MAX).enumerate() {
            let path = format!("/placement/preferences({at})");
            faults.attribute(&wish.attribute, &path);
            faults.weight(wish.weight, -WEIGHT_MAX, &path);
            match &wish.wanted {
                Wanted::Value(value) => faults.value(value, &format!("{path}/value")),
                Wanted::Pattern(pattern) if pattern.is_empty() => {
                    faults.add(format!("{path}/pattern"), "must not be empty");
                }
                Wanted::Pattern(pattern) => {
                    if let Err(error) = Pattern::parse(pattern) {
                        faults.add(format!("{path}/pattern"), error.to_string());
                    }
                }
            }
        }
        faults.count(self.spread.len(), SPREADS_MAX, "/placement/spread");
        for (at, wish) in self.spread.iter().take(SPREADS_MAX).enumerate() {
            faults.spread(wish, &format!("/placement/spread({at})"));
        }
        faults.count(self.affinity.len(), AFFINITIES_MAX, "/placement/affinity");
        for (at, wish) in self.affinity.iter().take(AFFINITIES_MAX).enumerate() {
            let path = format!("/placement/affinity({at})");
            faults.attribute(&wish.attribute, &path);
            faults.weight(wish.weight, -WEIGHT_MAX, &path);
            if wish.app == *id {
                faults.add(
                    format!("{path}/app"),
                    "is the app itself; use placement.spread for its own instances",
                );
            }
        }
        faults.0
    }
}

struct Faults(Vec<Violation>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation::new(path, message));
    }

    fn count(&mut self, count: usize, max: usize, path: &str) {
        if count > max {
            self.add(path, format!("must not have more than {max} entries, has {count}"));
        }
    }

    fn attribute(&mut self, name: &str, path: &str) {
        if name.is_empty() || name.len() > TEXT_BYTES_MAX {
            let message = "must be hostname or the name of an attribute, of at most 1024 bytes";
            self.add(format!("{path}/attribute"), message);
        }
    }

    fn value(&mut self, value: &str, path: &str) {
        if value.is_empty() || value.len() > TEXT_BYTES_MAX {
            self.add(path, "must be a text of 1 to 1024 bytes");
        }
    }

    fn weight(&mut self, weight: i32, least: i32, path: &str) {
        if weight == 0 || !(least..=WEIGHT_MAX).contains(&weight) {
            let but = if least < 0 { ", not 0" } else { "" };
            self.add(
                format!("{path}/weight"),
                format!("must be a whole number from {least} to {WEIGHT_MAX}{but}"),
            );
        }
    }

    fn spread(&mut self, wish: &Spread, path: &str) {
        self.attribute(&wish.attribute, path);
        self.weight(wish.weight, 1, path);
        self.count(wish.targets.len(), TARGETS_MAX, &format!("{path}/targets"));
        let mut seen = BTreeSet::new();
        for (at, target) in wish.targets.iter().take(TARGETS_MAX).enumerate() {
            let path = format!("{path}/targets({at})");
            self.value(&target.value, &format!("{path}/value"));
            if !seen.insert(&target.value) {
                self.add(format!("{path}/value"), "is named twice; name each value once");
            }
        }
        let sum = wish.targets.iter().fold(0_u32, |sum, target| sum.saturating_add(target.percent));
        if sum > 100 {
            self.add(
                format!("{path}/targets"),
                format!("must not be more than 100 percent together, are {sum}"),
            );
        }
    }
}
