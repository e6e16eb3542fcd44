//! Rolling-upgrade arithmetic: how many old instances may stop, how many new may start.
//!
//! Way in: [`next_wave`]. Knows numbers only; no apps, no clock, no store.
//! Follows Marathon's `upgradeStrategy`. Source: spec 5.7 (without resident apps).

use crate::domain::UpgradeStrategy;

/// Instance counts of one app in the middle of an upgrade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Wanted instances of older content, alive and within reach.
    pub(super) old: u32,
    /// Of those, how many are considered healthy.
    pub(super) old_healthy: u32,
    /// Instances told to go that still hold their place.
    pub(super) leaving: u32,
    /// Wanted instances of the new content.
    pub(super) new: u32,
    /// Of those, how many serve.
    pub(super) new_ready: u32,
}

/// What an upgrade keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Instances wanted in the end; above 0.
    pub(super) target: u32,
    /// Healthy instances do not fall below this by our doing.
    pub(super) floor: u32,
    /// Existing instances do not exceed this.
    pub(super) ceiling: u32,
}

/// What to do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wave {
    /// Old instances to stop, those that serve nobody first.
    pub(super) stop: u32,
    /// New instances to start.
    pub(super) start: u32,
}

impl Bounds {
    pub(super) fn of(target: u32, strategy: &UpgradeStrategy) -> Self {
        let floor = strategy.minimum_health_capacity.of_ceil(target);
        let ceiling = target.saturating_add(strategy.maximum_over_capacity.of_floor(target));
        Self { target, floor, ceiling }
    }

    /// Whether a replacement may run beside what it replaces.
    pub(super) fn lets_one_more_run(&self) -> bool {
        self.ceiling > self.target || self.floor >= self.target
    }

    /// With no room either way the ceiling gives by one, so that a healthy app can move.
    fn ceiling_with(&self, healthy: u32) -> u32 {
        if self.floor == self.ceiling && self.ceiling <= healthy {
            return self.ceiling.saturating_add(1);
        }
        self.ceiling
    }
}

/// Says how many old instances to stop and new ones to start now.
///
/// Each new instance that serves frees one old one; beyond that, healthy instances stop
/// only down to the floor. One that leaves holds its place until it is gone. Never
/// stops a healthy instance below the floor, provided that the caller stops those that
/// serve nobody first.
///
/// Beyond Marathon: when nothing can move because old instances that never became
/// healthy fill the room, one of them goes. Marathon waits for its health checks to kill it.
///
/// Source: Marathon `TaskReplaceActor`; the level-triggered form of its kill-and-start rules.
pub(super) fn next_wave(counts: Counts, bounds: Bounds) -> Wave {
    let healthy = counts.old_healthy + counts.new_ready;
    let above_floor = healthy.saturating_sub(bounds.floor);
    let no_longer_needed = (counts.old + counts.new_ready).saturating_sub(bounds.target);
    let stop = above_floor.max(no_longer_needed).min(counts.old);

    let existing = counts.old + counts.leaving + counts.new;
    let room = bounds.ceiling_with(healthy).saturating_sub(existing);
    let start = bounds.target.saturating_sub(counts.new).min(room);

    let nothing_moves = stop + start + counts.leaving == 0 && counts.new == counts.new_ready;
    let is_stuck = nothing_moves && counts.new < bounds.target && counts.old > counts.old_healthy;
    Wave { stop: if is_stuck { 1 } else { stop }, start }
}

