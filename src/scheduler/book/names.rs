//! Texts as small numbers, in the order in which they were first seen.

use crate::scheduler::fingerprint::{fingerprint, scattered};

/// Marks a place that nobody has.
const NOBODY: u32 = u32::MAX;

/// Texts by number and numbers by text. Found by their fingerprints, in a row of places of which
/// at most half are taken: a tree of ids that begin alike is walked many times slower. Nothing
/// depends on the order of the places.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    texts: Vec<Box<str>>,
    /// Fingerprints of the texts.
    prints: Vec<u64>,
    /// Numbers, each at the first free place from the one that its fingerprint chooses. As many
    /// as a power of two.
    places: Vec<u32>,
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The number of a text that was seen.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.look_up(fingerprint(text), text)
    }

    fn look_up(&self, print: u64, text: &str) -> Option<u32> {
        let numbers = self
            .places_from(print)
            .map_while(|place| self.places.get(place).copied().filter(|number| *number != NOBODY));
        let mut alike = numbers.filter(|number| self.prints.get(*number as usize) == Some(&print));
        alike.find(|number| self.text(*number) == Some(text))
    }

    /// Every place once, from the one that a fingerprint chooses.
    fn places_from(&self, print: u64) -> impl Iterator<Item = usize> + use<> {
        let last = self.places.len().wrapping_sub(1);
        let first = usize::try_from(scattered(print) & u64::from(u32::MAX)).unwrap_or(0);
        (0..self.places.len()).map(move |step| first.wrapping_add(step) & last)
    }

    /// The number of a text, a new one if need be.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        let print = fingerprint(text);
        if let Some(number) = self.look_up(print, text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(NOBODY);
        self.texts.push(text.into());
        self.prints.push(print);
        if self.places.len() < 2 * self.texts.len() {
            self.places = vec![NOBODY; (4 * self.texts.len()).next_power_of_two()];
            for at in 0..self.texts.len() {
                self.take_place(u32::try_from(at).unwrap_or(NOBODY));
            }
        } else {
            self.take_place(number);
        }
        number
    }

    fn take_place(&mut self, number: u32) {
        let print = self.prints.get(number as usize).copied().unwrap_or_default();
        let free = self.places_from(print).find(|place| self.places.get(*place) == Some(&NOBODY));
        if let Some(place) = free.and_then(|place| self.places.get_mut(place)) {
            *place = number;
        }
    }

    /// The text of a number.
    pub(super) fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).map(|text| &**text)
    }

    /// Texts from a number on.
    pub(super) fn texts_from(&self, number: usize) -> &[Box<str>] {
        self.texts.get(number..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_keeps_its_number() {
        let mut names = Names::default();
        assert_eq!(names.find("agent-0"), None);
        for round in 0..2 {
            for at in 0..1_000 {
                assert_eq!(names.number(&format!("agent-{at}")), at, "round {round}");
            }
        }
        assert_eq!((names.len(), names.find("agent-7"), names.find("agent-x")), (1_000, Some(7), None));
        assert_eq!(names.texts_from(999).iter().map(|text| &**text).collect::<Vec<_>>(), ["agent-999"]);
    }
}
