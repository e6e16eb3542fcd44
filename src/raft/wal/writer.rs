//! Appends records: whatever waits becomes one write and one fsync, then all are told.
//!
//! A thread of its own in real builds, a task in the simulator, where a sync takes 2 ms
//! and a crash before it loses the bytes.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::recover::Recovered;
use super::segment::{self, Prepared};
use super::{Header, Record, frame};
use crate::raft::stats::Counters;
use crate::raft::types::TypeConfig;
use crate::world::fs::{self, File, FileExt, OpenOptions};
use crate::world::mutation;

/// Operations that may wait for the writer; openraft waits for a place beyond it.
const WAITING_MAX: usize = 1024;

/// Bytes per fsync at most, so that the first in a group does not wait for ever.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Room for the mark before each group.
const MARK_BYTES: usize = 32;

/// How long the simulated disk takes to sync.
#[cfg(feature = "sim")]
const SIMULATED_SYNC: std::time::Duration = std::time::Duration::from_millis(2);

/// Something to append.
pub(crate) struct Append {
    frames: Vec<u8>,
    /// Changes of the header that the records make, in order.
    notes: Vec<Record>,
    highest: Option<u64>,
    purge: Option<u64>,
    sync: bool,
    done: Done,
}

/// Who waits.
pub(crate) enum Done {
    /// Nobody.
    Nobody,
    /// openraft, for entries.
    Entries(IOFlushed<TypeConfig>),
    /// A caller.
    Caller(oneshot::Sender<io::Result<()>>),
}

impl Append {
    /// A record to be appended; `sync` makes it durable before `done` is told.
    pub(crate) fn of(records: &[Record], sync: bool, done: Done) -> Self {
        let mut append =
            Self { frames: Vec::new(), notes: Vec::new(), highest: None, purge: None, sync, done };
        for record in records {
            frame::push(&mut append.frames, record);
            match record {
                Record::Entry(entry) => append.highest = append.highest.max(Some(entry.index)),
                Record::Purge(upto) => append.purge = Some(upto.index),
                _ => {}
            }
            if !matches!(record, Record::Entry(_) | Record::TruncateAfter(_)) {
                append.notes.push(record.clone());
            }
        }
        append
    }
}

/// The way to the writer. When the last one is gone, the writer ends.
pub(crate) type Appender = mpsc::Sender<Append>;

/// Owns the files.
pub(crate) struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    file: File,
    at: u64,
    /// Bytes of this segment that are durable.
    synced: u64,
    header: Header,
    segments: VecDeque<(u64, u64)>,
    prepared: Prepared,
    counters: Arc<Counters>,
    /// Held until the last byte is written.
    _lock: Option<File>,
}

impl Writer {
    /// Continues the log in `dir` where it ends.
    pub(crate) fn open(
        dir: &Path,
        segment_bytes: u64,
        found: &Recovered,
        counters: Arc<Counters>,
        lock: Option<File>,
    ) -> io::Result<Self> {
        let mut segments: VecDeque<(u64, u64)> = found.segments.iter().copied().collect();
        let file = match segments.back() {
            Some((number, _)) => {
                OpenOptions::new().read(true).write(true).open(segment::path(dir, *number))?
            }
            None => {
                segments.push_back((0, 0));
                segment::create(dir, 0)?
            }
        };
        let mut writer = Self {
            dir: dir.to_owned(),
            segment_bytes,
            file,
            at: found.end,
            synced: 0,
            header: found.header,
            segments,
            prepared: Prepared::default(),
            counters,
            _lock: lock,
        };
        if writer.at == 0 {
            writer.write_header()?;
        }
        // What was read may have been in the kernel's memory only.
        writer.file.sync_all()?;
        writer.synced = writer.at;
        writer.counters.segments.store(writer.segments.len() as u64, Ordering::Relaxed);
        Ok(writer)
    }

