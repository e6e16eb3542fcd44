//! Whether a master's own copy of the state stands for the cluster.
//!
//! A disk tells who belonged to the quorum when it was written. That the others gave its place
//! away since then, it cannot know: only a leader that still counts on this master, or another
//! member that says otherwise, can tell.

use super::messages::LeaderRecord;

/// Whether a master's own copy of the state stands for the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// A member, as far as it knows, whose copy does not reach its own taking in yet: what the
    /// copy lacks may have been there long before. Or it has asked nobody yet.
    #[default]
    CatchingUp,
    /// No member: it was never taken in, or let go.
    Stranger,
    /// Its own disk has it for a member; another member knows better.
    Replaced,
    /// A member by its own disk, in which nobody has contradicted it, and without a word of a
    /// leader since it started.
    Unheard,
    /// A member with a copy that may lag, but was the cluster's state once.
    Member,
}

/// What others have told this master since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hearsay {
    /// A leader wrote to it.
    pub(crate) from_leader: bool,
    /// It has asked all the others who they are, of whom some may not have answered.
    pub(crate) has_asked: bool,
    /// Entries up to the one with the latest members of which it is none, as another master knows them.
    pub(crate) left_out_at: Option<u64>,
    /// Who leads, as the master that knows of the latest term tells.
    pub(crate) leader: Option<LeaderRecord>,
}

/// What a master's own disk and state machine say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnKnowledge {
    /// It is among the latest members that its log holds.
    pub(crate) is_member: bool,
    /// Entries up to the one with those members.
    pub(crate) members_at: u64,
    /// Its copy of the state reaches that entry.
    pub(crate) has_applied: bool,
    /// It leads.
    pub(crate) leads: bool,
}

impl Standing {
    /// What follows from what is known now. Who has caught up once stays a member through later
    /// changes of the membership, which are in its log before it has applied them.
    pub(crate) fn next(self, own: OwnKnowledge, hearsay: &Hearsay) -> Self {
        if !own.is_member {
            return Self::Stranger;
        }
        if hearsay.left_out_at.is_some_and(|at| at > own.members_at) {
            return Self::Replaced;
        }
        match self {
            Self::Member => Self::Member,
            _ if !own.has_applied => Self::CatchingUp,
            _ if own.leads || hearsay.from_leader => Self::Member,
            _ if hearsay.has_asked => Self::Unheard,
            _ => Self::CatchingUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: OwnKnowledge =
        OwnKnowledge { is_member: true, members_at: 10, has_applied: true, leads: false };

    #[test]
    fn a_disk_alone_does_not_make_a_member() {
        let mut heard = Hearsay::default();
        assert_eq!(Standing::default().next(OWN, &heard), Standing::CatchingUp);
        heard.has_asked = true;
        assert_eq!(Standing::default().next(OWN, &heard), Standing::Unheard);
        heard.from_leader = true;
        assert_eq!(Standing::Unheard.next(OWN, &heard), Standing::Member);
        assert_eq!(
            Standing::default().next(OwnKnowledge { leads: true, ..OWN }, &Hearsay::default()),
            Standing::Member
        );
        let behind = OwnKnowledge { has_applied: false, ..OWN };
        assert_eq!(Standing::Unheard.next(behind, &heard), Standing::CatchingUp);
        assert_eq!(Standing::Member.next(behind, &heard), Standing::Member);
    }

    #[test]
    fn later_members_than_ones_own_count_and_earlier_ones_do_not() {
        let without_us =
            |at| Hearsay { has_asked: true, left_out_at: Some(at), from_leader: true, leader: None };
        assert_eq!(Standing::Unheard.next(OWN, &without_us(11)), Standing::Replaced);
        assert_eq!(Standing::Member.next(OWN, &without_us(11)), Standing::Replaced);
        assert_eq!(Standing::Member.next(OWN, &without_us(10)), Standing::Member);
        let again = OwnKnowledge { members_at: 12, has_applied: false, ..OWN };
        assert_eq!(Standing::Replaced.next(again, &without_us(11)), Standing::CatchingUp);
        let out = OwnKnowledge { is_member: false, ..OWN };
        assert_eq!(Standing::Member.next(out, &without_us(11)), Standing::Stranger);
    }
}
