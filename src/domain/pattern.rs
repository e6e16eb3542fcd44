//! Regular expressions that people write into placement rules.
//!
//! Matching takes time in proportion to the text, whatever the pattern says, and a pattern's
//! size is bounded: no rule can hold a master up. What that costs is look-around and
//! back-references, which Java knows and nobody needs for the name of a rack.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4_096;
/// Largest compiled form, in bytes. It bounds the time, too: about 1 ms for the worst pattern.
const COMPILED_BYTES_MAX: usize = 128 << 10;
/// Memory that matching with one pattern may use to go faster, in bytes.
const MATCHING_BYTES_MAX: usize = 256 << 10;
/// Patterns that stay compiled: what is asked of one app again and again costs once.
const KEPT_MAX: usize = 1_024;

/// The latest patterns that were read, and what came of each. Only saves time: reading one anew
/// gives the same.
static KEPT: Mutex<Kept> = Mutex::new(Kept { by_text: BTreeMap::new(), in_order: VecDeque::new() });

struct Kept {
    by_text: BTreeMap<String, Result<Pattern, PatternError>>,
    /// Oldest first.
    in_order: VecDeque<String>,
}

/// A regular expression that has to match the whole of a text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not parse.
    #[error("is not a valid regular expression")]
    Syntax,
    /// It parses where Java does, but not here.
    #[error("is not a valid regular expression here: look-around and back-references are not supported")]
    LookAround,
    /// It is too long, or becomes too large.
    #[error("is not a valid regular expression here: it is too large")]
    TooLarge,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`]: a sentence to be put after what was given.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLarge);
        }
        if let Some(known) = with_kept(|kept| kept.by_text.get(text).cloned()) {
            return known;
        }
        let read = Self::read(text);
        with_kept(|kept| kept.keep(text, read.clone()));
        read
    }

    fn read(text: &str) -> Result<Self, PatternError> {
        // By itself first: what is only right between our brackets is wrong.
        if let Err(error) = regex_syntax::parse(text) {
            return Err(fault(&error.to_string()));
        }
        let mut builder = RegexBuilder::new(&format!(r"\A(?:{text})\z"));
        builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(MATCHING_BYTES_MAX);
        builder.build().map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            other => fault(&other.to_string()),
        })
    }

    /// Whether it matches all of `text`, as Java's `matches`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl Kept {
    fn keep(&mut self, text: &str, read: Result<Pattern, PatternError>) {
        if self.by_text.insert(text.to_owned(), read).is_none() {
            self.in_order.push_back(text.to_owned());
        }
        if self.in_order.len() > KEPT_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.by_text.remove(&oldest);
        }
    }
}

fn with_kept<T>(work: impl FnOnce(&mut Kept) -> T) -> T {
    work(&mut KEPT.lock().unwrap_or_else(PoisonError::into_inner))
}

fn fault(sentence: &str) -> PatternError {
    if is_beyond_us(sentence) { PatternError::LookAround } else { PatternError::Syntax }
}

/// Whether the library's sentence says that it knows the construct and leaves it out.
fn is_beyond_us(sentence: &str) -> bool {
    ["look-around", "look-ahead", "look-behind", "backreference"].iter().any(|word| sentence.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, wanted: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().matches(text), wanted, "{pattern:?} on {text:?}");
    }

    #[test]
    fn the_whole_text_has_to_match() {
        check("rack-[1-3]", "rack-2", true);
        check("rack-[1-3]", "rack-22", false);
        check("a|ab", "ab", true);
        check("^b|c$", "c", true);
        check(".*", "", true);
        check("(?i)RACK", "rack", true);
        check("é+", "éé", true);
    }

    #[track_caller]
    fn check_refused(pattern: &str, wanted: &PatternError) {
        assert_eq!(Pattern::parse(pattern).map(|_| ()).unwrap_err(), *wanted, "{pattern:?}");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        check_refused("*", &PatternError::Syntax);
        check_refused("a)|(b", &PatternError::Syntax);
        check_refused("[", &PatternError::Syntax);
        check_refused("(?=a)b", &PatternError::LookAround);
        check_refused(r"(a)\1", &PatternError::LookAround);
        check_refused(r"\w{5000}", &PatternError::TooLarge);
        check_refused(&"a".repeat(5_000), &PatternError::TooLarge);
    }

    #[test]
    fn no_more_patterns_stay_compiled_than_a_bound() {
        check("rack", "rack", true);
        // What is wrong is found out at once, and kept like the others.
        for number in 0..KEPT_MAX {
            check_refused(&format!("{number}("), &PatternError::Syntax);
        }
        let (texts, places) = with_kept(|kept| (kept.by_text.len(), kept.in_order.len()));
        assert_eq!((texts, places), (KEPT_MAX, KEPT_MAX));
        // One that was let go of is read anew.
        check("rack", "rack", true);
        check("rack", "rack1", false);
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        check("(a*)*b", &"a".repeat(100_000), false);
        check("(a|a)*c", &"a".repeat(100_000), false);
    }
}