    fn write_header(&mut self) -> io::Result<()> {
        let mut bytes = segment::MAGIC.to_vec();
        frame::push(&mut bytes, &Record::Header(self.header));
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes a group; it is not durable yet.
    fn write(&mut self, group: &[Append]) -> io::Result<()> {
        let size: usize = group.iter().map(|append| append.frames.len()).sum();
        if self.at + size as u64 > self.segment_bytes {
            self.rotate()?;
        }
        let mut bytes = Vec::with_capacity(size + MARK_BYTES);
        frame::push(&mut bytes, &Record::Synced(self.synced));
        group.iter().for_each(|append| bytes.extend_from_slice(&append.frames));
        self.put(&bytes)?;
        if self.at > self.segment_bytes / 2 {
            self.prepared.begin(&self.dir, self.segment_bytes);
        }
        for append in group {
            append.notes.iter().for_each(|record| self.header.note(record));
            if let Some((_, highest)) = self.segments.back_mut() {
                *highest = append.highest.unwrap_or(0).max(*highest);
            }
        }
        self.counters.records.fetch_add(group.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Closes the segment, whole and durable, and opens the next with a header.
    fn rotate(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let number = self.segments.back().map_or(0, |(number, _)| number + 1);
        self.file = self.prepared.take(&self.dir, number)?;
        self.at = 0;
        self.synced = 0;
        self.segments.push_back((number, 0));
        self.write_header()?;
        self.counters.segments.store(self.segments.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if mutation::skips_fsync() {
            return Ok(());
        }
        let started = Instant::now();
        self.file.sync_data()?;
        self.synced = self.at;
        self.counters.fsynced(started.elapsed());
        Ok(())
    }

    /// Removes segments that hold nothing above `purged`.
    fn remove_purged(&mut self, purged: u64) -> io::Result<()> {
        let mut removed = false;
        while self.segments.len() > 1 && self.segments.front().is_some_and(|(_, highest)| *highest <= purged)
        {
            if let Some((number, _)) = self.segments.pop_front() {
                fs::remove_file(segment::path(&self.dir, number))?;
                removed = true;
            }
        }
        if removed {
            fs::sync_dir(&self.dir)?;
            self.counters.segments.store(self.segments.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn finish(&mut self, group: &[Append]) -> io::Result<()> {
        if group.iter().any(|append| append.sync) {
            self.sync()?;
        }
        match group.iter().filter_map(|append| append.purge).max() {
            Some(purged) => self.remove_purged(purged),
            None => Ok(()),
        }
    }
}

/// Takes what waits behind `first`, up to a group.
fn gather(first: Append, waiting: &mut mpsc::Receiver<Append>) -> Vec<Append> {
    let mut bytes = first.frames.len();
    let mut group = vec![first];
    while bytes < GROUP_BYTES_MAX {
        let Ok(append) = waiting.try_recv() else { break };
        bytes += append.frames.len();
        group.push(append);
    }
    group
}

/// Tells everybody in a group how it went; says whether to go on.
fn tell(group: Vec<Append>, outcome: &io::Result<()>) -> bool {
    let again = || match outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("write the log: {error}"))),
    };
    for append in group {
        match append.done {
            Done::Nobody => {}
            Done::Entries(flushed) => flushed.io_completed(again()),
            Done::Caller(caller) => {
                let _ = caller.send(again());
            }
        }
    }
    outcome.is_ok()
}

/// Starts the writer. The second channel closes when it has ended and let go of its files.
#[cfg(not(feature = "sim"))]
pub(crate) fn start(mut writer: Writer) -> io::Result<(Appender, oneshot::Receiver<()>)> {
    let (appender, mut waiting) = mpsc::channel(WAITING_MAX);
    let (ended, has_ended) = oneshot::channel();
    std::thread::Builder::new().name("wal".into()).spawn(move || {
        while let Some(first) = waiting.blocking_recv() {
            let group = gather(first, &mut waiting);
            let outcome = writer.write(&group).and_then(|()| writer.finish(&group));
            if !tell(group, &outcome) {
                break;
            }
        }
        drop(writer);
        let _ = ended.send(());
    })?;
    Ok((appender, has_ended))
}

/// Starts the writer. The second channel closes when it has ended and let go of its files.
#[cfg(feature = "sim")]
pub(crate) fn start(mut writer: Writer) -> io::Result<(Appender, oneshot::Receiver<()>)> {
    let (appender, mut waiting) = mpsc::channel(WAITING_MAX);
    let (ended, has_ended) = oneshot::channel();
    crate::world::spawn(async move {
        while let Some(first) = waiting.recv().await {
            let group = gather(first, &mut waiting);
            let mut outcome = writer.write(&group);
            if outcome.is_ok() {
                tokio::time::sleep(SIMULATED_SYNC).await;
                outcome = writer.finish(&group);
            }
            if !tell(group, &outcome) {
                break;
            }
        }
        drop(writer);
        let _ = ended.send(());
    });
    Ok((appender, has_ended))
}
