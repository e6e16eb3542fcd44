//! What keeps an agent from starting tasks for a while, as it finds out itself.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::id::TaskId;

/// Longest text of one hindrance, in characters: a sentence with a path and an error.
pub const HINDRANCE_CHARS_MAX: usize = 400;
/// Most tasks that an agent names beside its hindrances: twice as many as it starts at the same time.
pub const MAY_RUN_MAX: usize = 64;

/// What keeps an agent from starting tasks now, for people. What runs there runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hindrances {
    /// Why it can start nothing, such as a disk that takes no records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<String>,
    /// Why it can start no container, such as an engine that does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<String>,
    /// Tasks of which something runs there already, or may, and for the same reason nothing is told;
    /// the first [`MAY_RUN_MAX`]. Agents did not always name them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub may_run: BTreeSet<TaskId>,
}

impl Hindrances {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_none() && self.containers.is_none()
    }

    /// The reasons, all of them.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.tasks.iter().chain(&self.containers)
    }
}

/// `text` no longer than [`HINDRANCE_CHARS_MAX`], and on one line.
pub fn hindrance(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(HINDRANCE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hindrance_is_one_line_of_bounded_length() {
        assert_eq!(hindrance(" no\nroom\tleft "), "no room left");
        assert_eq!(hindrance(&"é".repeat(9_999)).chars().count(), HINDRANCE_CHARS_MAX);
    }
}
