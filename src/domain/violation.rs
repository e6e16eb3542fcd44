//! Rules of a spec that are broken, named by JSON path.

use std::fmt;

/// One broken rule. Reaches people as HTTP 422.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Where: `/` for the whole object, `/field/sub`, list elements as `/list(0)`. Source: spec 1.2.
    pub path: String,
    /// What was expected.
    pub message: String,
}

impl Violation {
    /// A broken rule at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}
