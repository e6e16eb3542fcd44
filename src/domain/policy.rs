//! How an app wishes to be treated: upgrades, backoff, absence, choice of victims.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A decimal number in millionths, so that every master computes the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millionths(pub u64);

impl Millionths {
    /// One.
    pub const ONE: Self = Self(1_000_000);

    /// From a decimal number; nothing for negative or absurd (above 10^9) values.
    pub fn from_f64(value: f64) -> Option<Self> {
        if !(0.0..=1e9).contains(&value) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked above")]
        let millionths = (value * 1e6).round() as u64;
        Some(Self(millionths))
    }

    /// As a decimal number.
    #[expect(clippy::cast_precision_loss, reason = "values stay far below 2^52")]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// `count` times this, rounded up.
    pub fn of_ceil(self, count: u32) -> u32 {
        let exact = u128::from(count) * u128::from(self.0);
        u32::try_from(exact.div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }

    /// `count` times this, rounded down.
    pub fn of_floor(self, count: u32) -> u32 {
        let exact = u128::from(count) * u128::from(self.0);
        u32::try_from(exact / 1_000_000).unwrap_or(u32::MAX)
    }

    /// `duration` times this, in whole milliseconds.
    pub fn of_duration(self, duration: Duration) -> Duration {
        let millis = duration.as_millis() * u128::from(self.0) / 1_000_000;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// Bounds on instances during an upgrade. Source: spec 5.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStrategy {
    /// Share of instances that must stay healthy, 0 to 1.
    pub minimum_health_capacity: Millionths,
    /// Share of instances that may exist beyond the wanted number, 0 to 1.
    pub maximum_over_capacity: Millionths,
}

impl Default for UpgradeStrategy {
    fn default() -> Self {
        Self { minimum_health_capacity: Millionths::ONE, maximum_over_capacity: Millionths::ONE }
    }
}

/// Pause before a failed app is launched again. Source: spec 5.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// First pause.
    pub initial: Duration,
    /// Growth per failure, at least 1.
    pub factor: Millionths,
    /// Longest pause.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), factor: Millionths(1_150_000), max: Duration::from_secs(300) }
    }
}

/// What happens to instances on an agent that cannot be reached. Source: spec 5.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnreachableStrategy {
    /// Wait for ever.
    Disabled,
    /// Replace and forget after these times.
    After {
        /// A replacement starts this long after the agent became unreachable.
        inactive: Duration,
        /// The instance leaves the API this long after the agent became unreachable.
        expunge: Duration,
    },
}

impl Default for UnreachableStrategy {
    fn default() -> Self {
        Self::After { inactive: Duration::ZERO, expunge: Duration::ZERO }
    }
}

/// Which instances go first when there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillSelection {
    /// `YOUNGEST_FIRST`
    #[default]
    YoungestFirst,
    /// `OLDEST_FIRST`
    OldestFirst,
}