/// The same for instances that move: what replaces them comes first, unless the app allows no
/// copy more than its number and lives with fewer. Then one goes first, as in its upgrades.
pub(super) fn next_move(counts: Counts, bounds: Bounds) -> Wave {
    let floor = if bounds.lets_one_more_run() { bounds.target } else { bounds.floor };
    next_wave(counts, Bounds { floor, ..bounds })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Millionths;

    fn bounds(target: u32, min: f64, over: f64) -> Bounds {
        let strategy = UpgradeStrategy {
            minimum_health_capacity: Millionths::from_f64(min).unwrap(),
            maximum_over_capacity: Millionths::from_f64(over).unwrap(),
        };
        Bounds::of(target, &strategy)
    }

    /// At the beginning, `healthy` of `existing` old instances: `(ceiling, stop)`.
    #[track_caller]
    fn opening(target: u32, min: f64, over: f64, (healthy, existing): (u32, u32), wanted: (u32, u32)) {
        let bounds = bounds(target, min, over);
        let counts = Counts { old: existing, old_healthy: healthy, ..Counts::default() };
        assert_eq!((bounds.ceiling_with(healthy), next_wave(counts, bounds).stop), wanted);
    }

    #[test]
    fn openings_are_those_of_marathons_table() {
        opening(1, 1.0, 1.0, (1, 1), (2, 0));
        opening(1, 1.0, 0.0, (1, 1), (2, 0));
        opening(1, 0.5, 0.0, (1, 1), (2, 0));
        opening(1, 0.5, 0.0, (0, 0), (1, 0));
        opening(1, 0.0, 0.0, (1, 1), (1, 1));
        opening(2, 0.5, 0.0, (2, 2), (2, 1));
        opening(3, 0.5, 0.0, (3, 3), (3, 1));
        opening(3, 1.0, 0.0, (3, 3), (4, 0));
        opening(3, 1.0, 0.7, (3, 3), (5, 0));
        opening(3, 1.0, 0.3, (4, 4), (4, 1));
        opening(3, 0.5, 1.0, (3, 3), (6, 1));
        opening(2, 1.0, 1.0, (3, 3), (4, 1));
        opening(10, 0.1, 0.0, (1, 1), (10, 0));
        opening(10, 0.1, 1.0, (10, 10), (20, 9));
        opening(10, 1.0, 1.0, (10, 10), (20, 0));
    }

    /// `(old, healthy, leaving, new, ready)` gives `(stop, start)`.
    #[track_caller]
    fn check(bounds: Bounds, counts: (u32, u32, u32, u32, u32), wave: (u32, u32)) {
        let (old, old_healthy, leaving, new, new_ready) = counts;
        let got = next_wave(Counts { old, old_healthy, leaving, new, new_ready }, bounds);
        assert_eq!((got.stop, got.start), wave);
    }

    #[test]
    fn without_room_one_more_is_started_and_then_one_old_stops() {
        let one_by_one = bounds(3, 1.0, 0.0);
        check(one_by_one, (3, 3, 0, 0, 0), (0, 1));
        check(one_by_one, (3, 3, 0, 1, 0), (0, 0));
        check(one_by_one, (3, 3, 0, 1, 1), (1, 0));
        check(one_by_one, (2, 2, 1, 1, 1), (0, 0));
        check(one_by_one, (2, 2, 0, 1, 1), (0, 1));
        check(one_by_one, (1, 1, 0, 3, 3), (1, 0));
    }

    #[test]
    fn an_old_one_that_leaves_holds_its_place() {
        let half = bounds(2, 0.5, 0.0);
        check(half, (2, 2, 0, 0, 0), (1, 0));
        check(half, (1, 1, 1, 0, 0), (0, 0));
        check(half, (1, 1, 0, 0, 0), (0, 1));
        check(half, (1, 1, 0, 1, 1), (1, 0));
    }

    #[test]
    fn readiness_frees_old_ones_that_never_served_too() {
        let double = bounds(2, 1.0, 1.0);
        check(double, (2, 0, 0, 0, 0), (0, 2));
        check(double, (2, 0, 0, 2, 1), (1, 0));
        check(double, (1, 0, 0, 2, 2), (1, 0));
    }

    #[test]
    fn sick_old_ones_in_a_full_house_make_room_one_by_one() {
        check(bounds(1, 1.0, 0.0), (1, 0, 0, 0, 0), (1, 0));
        check(bounds(3, 1.0, 0.0), (3, 2, 0, 0, 0), (1, 0));
        check(bounds(3, 1.0, 0.0), (2, 2, 0, 1, 0), (0, 0));
    }

    proptest! {
        /// Played to its end with instances that become ready at any time: ends, and the
        /// healthy ones never fall below the floor nor the existing ones above the ceiling by our doing.
        #[test]
        fn every_upgrade_ends_within_its_bounds(
            target in 1u32..12, old in 0u32..20, sick in 0u32..20,
            min in 0.0f64..=1.0, over in 0.0f64..=1.0, order in any::<u64>(),
        ) {
            let bounds = bounds(target, min, over);
            let sick = sick.min(old);
            let mut counts = Counts { old, old_healthy: old - sick, ..Counts::default() };
            for round in 0u32..400 {
                if counts.old + counts.leaving == 0 && counts.new_ready == target {
                    return Ok(());
                }
                let healthy = counts.old_healthy + counts.new_ready;
                let wave = next_wave(counts, bounds);
                let not_serving = counts.old - counts.old_healthy;
                let stopped_healthy = wave.stop.saturating_sub(not_serving);
                prop_assert!(healthy - stopped_healthy >= bounds.floor.min(healthy));
                let existing = counts.old + counts.leaving + counts.new;
                prop_assert!(wave.start == 0 || existing + wave.start <= bounds.ceiling.max(bounds.floor + 1));
                counts.old -= wave.stop;
                counts.old_healthy -= stopped_healthy;
                counts.leaving += wave.stop;
                counts.new += wave.start;
                let chance = order.rotate_left(round % 64);
                if chance & 1 == 0 && counts.leaving > 0 {
                    counts.leaving -= 1;
                } else if counts.new > counts.new_ready {
                    counts.new_ready += 1;
                } else {
                    counts.leaving = counts.leaving.saturating_sub(1);
                }
            }
            prop_assert!(false, "never ended: {counts:?} in {bounds:?}");
        }
    }
}
