//! Amounts of a machine: cpus, memory, disk, gpus and ports.
//!
//! Scalars are integers in thousandths, so that every master computes the same
//! sums. Ports are sorted, disjoint ranges.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in thousandths: 1.5 cpus is 1500. Memory and disk are in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scalar(u64);

impl Scalar {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From thousandths.
    pub const fn from_thousandths(thousandths: u64) -> Self {
        Self(thousandths)
    }

    /// In thousandths.
    pub const fn thousandths(self) -> u64 {
        self.0
    }

    /// From a decimal number, rounded to the nearest thousandth; nothing for
    /// negative, infinite or absurd (above 10^12) values.
    pub fn from_f64(value: f64) -> Option<Self> {
        if !(0.0..=1e12).contains(&value) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked above")]
        let thousandths = (value * 1000.0).round() as u64;
        Some(Self(thousandths))
    }

    /// As a decimal number.
    #[expect(clippy::cast_precision_loss, reason = "amounts stay far below 2^52 thousandths")]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The sum, or the largest amount.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, never below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut rest, mut digits) = (self.0 / 1000, self.0 % 1000, 3);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        while rest % 10 == 0 {
            (rest, digits) = (rest / 10, digits - 1);
        }
        write!(f, "{whole}.{rest:0digits$}")
    }
}

/// Most ranges of ports that an agent may have; each costs time at every placement there.
pub const RANGES_MAX: usize = 1_024;

/// Most ranges of ports that strangers may hold on an agent: as many as there can be.
pub const HELD_RANGES_MAX: usize = 32_768;

/// Largest amount of anything that an agent may claim: far above any machine, and so small that
/// sums over all agents stay within 64 bits. In thousandths.
pub const CLAIM_MAX: Scalar = Scalar(1_000_000_000_000);

/// Ports as sorted, disjoint, inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortRanges(Vec<(u16, u16)>);

impl PortRanges {
    /// From ranges in any order; ranges that touch are joined, reversed ones are dropped.
    pub fn new(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut sorted: Vec<(u16, u16)> = ranges.into_iter().filter(|(from, to)| from <= to).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(sorted.len());
        for (from, to) in sorted {
            match joined.last_mut() {
                Some((_, end)) if u32::from(from) <= u32::from(*end) + 1 => *end = (*end).max(to),
                _ => joined.push((from, to)),
            }
        }
        Self(joined)
    }

    /// What is wrong with ranges that somebody else wrote, for people: too many, one that ends before it
    /// begins, ranges out of order, or ranges that share a port. [`PortRanges::new`] makes none of these.
    pub fn fault(&self, ranges_max: usize) -> Option<String> {
        if self.0.len() > ranges_max {
            return Some(format!("has {} ranges of ports, at most {ranges_max} are allowed", self.0.len()));
        }
        if let Some((from, to)) = self.0.iter().find(|(from, to)| from > to) {
            return Some(format!("has ports {from}-{to}, which end before they begin"));
        }
        let shared = self.0.iter().zip(self.0.iter().skip(1)).find(|((_, end), (from, _))| from <= end);
        shared.map(|((a, b), (c, d))| {
            format!("has ports {a}-{b} and {c}-{d}, which overlap or are out of order")
        })
    }

    /// From single ports.
    pub fn of(ports: impl IntoIterator<Item = u16>) -> Self {
        Self::new(ports.into_iter().map(|port| (port, port)))
    }

    /// The ranges, sorted.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// Every port, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().flat_map(|(from, to)| *from..=*to)
    }

    /// How many ports.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|(from, to)| u32::from(*to) - u32::from(*from) + 1).sum()
    }

    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        let at = self.0.partition_point(|(_, to)| *to < port);
        self.0.get(at).is_some_and(|(from, _)| *from <= port)
    }

    /// Whether every port of `other` is among them.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(from, to)| {
            let at = self.0.partition_point(|(_, end)| end < from);
            self.0.get(at).is_some_and(|(start, end)| start <= from && to <= end)
        })
    }

    /// These ports and `other`'s.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).copied())
    }

    /// These ports without `other`'s.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        let mut cuts = other.0.as_slice();
        for &(from, to) in &self.0 {
            let mut next = u32::from(from);
            // Both are sorted: what ends before this range ends before all that follow.
            cuts = cuts.get(cuts.partition_point(|(_, end)| *end < from)..).unwrap_or_default();
            for &(cut_from, cut_to) in cuts.iter().take_while(|(start, _)| *start <= to) {
                if u32::from(cut_from) > next {
                    left.push((narrow(next), cut_from - 1));
                }
                next = next.max(u32::from(cut_to) + 1);
            }
            if next <= u32::from(to) {
                left.push((narrow(next), to));
            }
        }
        Self(left)
    }
}

