//! Texts as small numbers, in the order in which they were first seen.

use std::collections::BTreeSet;

use crate::scheduler::fingerprint::fingerprint;

/// Texts by number and numbers by text. Texts are found by their fingerprint first: a tree of
/// numbers is walked many times faster than a tree of ids that begin alike.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    texts: Vec<Box<str>>,
    by_fingerprint: BTreeSet<(u64, u32)>,
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The number of a text that was seen.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let print = fingerprint(text);
        let alike = self.by_fingerprint.range((print, 0)..=(print, u32::MAX)).map(|(_, number)| *number);
        alike.into_iter().find(|number| self.text(*number) == Some(text))
    }

    /// The number of a text, a new one if need be.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.find(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.by_fingerprint.insert((fingerprint(text), number));
        number
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
