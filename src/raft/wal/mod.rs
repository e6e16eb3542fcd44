//! The durable log: numbered segment files of checksummed records.
//!
//! `[len][crc32][record]`, records in named fields (`state::codec`). A segment opens with
//! a magic word and a `Header` record, so that older segments can go. [`recover`] reads
//! what is there; [`writer::Writer`] appends in groups, one fsync each, and gives up for
//! ever after a failed one: what the kernel holds is then unknown. Knows no Raft rule.

pub(super) mod frame;
pub(super) mod recover;
pub(super) mod segment;
pub(super) mod writer;

use serde::{Deserialize, Serialize};

use super::mirror::{EntryRecord, LogIdRecord, VoteRecord};

/// One record. A changed meaning is a new variant; a variant only gains fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// First in a segment: what earlier segments say besides entries.
    Header(Header),
    /// Newest vote.
    Vote(VoteRecord),
    /// One more entry, right behind the latest.
    Entry(EntryRecord),
    /// Entries behind this one are void; all are when there is none.
    TruncateAfter(Option<LogIdRecord>),
    /// Entries up to this one are in a snapshot.
    Purge(LogIdRecord),
    /// Entries up to this one are on a majority. May lag: it is not synced by itself.
    Committed(Option<LogIdRecord>),
    /// First in a group: bytes of this segment that were durable before the group was
    /// written. Damage below it is no torn end.
    Synced(u64),
}

/// What a log says besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) vote: Option<VoteRecord>,
    pub(crate) committed: Option<LogIdRecord>,
    pub(crate) purged: Option<LogIdRecord>,
}

impl Header {
    /// Takes a record into account.
    pub(crate) fn note(&mut self, record: &Record) {
        match record {
            Record::Header(header) => *self = *header,
            Record::Vote(vote) => self.vote = Some(*vote),
            Record::Purge(upto) => self.purged = Some(*upto),
            Record::Committed(upto) => self.committed = *upto,
            Record::Entry(_) | Record::TruncateAfter(_) | Record::Synced(_) => {}
        }
    }
}