/// Callers hand in values that came from `u16` and stay within it.
fn narrow(port: u32) -> u16 {
    u16::try_from(port).unwrap_or(u16::MAX)
}

impl fmt::Display for PortRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, (from, to)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{from}-{to}")?;
        }
        f.write_str("]")
    }
}

/// What a machine has, or a task takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Processors.
    pub cpus: Scalar,
    /// Memory in MiB.
    pub mem: Scalar,
    /// Disk in MiB.
    pub disk: Scalar,
    /// Graphics processors.
    pub gpus: Scalar,
    /// Host ports.
    pub ports: PortRanges,
}

impl Resources {
    /// Whether `need` fits into these.
    pub fn contains(&self, need: &Self) -> bool {
        self.cpus >= need.cpus
            && self.mem >= need.mem
            && self.disk >= need.disk
            && self.gpus >= need.gpus
            && self.ports.contains_all(&need.ports)
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            cpus: self.cpus.plus(other.cpus),
            mem: self.mem.plus(other.mem),
            disk: self.disk.plus(other.disk),
            gpus: self.gpus.plus(other.gpus),
            ports: self.ports.plus(&other.ports),
        }
    }

    /// The difference; amounts never fall below zero.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            cpus: self.cpus.minus(other.cpus),
            mem: self.mem.minus(other.mem),
            disk: self.disk.minus(other.disk),
            gpus: self.gpus.minus(other.gpus),
            ports: self.ports.minus(&other.ports),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_join_and_cut() {
        let all = PortRanges::new([(10, 12), (13, 20), (30, 30)]);
        assert_eq!(all.to_string(), "[10-20,30-30]");
        assert_eq!(all.count(), 12);
        let left = all.minus(&PortRanges::of([10, 15, 20, 30]));
        assert_eq!(left.to_string(), "[11-14,16-19]");
        assert!(left.contains(14) && !left.contains(15));
        assert_eq!(PortRanges::new([(0, 65535)]).minus(&PortRanges::of([0, 65535])).to_string(), "[1-65534]");
    }

    #[test]
    fn scalars_refuse_nonsense() {
        assert_eq!(Scalar::from_f64(0.1), Some(Scalar(100)));
        for bad in [-0.001, f64::NAN, f64::INFINITY, 1e13] {
            assert_eq!(Scalar::from_f64(bad), None);
        }
    }

    proptest! {
        #[test]
        fn scalars_read_as_decimal_numbers_do(thousandths in 0..CLAIM_MAX.thousandths()) {
            for scalar in [Scalar(thousandths), Scalar(thousandths / 10 * 10), Scalar(thousandths / 1000 * 1000)] {
                prop_assert_eq!(scalar.to_string(), scalar.to_f64().to_string());
            }
        }

        #[test]
        fn plus_then_minus_gives_back(a in proptest::collection::vec((0u16..500, 0u16..500), 0..8),
                                      b in proptest::collection::vec(0u16..500, 0..20)) {
            let a = PortRanges::new(a);
            let b = PortRanges::of(b);
            let without = a.minus(&b);
            for port in 0..500u16 {
                prop_assert_eq!(without.contains(port), a.contains(port) && !b.contains(port));
                prop_assert_eq!(a.plus(&b).contains(port), a.contains(port) || b.contains(port));
            }
            prop_assert!(a.contains_all(&without));
            prop_assert_eq!(u32::try_from(without.iter().count()).unwrap(), without.count());
        }
    }
}
