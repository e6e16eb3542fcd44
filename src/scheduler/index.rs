//! Finds numbers by what they stand for, with one look at memory where the thing is known.
//!
//! Whoever owns the things says which number stands for which: here are only their prints. A tree of
//! ids that begin alike is walked many times slower. Nothing depends on the order of the places.

use super::fingerprint::scattered;

/// Marks a place that nobody has.
const NOBODY: u32 = u32::MAX;

/// Half of a print, and the number.
#[derive(Clone, Copy, Debug)]
struct Place {
    print: u32,
    number: u32,
}

const FREE: Place = Place { print: 0, number: NOBODY };

/// Numbers in a row of places of which at most half are taken, each at the first free one from that
/// which its print chooses. As many places as a power of two.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    places: Vec<Place>,
    taken: usize,
}

impl Index {
    /// The number with this print that `is_it`.
    pub(super) fn find(&self, print: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (mut at, half) = (self.first(print), upper(print));
        // A free place ends the search, and half of them are free.
        loop {
            let place = self.places.get(at)?;
            if place.number == NOBODY {
                return None;
            }
            if place.print == half && is_it(place.number) {
                return Some(place.number);
            }
            at = self.after(at);
        }
    }

    /// Adds a number that is not there.
    pub(super) fn insert(&mut self, print: u64, number: u32) {
        self.taken += 1;
        if self.places.len() < 2 * self.taken {
            let places = (4 * self.taken).next_power_of_two();
            let old = std::mem::replace(&mut self.places, vec![FREE; places]);
            for place in old.into_iter().filter(|place| place.number != NOBODY) {
                // The place is chosen by the half that is kept, so that the texts need not be read.
                self.put(u64::from(place.print) << 32, place.number);
            }
        }
        self.put(print, number);
    }

    /// Forgets all numbers and keeps the places.
    pub(super) fn clear(&mut self) {
        if self.taken > 0 {
            self.places.fill(FREE);
            self.taken = 0;
        }
    }

    fn put(&mut self, print: u64, number: u32) {
        let mut at = self.first(print);
        while let Some(place) = self.places.get_mut(at) {
            if place.number == NOBODY {
                *place = Place { print: upper(print), number };
                return;
            }
            at = self.after(at);
        }
    }

    fn first(&self, print: u64) -> usize {
        upper(print) as usize & self.places.len().wrapping_sub(1)
    }

    fn after(&self, at: usize) -> usize {
        at.wrapping_add(1) & self.places.len().wrapping_sub(1)
    }
}

/// The half of a print that is kept.
fn upper(print: u64) -> u32 {
    u32::try_from(print >> 32).unwrap_or(0)
}

/// Stands for a text, eight bytes at a time. Only for looking up: what decides uses `fingerprint`, which
/// never changes.
pub(super) fn print_of(text: &str) -> u64 {
    let fold = |print: u64, word: u64| (print.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let print = words.iter().fold(text.len() as u64, |print, word| fold(print, u64::from_le_bytes(*word)));
    let rest = rest.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    scattered(fold(print, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_until_all_is_forgotten() {
        let mut index = Index::default();
        let print = |number: u32| print_of(&format!("text {number}"));
        for _ in 0..2 {
            for number in 0..3_000 {
                assert_eq!(index.find(print(number), |at| at == number), None);
                index.insert(print(number), number);
            }
            for number in 0..3_000 {
                assert_eq!(index.find(print(number), |at| at == number), Some(number));
            }
            index.clear();
        }
    }

    #[test]
    fn prints_look_at_every_byte() {
        let texts = ["", "a", "b", "12345678", "123456789", "12345678\0", "\x0012345678", "87654321"];
        let prints: std::collections::BTreeSet<u64> = texts.iter().map(|text| print_of(text)).collect();
        assert_eq!(prints.len(), texts.len());
    }
}
