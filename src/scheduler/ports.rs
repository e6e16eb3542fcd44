//! Assigning host ports out of an agent's spare ranges. Source: spec 10.
//!
//! A fixed port is given as asked; the others follow each other from a start that
//! derives from the task's id, so that every master would choose alike and a freed port
//! is not handed out again at once.

use std::collections::BTreeSet;

use super::fingerprint::fingerprint;
use crate::domain::{PortDemand, PortRanges, TaskId};

/// Stable across versions and machines.
pub(super) fn seed_of(task: &TaskId) -> u64 {
    fingerprint(task.as_str())
}

/// Ports that the demands name themselves; two demands may share one (udp and tcp).
pub(super) fn fixed(demands: &[PortDemand]) -> BTreeSet<u16> {
    let fixed = demands.iter().filter_map(|demand| match demand {
        PortDemand::Exactly(port) => Some(*port),
        PortDemand::Any => None,
    });
    fixed.collect()
}

/// How many ports may be any.
pub(super) fn dynamic_count(demands: &[PortDemand]) -> usize {
    demands.iter().filter(|demand| matches!(demand, PortDemand::Any)).count()
}

/// Whether [`assign`] would find ports.
pub(super) fn fit(demands: &[PortDemand], spare: &PortRanges) -> bool {
    if demands.is_empty() {
        return true;
    }
    let fixed = fixed(demands);
    let free = usize::try_from(spare.count()).unwrap_or(usize::MAX);
    fixed.iter().all(|port| spare.contains(*port)) && free >= fixed.len() + dynamic_count(demands)
}

/// One port per demand, in their order; nothing when there are too few.
pub(super) fn assign(demands: &[PortDemand], spare: &PortRanges, seed: u64) -> Option<Vec<u16>> {
    if !fit(demands, spare) {
        return None;
    }
    let fixed = fixed(demands);
    let free = if fixed.is_empty() { spare.clone() } else { spare.minus(&PortRanges::of(fixed)) };
    let mut dynamic = from_start(&free, seed);
    let port_of = |demand: &PortDemand| match demand {
        PortDemand::Exactly(port) => Some(*port),
        PortDemand::Any => dynamic.next(),
    };
    demands.iter().map(port_of).collect()
}

/// Every free port once, ascending from a start that the seed chooses, then from the lowest.
fn from_start(free: &PortRanges, seed: u64) -> impl Iterator<Item = u16> + '_ {
    let count = free.count().max(1);
    let mut skipped = u32::try_from(seed % u64::from(count)).unwrap_or(0);
    // Found by ranges, so that a wide range costs no more than a narrow one.
    let mut start = 0;
    for (from, to) in free.ranges() {
        let length = u32::from(*to) - u32::from(*from) + 1;
        if skipped < length {
            start = u32::from(*from) + skipped;
            break;
        }
        skipped -= length;
    }
    let ranges = free.ranges().iter().copied();
    let upper = ranges.clone().flat_map(move |(from, to)| u32::from(from).max(start)..=u32::from(to));
    let lower = ranges
        .take_while(move |(from, _)| u32::from(*from) < start)
        .flat_map(move |(from, to)| u32::from(from)..u32::from(to).saturating_add(1).min(start));
    upper.chain(lower).filter_map(|port| u16::try_from(port).ok())
}

/// `1 host port`, `2 host ports`.
pub(super) fn counted(ports: usize) -> String {
    format!("{ports} {}", noun(ports))
}

/// `host port`, `host ports`.
pub(super) fn noun(ports: usize) -> &'static str {
    if ports == 1 { "host port" } else { "host ports" }
}

/// `1 is`, `2 are`.
pub(super) fn are(spare: u32) -> String {
    if spare == 1 { "1 is".to_owned() } else { format!("{spare} are") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::PortDemand::{Any, Exactly};
    use super::*;

    #[track_caller]
    fn check(demands: &[PortDemand], spare: &[(u16, u16)], seed: u64, wanted: Option<&[u16]>) {
        assert_eq!(assign(demands, &PortRanges::new(spare.iter().copied()), seed).as_deref(), wanted);
    }

    #[test]
    fn dynamic_ports_follow_each_other_from_the_seeds_start() {
        check(&[Any, Any], &[(10, 19)], 3, Some(&[13, 14]));
        check(&[Any, Any], &[(10, 19)], 19, Some(&[19, 10]));
        check(&[Any, Any, Any], &[(10, 11), (20, 21)], 1, Some(&[11, 20, 21]));
        check(&[], &[], 0, Some(&[]));
    }

    #[test]
    fn fixed_ports_keep_their_places_and_are_never_given_twice() {
        check(&[Any, Exactly(13), Any], &[(10, 19)], 2, Some(&[12, 13, 14]));
        check(&[Exactly(13), Exactly(13)], &[(10, 19)], 0, Some(&[13, 13]));
        check(&[Exactly(9)], &[(10, 19)], 0, None);
        check(&[Exactly(10), Any], &[(10, 10)], 0, None);
    }

    #[test]
    fn the_whole_range_may_be_used() {
        check(&[Any], &[(0, 65535)], 65535, Some(&[65535]));
        check(&[Any, Any], &[(65534, 65535)], 1, Some(&[65535, 65534]));
    }

    proptest! {
        #[test]
        fn given_ports_are_spare_distinct_and_as_many_as_asked(
            ranges in proptest::collection::vec((100u16..200, 100u16..200), 0..6),
            exact in proptest::collection::btree_set(100u16..200, 0..4), any in 0usize..20, seed in any::<u64>(),
        ) {
            let spare = PortRanges::new(ranges);
            let mut demands: Vec<PortDemand> = exact.iter().map(|port| Exactly(*port)).collect();
            demands.extend((0..any).map(|_| Any));
            let got = assign(&demands, &spare, seed);
            prop_assert_eq!(got.is_some(), fit(&demands, &spare));
            if let Some(ports) = got {
                prop_assert_eq!(ports.len(), demands.len());
                prop_assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
                prop_assert!(ports.iter().all(|port| spare.contains(*port)));
                prop_assert!(ports.iter().zip(&exact).all(|(got, wanted)| got == wanted));
            }
        }
    }
}
