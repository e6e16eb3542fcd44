//! How many instances stand for each of many small numbers: agents, or values of a fact.

/// A key that nothing has.
const NOTHING: u32 = u32::MAX;

/// Counts by number; a number without a place has none. Keys lie in a row of places of which at most
/// half are taken, each at the first free one from that which it chooses. Nothing depends on their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Keys with their counts; as many as a power of two.
    places: Vec<(u32, u32)>,
    taken: usize,
}

impl Counts {
    /// How many there are of a number.
    pub(super) fn get(&self, key: u32) -> u32 {
        if self.taken == 0 {
            return 0;
        }
        self.places.get(self.place_of(key)).filter(|(at, _)| *at == key).map_or(0, |(_, count)| *count)
    }

    /// Counts one more, or one less. Gives the new count.
    pub(super) fn step(&mut self, key: u32, more: bool) -> u32 {
        self.weigh(key, 1, more)
    }

    /// Counts so many more, or so many less, but never below none. Gives the new count.
    pub(super) fn weigh(&mut self, key: u32, by: u32, more: bool) -> u32 {
        if self.places.len() < 2 * (self.taken + 1) {
            let places = (4 * (self.taken + 1)).next_power_of_two();
            let old = std::mem::replace(&mut self.places, vec![(NOTHING, 0); places]);
            for (key, count) in old.into_iter().filter(|(key, _)| *key != NOTHING) {
                let at = self.place_of(key);
                self.write(at, (key, count));
            }
        }
        let at = self.place_of(key);
        let Some((found, count)) = self.places.get_mut(at) else { return 0 };
        if *found != key {
            if more {
                self.taken += 1;
                self.write(at, (key, by));
            }
            return if more { by } else { 0 };
        }
        *count = if more { count.saturating_add(by) } else { count.saturating_sub(by) };
        let count = *count;
        if count == 0 {
            self.free(at);
        }
        count
    }

    /// Numbers with a count above none, ascending.
    pub(super) fn keys(&self) -> Vec<u32> {
        let mut keys: Vec<u32> =
            self.places.iter().map(|(key, _)| *key).filter(|key| *key != NOTHING).collect();
        keys.sort_unstable();
        keys
    }

    /// Where a key is, or may be put.
    fn place_of(&self, key: u32) -> usize {
        let mut at = self.first(key);
        while self.places.get(at).is_some_and(|(found, _)| *found != key && *found != NOTHING) {
            at = self.after(at);
        }
        at
    }

    /// Frees a place, and moves up whoever would not be found any more behind it.
    fn free(&mut self, at: usize) {
        self.taken -= 1;
        let (mut hole, mut at) = (at, at);
        loop {
            at = self.after(at);
            let Some((key, count)) = self.places.get(at).copied().filter(|(key, _)| *key != NOTHING) else {
                break;
            };
            let mask = self.places.len().wrapping_sub(1);
            let from_first = at.wrapping_sub(self.first(key)) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_first >= from_hole {
                self.write(hole, (key, count));
                hole = at;
            }
        }
        self.write(hole, (NOTHING, 0));
    }

    fn write(&mut self, at: usize, entry: (u32, u32)) {
        if let Some(place) = self.places.get_mut(at) {
            *place = entry;
        }
    }

    fn first(&self, key: u32) -> usize {
        let scattered = u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(scattered).unwrap_or(0) & self.places.len().wrapping_sub(1)
    }

    fn after(&self, at: usize) -> usize {
        at.wrapping_add(1) & self.places.len().wrapping_sub(1)
    }
}

/// Equal when the same numbers have the same counts.
impl PartialEq for Counts {
    fn eq(&self, other: &Self) -> bool {
        let keys = self.keys();
        keys == other.keys() && keys.into_iter().all(|key| self.get(key) == other.get(key))
    }
}

impl Eq for Counts {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_as_a_map_does(steps in proptest::collection::vec((0u32..60, 1u32..4, any::<bool>()), 0..600)) {
            let (mut counts, mut model) = (Counts::default(), BTreeMap::<u32, u32>::new());
            for (key, by, more) in steps {
                let count = model.entry(key).or_default();
                *count = if more { *count + by } else { count.saturating_sub(by) };
                prop_assert_eq!(counts.weigh(key, by, more), *count);
                model.retain(|_, count| *count > 0);
                prop_assert!((0..60).all(|key| counts.get(key) == model.get(&key).copied().unwrap_or(0)));
                prop_assert_eq!(counts.keys(), model.keys().copied().collect::<Vec<_>>());
            }
        }
    }
}
