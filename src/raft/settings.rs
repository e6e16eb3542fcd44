//! What the quorum can be told, and why it may not start.

use std::io;
use std::path::PathBuf;

use openraft::{Config, SnapshotPolicy};

use super::wal::recover::LogError;
use super::wal::segment::SEGMENT_BYTES;
use crate::line::Security;

/// Heartbeat and election, in milliseconds. An outage after a leader's death lasts about
/// the longest election and a mean one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaftTiming {
    /// Between two heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// Shortest silence after which a master campaigns.
    pub election_min_ms: u64,
    /// Longest such silence; also how long a quorum's acknowledgement counts.
    pub election_max_ms: u64,
}

impl RaftTiming {
    /// For a master that has nobody to hear from or to be heard by: the clock runs, for a
    /// follower that may join, but slowly.
    const ALONE: Self = Self { heartbeat_ms: 400, election_min_ms: 1_200, election_max_ms: 2_400 };
}

impl Default for RaftTiming {
    fn default() -> Self {
        Self { heartbeat_ms: 60, election_min_ms: 120, election_max_ms: 240 }
    }
}

/// Everything [`super::start`] needs.
#[derive(Clone, Debug)]
pub struct RaftSettings {
    /// Directory of this master alone.
    pub data_dir: PathBuf,
    /// Cluster addresses of all masters, as `--masters` lists them; this one's among them,
    /// unless it is to join later. None means that it is alone.
    pub masters: Vec<String>,
    /// Where masters and agents reach this one.
    pub advertise_cluster: String,
    /// Where people reach this one, exactly as given.
    pub advertise_http: String,
    /// How the other masters are dialled.
    pub security: Security,
    /// Heartbeat and election.
    pub timing: RaftTiming,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot for followers that lag a little.
    pub keep_behind_snapshot: u64,
    /// Size at which the next log segment begins.
    pub segment_bytes: u64,
}

impl RaftSettings {
    /// The usual limits, in the clear.
    pub fn new(
        data_dir: PathBuf,
        masters: Vec<String>,
        advertise_cluster: String,
        advertise_http: String,
    ) -> Self {
        let settings = Self {
            data_dir,
            masters,
            advertise_cluster,
            advertise_http,
            security: Security::off(),
            timing: RaftTiming::default(),
            snapshot_every: 50_000,
            keep_behind_snapshot: 10_000,
            segment_bytes: SEGMENT_BYTES,
        };
        if settings.is_alone() { Self { timing: RaftTiming::ALONE, ..settings } } else { settings }
    }

    /// Whether this master is the only one that was listed.
    pub(super) fn is_alone(&self) -> bool {
        self.masters.iter().all(|address| *address == self.advertise_cluster)
    }

    pub(super) fn openraft(&self) -> Result<Config, StartError> {
        let config = Config {
            cluster_name: "platformd".into(),
            heartbeat_interval: self.timing.heartbeat_ms,
            election_timeout_min: self.timing.election_min_ms,
            election_timeout_max: self.timing.election_max_ms,
            enable_pre_vote: Some(true),
            // A leader sends entries while its own disk still writes them. Killed there and back at
            // once, it would give the same term and index to something else than the others hold,
            // and nobody would ever notice. A new term tells the two apart.
            enable_leader_restore: Some(false),
            max_payload_entries: 1024,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.keep_behind_snapshot,
            // Followers that lag more than the log keeps get a snapshot.
            replication_lag_threshold: self.keep_behind_snapshot.max(1),
            purge_batch_size: self.keep_behind_snapshot.clamp(1, 4096),
            backoff: "50ms 100ms ...500ms".into(),
            // A snapshot of a million tasks over one gigabit.
            install_snapshot_timeout: 60_000,
            ..Config::default()
        };
        config.validate().map_err(|error| StartError::Timing(error.to_string()))
    }
}

/// Why the quorum did not start. Each is a sentence for a supervisor's log.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the directory.
    #[error(
        "data directory in use: another platformd has '{}'; stop it, or give this one another --data-dir",
        dir.display()
    )]
    InUse {
        /// Which.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("use the data directory '{}': {source}; check its owner, its mode and free space", dir.display())]
    DataDir {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody can tell who this master is.
    #[error(
        "read '{}', which says who this master is: {reason}; restore that file from a copy, or move this data \
         directory away, start the master with an empty one and replace the old member by the new one",
        path.display()
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshot cannot be used.
    #[error(
        "start from the newest snapshot in '{}': {source}; move this data directory away, start the \
         master with an empty one and replace the old member by the new one",
        dir.display()
    )]
    Snapshot {
        /// Directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The timing makes no sense.
    #[error("use the election timing: {0}")]
    Timing(String),
    /// openraft did not start.
    #[error("start raft: {0}")]
    Raft(String),
}
