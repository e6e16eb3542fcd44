//! An error and all its sources on one line.

use std::error::Error;
use std::fmt;

/// Longest chain shown; deeper ones are loops or noise.
const SOURCES_MAX: usize = 16;

/// Shows `error` as `what: why: why of that`. Errors keep their source and do not repeat it,
/// so this is where a log line gets the whole story.
pub fn error_chain<'a>(error: &'a (dyn Error + 'a)) -> impl fmt::Display + 'a {
    Chain(error)
}

struct Chain<'a>(&'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        for _ in 0..SOURCES_MAX {
            let Some(source) = next else { break };
            write!(f, ": {source}")?;
            next = source.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("write the log")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn sources_follow_their_error() {
        let error = Outer(std::io::Error::other("disk full"));
        assert_eq!(error_chain(&error).to_string(), "write the log: disk full");
    }
}
