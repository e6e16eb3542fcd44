//! The `label` filter: `key`, `key==v`, `key!=v`, `key in (a,b)`, `key notin (a,b)`, joined by
//! commas that mean "and". Every form needs the key to be there. Source: spec 1.5.

use std::collections::BTreeMap;

/// Most terms of one filter.
const TERMS_MAX: usize = 64;

/// A parsed filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// Why a text is no filter. Becomes 422 with this message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Can not parse label selector {query}. Reason: {reason}.")]
pub struct SelectorError {
    query: String,
    reason: String,
}

impl Selector {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`SelectorError`] says what was expected where.
    pub fn parse(query: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: query, read: 0 };
        parser.terms().map(Self).map_err(|reason| SelectorError { query: query.to_owned(), reason })
    }

    /// Whether labels satisfy every term.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| {
            labels.get(&term.key).is_some_and(|value| match &term.test {
                Test::Exists => true,
                Test::In(values) => values.contains(value),
                Test::NotIn(values) => !values.contains(value),
            })
        })
    }
}

struct Parser<'a> {
    rest: &'a str,
    /// Characters read so far, for messages.
    read: usize,
}

impl Parser<'_> {
    fn terms(&mut self) -> Result<Vec<Term>, String> {
        let mut terms = vec![self.term()?];
        while self.eat(',') {
            if terms.len() >= TERMS_MAX {
                return Err(format!("more than {TERMS_MAX} terms"));
            }
            terms.push(self.term()?);
        }
        if self.rest.is_empty() { Ok(terms) } else { Err(self.expected("',' or the end")) }
    }

    fn term(&mut self) -> Result<Term, String> {
        let key = self.word("a label's name")?;
        let test = self.test()?;
        Ok(Term { key, test })
    }

    fn test(&mut self) -> Result<Test, String> {
        if self.eat_text("==") {
            return Ok(Test::In(vec![self.word("a value")?]));
        }
        if self.eat_text("!=") {
            return Ok(Test::NotIn(vec![self.word("a value")?]));
        }
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(Test::Exists);
        }
        match self.word("an operator")?.as_str() {
            "in" => self.set().map(Test::In),
            "notin" => self.set().map(Test::NotIn),
            word => Err(format!("expected '==', '!=', 'in' or 'notin' instead of '{word}'")),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if !self.eat('(') {
            return Err(self.expected("'('"));
        }
        let mut values = vec![self.word("a value")?];
        while self.eat(',') {
            values.push(self.word("a value")?);
        }
        if self.eat(')') { Ok(values) } else { Err(self.expected("',' or ')'")) }
    }

    /// Letters, digits, `-`, `_`, `.`; anything else after a backslash.
    fn word(&mut self, what: &str) -> Result<String, String> {
        self.skip_spaces();
        let mut word = String::new();
        loop {
            let mut ahead = self.rest.chars();
            match ahead.next() {
                Some(c) if c.is_ascii_alphanumeric() || "-_.".contains(c) => {
                    word.push(c);
                    self.advance(c);
                }
                Some('\\') => {
                    let Some(escaped) = ahead.next() else {
                        return Err("nothing follows the last backslash".to_owned());
                    };
                    word.push(escaped);
                    self.advance('\\');
                    self.advance(escaped);
                }
                _ => break,
            }
        }
        if word.is_empty() {
            return Err(self.expected(what));
        }
        self.skip_spaces();
        Ok(word)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest.starts_with(c);
        if found {
            self.advance(c);
            self.skip_spaces();
        }
        found
    }

    fn eat_text(&mut self, text: &str) -> bool {
        let found = self.rest.starts_with(text);
        if found {
            text.chars().for_each(|c| self.advance(c));
        }
        found
    }

    fn skip_spaces(&mut self) {
        while self.rest.starts_with(' ') {
            self.advance(' ');
        }
    }

    fn advance(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        self.read += 1;
    }

    fn expected(&self, what: &str) -> String {
        match self.rest.chars().next() {
            Some(c) => format!("expected {what} at character {}, found '{c}'", self.read + 1),
            None => format!("expected {what} at the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Labels are written `name=value`.
    #[track_caller]
    fn check(query: &str, labels: &[&str], matches: bool) {
        let labels = labels.iter().map(|label| label.split_once('=').unwrap());
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(Selector::parse(query).unwrap().matches(&labels), matches, "{query}");
    }

    #[test]
    fn every_form_needs_the_key() {
        for query in ["foo", "foo==one", "foo!=one", "foo in (one)", "foo notin (one)"] {
            check(query, &[], false);
        }
        check("foo", &["foo=one"], true);
        check("foo==one", &["foo=one"], true);
        check("foo != one", &["foo=two"], true);
        check("foo!=one", &["foo=one"], false);
        check("foo in (one, two)", &["foo=two"], true);
        check("foo notin (one,two)", &["foo=two"], false);
        check("foo notin ( one )", &["foo=two"], true);
    }

    #[test]
    fn a_comma_means_and() {
        check("a, b==2", &["a=1", "b=2"], true);
        check("a,b==2", &["a=1", "b=3"], false);
        check("in in (in),notin", &["in=in", "notin=x"], true);
    }

    #[test]
    fn a_backslash_takes_any_character() {
        check(r"a\/b==x\,y\ z", &["a/b=x,y z"], true);
        check(r"a==\\", &[r"a=\"], true);
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        let reason = |query| Selector::parse(query).unwrap_err().to_string();
        assert_eq!(reason(""), "Can not parse label selector . Reason: expected a label's name at the end.");
        assert_eq!(
            reason("a==1,,b"),
            "Can not parse label selector a==1,,b. Reason: expected a label's name at character 6, found ','."
        );
        for bad in ["a b", "a in", "a in (", "a in ()", "a in (x", "a==", "=b", "a=b", "a\\", "a,", "(a)"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(query in ".{0,60}") {
            let _ = Selector::parse(&query);
        }
    }
}
