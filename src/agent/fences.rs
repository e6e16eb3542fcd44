//! Whom the agent heeds: the highest term it has seen, and the newest list of that term.
//!
//! Pure. Way in: [`Fences::meet`]. Source: architecture, "Fencing".

use crate::protocol::Fence;
use crate::world::mutation;

/// What the agent has seen so far.
#[derive(Debug)]
pub(super) struct Fences {
    seen: Option<Fence>,
    /// Index of the newest list of assignments in this term. Lists are compared with lists
    /// alone: an acknowledgement may overtake one.
    listed: u64,
}

/// How the sender of a fence stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The leader that is known.
    Known,
    /// A later leader: its fence is to be kept before anything is done for it.
    Newer,
    /// Not to be heeded; why, for people.
    Over(String),
}

impl Fences {
    pub(super) fn new(seen: Option<Fence>) -> Self {
        Self { seen, listed: 0 }
    }

    pub(super) fn seen(&self) -> Option<&Fence> {
        self.seen.as_ref()
    }

    /// Judges the sender of `fence` and remembers what it says.
    pub(super) fn meet(&mut self, fence: &Fence) -> Standing {
        let Some(seen) = &mut self.seen else {
            self.seen = Some(fence.clone());
            return Standing::Newer;
        };
        if seen.cluster != fence.cluster {
            return Standing::Over(format!(
                "this agent belongs to cluster {}, the master to {}: point --masters at the right \
                 cluster, or give the agent an empty --data-dir to move it",
                seen.cluster, fence.cluster
            ));
        }
        let (known, said) = ((seen.epoch, seen.term), (fence.epoch, fence.term));
        if said < known && !mutation::skips_term_check() {
            return Standing::Over(format!("its term {} is over, term {} is known", fence.term, seen.term));
        }
        // Here that means later, unless the simulator left the check out: then the last one
        // to speak is heeded.
        if said != known {
            *seen = fence.clone();
            self.listed = 0;
            return Standing::Newer;
        }
        seen.index = seen.index.max(fence.index);
        Standing::Known
    }

    /// Whether a list of the known leader is at least as new as the last one.
    pub(super) fn takes_list(&mut self, fence: &Fence) -> bool {
        let takes = fence.index >= self.listed;
        if takes {
            self.listed = fence.index;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ClusterId;

    fn fence(epoch: u64, term: u64, index: u64) -> Fence {
        Fence { cluster: ClusterId::new("c"), epoch, term, index }
    }

    #[test]
    fn later_terms_and_epochs_win_for_ever() {
        let mut fences = Fences::new(None);
        assert_eq!(fences.meet(&fence(1, 3, 10)), Standing::Newer);
        assert_eq!(fences.meet(&fence(1, 3, 4)), Standing::Known);
        assert!(matches!(fences.meet(&fence(1, 2, 99)), Standing::Over(_)));
        assert_eq!(fences.meet(&fence(2, 1, 0)), Standing::Newer);
        assert!(matches!(fences.meet(&fence(1, 9, 99)), Standing::Over(_)));
        let other = Fence { cluster: ClusterId::new("d"), ..fence(9, 9, 9) };
        assert!(matches!(fences.meet(&other), Standing::Over(_)));
        assert_eq!(fences.seen(), Some(&fence(2, 1, 0)));
    }

    #[test]
    fn lists_only_grow_newer_within_a_term() {
        let mut fences = Fences::new(None);
        fences.meet(&fence(1, 1, 5));
        assert!(fences.takes_list(&fence(1, 1, 5)) && fences.takes_list(&fence(1, 1, 5)));
        assert!(!fences.takes_list(&fence(1, 1, 4)));
        fences.meet(&fence(1, 2, 1));
        assert!(fences.takes_list(&fence(1, 2, 1)));
    }
}
