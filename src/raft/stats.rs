//! Figures about the log for `/metrics`: plain counters that telemetry reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the fsync buckets, in microseconds; a last one holds the rest.
pub const FSYNC_BUCKETS_US: [u64; 10] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// Counters that the writer and the state machine keep.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) log_entries: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) fsyncs: AtomicU64,
    pub(crate) fsync_us: AtomicU64,
    pub(crate) fsync_buckets: [AtomicU64; FSYNC_BUCKETS_US.len() + 1],
    pub(crate) snapshot_bytes: AtomicU64,
    pub(crate) snapshot_ms: AtomicU64,
    pub(crate) snapshots: AtomicU64,
    pub(crate) applied: AtomicU64,
}

impl Counters {
    /// Notes one fsync.
    pub(crate) fn fsynced(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.fsync_us.fetch_add(us, Ordering::Relaxed);
        let bucket = FSYNC_BUCKETS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.fsync_buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes one snapshot written here.
    pub(crate) fn snapshot_written(&self, bytes: u64, took: Duration) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
        self.snapshot_bytes.store(bytes, Ordering::Relaxed);
        self.snapshot_ms.store(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The log's figures at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftStats {
    /// Latest term seen.
    pub term: u64,
    /// Index of the latest entry applied here.
    pub applied: u64,
    /// Index of the latest entry known to be on a majority.
    pub committed: u64,
    /// Index of the latest entry in the log.
    pub last_index: u64,
    /// Entries kept in the log.
    pub log_entries: u64,
    /// Their size.
    pub log_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Records written since the start.
    pub records: u64,
    /// Syncs since the start.
    pub fsyncs: u64,
    /// Time they took, together, in microseconds.
    pub fsync_us: u64,
    /// Counts by [`FSYNC_BUCKETS_US`], not cumulative; the last one holds the rest.
    pub fsync_buckets: Vec<u64>,
    /// Snapshots written since the start.
    pub snapshots: u64,
    /// Size of the latest snapshot file.
    pub snapshot_bytes: u64,
    /// Time the latest snapshot took to write, in milliseconds.
    pub snapshot_ms: u64,
}

impl Counters {
    /// Reads every counter; the caller adds what only Raft knows.
    pub(crate) fn read(&self) -> RaftStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RaftStats {
            applied: read(&self.applied),
            log_entries: read(&self.log_entries),
            log_bytes: read(&self.log_bytes),
            segments: read(&self.segments),
            records: read(&self.records),
            fsyncs: read(&self.fsyncs),
            fsync_us: read(&self.fsync_us),
            fsync_buckets: self.fsync_buckets.iter().map(read).collect(),
            snapshots: read(&self.snapshots),
            snapshot_bytes: read(&self.snapshot_bytes),
            snapshot_ms: read(&self.snapshot_ms),
            ..RaftStats::default()
        }
    }
}
