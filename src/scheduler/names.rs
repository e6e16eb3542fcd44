//! Texts as small numbers, in the order in which they were first seen.

use super::index::{Index, print_of};

/// Texts by number and numbers by text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    texts: Vec<Box<str>>,
    index: Index,
}

impl Names {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The number of a text that was seen.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.index.find(print_of(text), |number| self.text(number) == Some(text))
    }

    /// The number of a text, a new one if need be.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        let print = print_of(text);
        if let Some(number) = self.index.find(print, |number| self.text(number) == Some(text)) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.into());
        self.index.insert(print, number);
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
