//! Regular expressions that people write into placement rules.
//!
//! Matching takes time in proportion to the text, whatever the pattern says, and a pattern's
//! size is bounded: no rule can hold a master up. What that costs is look-around and
//! back-references, which Java knows and nobody needs for the name of a rack.

use regex::{Regex, RegexBuilder};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4_096;
/// Largest compiled form, in bytes. It bounds the time, too: about 2 ms for the worst pattern,
/// while every other change of the cluster waits for its turn.
const COMPILED_BYTES_MAX: usize = 256 << 10;

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
        // By itself first: what is only right between our brackets is wrong.
        compile(text)?;
        Ok(Self(compile(&format!(r"\A(?:{text})\z"))?))
    }

    /// Whether it matches all of `text`, as Java's `matches`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn compile(text: &str) -> Result<Regex, PatternError> {
    let built = RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
        other if is_beyond_us(&other.to_string()) => PatternError::LookAround,
        _ => PatternError::Syntax,
    })
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
    fn a_pattern_made_to_be_slow_is_not() {
        check("(a*)*b", &"a".repeat(100_000), false);
        check("(a|a)*c", &"a".repeat(100_000), false);
    }
}
