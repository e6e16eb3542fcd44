//! Which agents may have become better for somebody, in order.

/// Entries kept beside a quarter of the agents.
const ENTRIES_MIN: usize = 1_024;

/// A log of agents whose room grew or whose facts changed. What was concluded about all agents
/// at one position holds later too, but for the agents logged since.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    log: Vec<u32>,
    /// Position of the first entry that is kept.
    base: u64,
}

impl Growth {
    /// Logs an agent; of `agents` in all. A log that became longer than looking at everybody would
    /// be worth is forgotten.
    pub(super) fn note(&mut self, agent: u32, agents: usize) {
        if self.log.len() >= agents / 4 + ENTRIES_MIN {
            self.base = self.end().saturating_add(1);
            self.log.clear();
        }
        self.log.push(agent);
    }

    /// Position after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.base.saturating_add(self.log.len() as u64)
    }

    /// Agents logged since a position; nothing when that is forgotten.
    pub(super) fn since(&self, position: u64) -> Option<&[u32]> {
        let from = usize::try_from(position.checked_sub(self.base)?).ok()?;
        self.log.get(from..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_unknown() {
        let mut growth = Growth::default();
        let start = growth.end();
        growth.note(7, 0);
        let then = growth.end();
        growth.note(8, 0);
        assert_eq!((growth.since(start), growth.since(then)), (Some(&[7, 8][..]), Some(&[8][..])));
        for agent in 0..2_000 {
            growth.note(agent, 0);
        }
        assert_eq!(growth.since(then), None);
        assert_eq!(growth.since(growth.end()), Some(&[][..]));
    }
}
