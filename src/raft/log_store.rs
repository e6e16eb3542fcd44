//! openraft's log over our files: entries are kept in memory, encoded, until purged.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

use super::data_dir::Identity;
use super::mirror::{self, EntryRecord};
use super::snapshots::aside;
use super::stats::Counters;
use super::types::{Entry, LogId, TypeConfig, Vote};
use super::wal::Record;
use super::wal::recover::{LogError, recover};
use super::wal::writer::{self, Append, Appender, Done, Writer};
use crate::world::fs::File;

/// Bytes of entries in one message to a peer, unless a single entry is larger. Far below
/// the line's frame limit, and small enough to be sent and synced within a heartbeat.
const BYTES_PER_READ_MAX: usize = 4 << 20;

/// What the log says, as the latest append left it.
#[derive(Default)]
struct Memory {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
}

impl Memory {
    fn keep(&mut self, entries: BTreeMap<u64, Entry>) {
        self.bytes = entries.values().map(mirror::bytes_of).sum();
        self.entries = entries;
    }

    fn truncate_after(&mut self, last: Option<LogId>) {
        let gone = self.entries.split_off(&last.map_or(0, |id| id.index + 1));
        self.bytes = self.bytes.saturating_sub(gone.values().map(mirror::bytes_of).sum());
    }

    fn purge(&mut self, upto: LogId) {
        let kept = self.entries.split_off(&(upto.index + 1));
        self.bytes = self.bytes.saturating_sub(self.entries.values().map(mirror::bytes_of).sum());
        self.entries = kept;
        self.purged = Some(upto);
    }
}

/// Reads entries; one per replication task.
#[derive(Clone)]
pub(crate) struct LogReader {
    memory: Arc<Mutex<Memory>>,
}

impl LogReader {
    /// Index of the last entry that has at least so many bytes of entries behind it.
    pub(crate) fn last_beyond(&self, bytes: usize) -> Option<u64> {
        let memory = self.memory();
        let mut behind = 0;
        memory.entries.iter().rev().find_map(|(index, entry)| {
            let is_beyond = behind >= bytes;
            behind += mirror::bytes_of(entry);
            is_beyond.then_some(*index)
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log.
pub(crate) struct LogStore {
    reader: LogReader,
    appender: Appender,
    counters: Arc<Counters>,
    /// Has to hear of the first thing that is recorded.
    unaware: Option<Identity>,
}

impl LogStore {
    /// Opens the log in `dir`, which must exist, and starts its writer, which holds `lock`.
    /// The channel closes when the writer has ended.
    ///
    /// # Errors
    /// [`LogError`] when the files cannot be used or are damaged.
    pub(crate) fn open(
        dir: &Path,
        segment_bytes: u64,
        counters: Arc<Counters>,
        lock: Option<File>,
    ) -> Result<(Self, oneshot::Receiver<()>), LogError> {
        let mut found = recover(dir)?;
        let io_error = |source| LogError::Io { path: dir.to_owned(), source };
        let writer =
            Writer::open(dir, segment_bytes, &found, Arc::clone(&counters), lock).map_err(io_error)?;
        let (appender, ended) = writer::start(writer).map_err(io_error)?;
        let mut memory = Memory {
            vote: found.header.vote.map(Into::into),
            committed: found.header.committed.map(Into::into),
            purged: found.header.purged.map(Into::into),
            ..Memory::default()
        };
        let entries = std::mem::take(&mut found.entries);
        memory.keep(entries.into_iter().map(|(index, record)| (index, record.into())).collect());
        let store = Self {
            reader: LogReader { memory: Arc::new(Mutex::new(memory)) },
            appender,
            counters,
            unaware: None,
        };
        store.count();
        Ok((store, ended))
    }

    /// Lets `identity` remember that there is a log in `dir`, from the moment there is one.
    ///
    /// # Errors
    /// [`LogError::Lost`] when it remembers one and there is none.
    pub(crate) fn known_to(mut self, identity: Identity, dir: &Path) -> Result<Self, LogError> {
        match (identity.has_log(), self.is_empty()) {
            (true, true) => return Err(LogError::Lost { path: dir.to_owned() }),
            (true, false) => {}
            (false, true) => self.unaware = Some(identity),
            (false, false) => {
                identity.note_log().map_err(|source| LogError::Io { path: dir.to_owned(), source })?;
            }
        }
        Ok(self)
    }

    fn is_empty(&self) -> bool {
        let memory = self.reader.memory();
        memory.vote.is_none() && memory.purged.is_none() && memory.entries.is_empty()
    }

    /// Reads entries beside openraft.
    pub(crate) fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    fn count(&self) {
        let memory = self.reader.memory();
        self.counters.log_entries.store(memory.entries.len() as u64, Ordering::Relaxed);
        self.counters.log_bytes.store(memory.bytes as u64, Ordering::Relaxed);
    }

    async fn send(&self, append: Append) -> io::Result<()> {
        self.appender.send(append).await.map_err(|_| stopped())
    }

    async fn record_durably(&self, record: Record) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        self.send(Append::of(&[record], true, Done::Caller(done))).await?;
        outcome.await.map_err(|_| stopped())?
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log's writer has stopped after an earlier failure to write")
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        if is_empty(bounds) {
            return Ok(Vec::new());
        }
        Ok(self.memory().entries.range(bounds).map(|(_, entry)| entry.clone()).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let memory = self.memory();
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in memory.entries.range(start..end).map(|(_, entry)| entry) {
            bytes += mirror::bytes_of(entry);
            if !entries.is_empty() && bytes > BYTES_PER_READ_MAX {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.memory().vote)
    }
}

/// `BTreeMap::range` panics on these.
fn is_empty(bounds: (Bound<u64>, Bound<u64>)) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Excluded(end)) => start >= end,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Excluded(start), Bound::Excluded(end) | Bound::Included(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let memory = self.reader.memory();
        let last = memory.entries.values().next_back().map(RaftEntry::log_id);
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: last.or(memory.purged) })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.reader.memory().vote = Some(*vote);
        self.record_durably(Record::Vote((*vote).into())).await?;
        // Whoever takes part in anything has voted, or taken up a leader's vote, before.
        match self.unaware.take() {
            Some(identity) => aside(move || identity.note_log()).await,
            None => Ok(()),
        }
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.reader.memory().committed = committed;
        let record = Record::Committed(committed.map(Into::into));
        self.send(Append::of(&[record], false, Done::Nobody)).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.reader.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let records: Vec<Record> =
            entries.iter().map(|entry| Record::Entry(EntryRecord::from(entry))).collect();
        {
            let mut memory = self.reader.memory();
            for entry in entries {
                memory.bytes += mirror::bytes_of(&entry);
                memory.entries.insert(entry.index(), entry);
            }
        }
        self.count();
        self.send(Append::of(&records, true, Done::Entries(callback))).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.reader.memory().truncate_after(last);
        self.count();
        self.record_durably(Record::TruncateAfter(last.map(Into::into))).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.reader.memory().purge(upto);
        self.count();
        self.record_durably(Record::Purge(upto.into())).await
    }
}
