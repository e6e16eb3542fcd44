//! Reads a log directory on start: every record in order, a torn end cut away.
//!
//! Only the end of the last segment may be torn, behind what was synced: that is what a
//! crash leaves. Anything else unreadable is damage to what was promised, and the start is
//! refused.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Header, Record, frame, segment};
use crate::raft::mirror::EntryRecord;
use crate::state::codec;
use crate::world::fs::{self, OpenOptions};

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system said no.
    #[error("use the log in '{}': {source}", path.display())]
    Io {
        /// Directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Recorded bytes are damaged.
    #[error(
        "read log segment '{}' at byte {offset}: {reason}; the disk lost recorded data: move this data \
         directory away, start the master with an empty one and replace the old member by the new one",
        path.display()
    )]
    Damaged {
        /// Segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// There is none, and there was one.
    #[error(
        "read the log in '{}': it is missing or empty, though this master has taken part in a quorum; the disk \
         lost recorded data: if other masters are left, move this data directory away, start the master with \
         an empty one and replace the old member by the new one; if it was the only one, bring its log back \
         from a backup, or move the directory away to begin anew",
        path.display()
    )]
    Lost {
        /// Directory of the log.
        path: PathBuf,
    },
}

/// What a log directory says.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// All but entries.
    pub(crate) header: Header,
    /// Entries that are not purged, by index.
    pub(crate) entries: BTreeMap<u64, EntryRecord>,
    /// Segments in order, each with the highest index of an entry in it.
    pub(crate) segments: Vec<(u64, u64)>,
    /// Where the next record goes in the last segment.
    pub(crate) end: u64,
}

/// Reads every segment in `dir`, which must exist.
///
/// # Errors
/// [`LogError`]; nothing was changed then.
pub(crate) fn recover(dir: &Path) -> Result<Recovered, LogError> {
    let numbers = segment::list(dir).map_err(|source| LogError::Io { path: dir.into(), source })?;
    let mut found = Recovered::default();
    for (at, number) in numbers.iter().enumerate() {
        let expected = numbers.first().map_or(0, |first| first + at as u64);
        let path = segment::path(dir, expected);
        if *number != expected {
            return Err(LogError::Damaged { path, offset: 0, reason: "the segment is missing".into() });
        }
        read_segment(&mut found, &path, at + 1 == numbers.len())?;
        if let Some(last) = found.segments.last_mut() {
            last.0 = *number;
        }
    }
    check_for_holes(dir, &found)?;
    Ok(found)
}

fn read_segment(found: &mut Recovered, path: &Path, is_last: bool) -> Result<(), LogError> {
    let bytes = fs::read(path).map_err(|source| LogError::Io { path: path.into(), source })?;
    let damaged = |offset: usize, reason: &str| LogError::Damaged {
        path: path.into(),
        offset: offset as u64,
        reason: reason.to_owned(),
    };
    found.segments.push((0, 0));
    let magic = bytes.get(..segment::MAGIC.len()).unwrap_or(&bytes);
    let mut offset = segment::MAGIC.len();
    if magic != segment::MAGIC {
        // A crash between creating the last segment and its first sync leaves no header.
        if !is_last || !is_torn_magic(magic) {
            return Err(damaged(0, "this is no log segment of a version known here"));
        }
        return cut(found, path, 0, bytes.len());
    }
    loop {
        match frame::next(&bytes, offset) {
            frame::Next::Record(body, next) => {
                let record = codec::decode("log record", body).map_err(|error| {
                    damaged(offset, &format!("a whole record that cannot be read ({})", error.source))
                })?;
                take(found, record);
                offset = next;
            }
            frame::Next::End => break,
            frame::Next::Torn if is_last && !frame::was_durable(&bytes, offset) => {
                return cut(found, path, offset, bytes.len());
            }
            frame::Next::Torn => return Err(damaged(offset, "checksum does not match")),
        }
    }
    found.end = end(offset);
    Ok(())
}

/// Where to go on. A segment whose header was torn gets a new one, since the segments before
/// it, which know the vote, will go.
fn end(offset: usize) -> u64 {
    if offset > segment::MAGIC.len() { offset as u64 } else { 0 }
}

fn is_torn_magic(magic: &[u8]) -> bool {
    magic.iter().zip(segment::MAGIC).all(|(found, wanted)| *found == 0 || found == wanted)
}

/// Voids everything behind `offset`, so that no old bytes can follow what is written next.
fn cut(found: &mut Recovered, path: &Path, offset: usize, len: usize) -> Result<(), LogError> {
    let work = || -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.set_len(offset as u64)?;
        file.set_len(len as u64)?;
        file.sync_all()
    };
    work().map_err(|source| LogError::Io { path: path.into(), source })?;
    found.end = end(offset);
    Ok(())
}

fn take(found: &mut Recovered, record: Record) {
    found.header.note(&record);
    match record {
        Record::Entry(entry) => {
            if let Some((_, highest)) = found.segments.last_mut() {
                *highest = entry.index.max(*highest);
            }
            found.entries.insert(entry.index, entry);
        }
        Record::TruncateAfter(last) => {
            found.entries.split_off(&last.map_or(0, |id| id.index + 1));
        }
        Record::Purge(upto) => found.entries = found.entries.split_off(&(upto.index + 1)),
        Record::Header(Header { purged: Some(upto), .. }) => {
            found.entries = found.entries.split_off(&(upto.index + 1));
        }
        Record::Header(_) | Record::Vote(_) | Record::Committed(_) | Record::Synced(_) => {}
    }
}

fn check_for_holes(dir: &Path, found: &Recovered) -> Result<(), LogError> {
    let mut previous: Option<u64> = None;
    for index in found.entries.keys() {
        if let Some(before) = previous.filter(|before| before + 1 != *index) {
            let reason = format!("entry {index} follows entry {before}");
            return Err(LogError::Damaged { path: dir.into(), offset: 0, reason });
        }
        previous = Some(*index);
    }
    Ok(())
}
