//! The log store against openraft's own suite, and the log's files against crashes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use tempfile::TempDir;

use super::data_dir;
use super::log_store::LogStore;
use super::mirror::{LogIdRecord, VoteRecord};
use super::snapshots::Snapshots;
use super::state_machine::{Published, StateMachine};
use super::stats::Counters;
use super::types::{Entry, LogId, Payload, Proposal, TypeConfig, Vote};
use super::wal::recover::LogError;
use super::wal::segment::{self, SEGMENT_BYTES};
use crate::world::fs;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let counters = Arc::new(Counters::default());
        let (log, files) = (dir.path().join("log"), dir.path().join("snapshots"));
        fs::create_dir_all(&log).unwrap();
        fs::create_dir_all(&files).unwrap();
        let snapshots = Snapshots::open(&files, Arc::clone(&counters)).unwrap();
        let machine = StateMachine::open(snapshots, Arc::new(Published::new(Arc::clone(&counters)))).unwrap();
        let (log, _) = LogStore::open(&log, SEGMENT_BYTES, counters, None).unwrap();
        Ok((dir, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_is_green() {
    Suite::test_all(Builder).await.unwrap();
}

fn id(term: u64, index: u64) -> LogId {
    LogIdRecord { term, index }.into()
}

fn entry(term: u64, index: u64, bytes: &[u8]) -> Entry {
    Entry::new(id(term, index), Payload::Normal(Proposal(bytes.to_vec().into())))
}

fn vote(term: u64, node: u64) -> Vote {
    VoteRecord { term, node, committed: true }.into()
}

async fn append(log: &mut LogStore, entries: Vec<Entry>) {
    let (done, outcome) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::<TypeConfig>::signal(done)).await.unwrap();
    outcome.await.unwrap().unwrap();
}

/// A log in a directory of its own.
struct Files {
    dir: TempDir,
    segment_bytes: u64,
}

impl Files {
    fn with_segments_of(segment_bytes: u64) -> Self {
        Self { dir: TempDir::new().unwrap(), segment_bytes }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn try_open(&self) -> Result<LogStore, LogError> {
        let counters = Arc::new(Counters::default());
        LogStore::open(self.path(), self.segment_bytes, counters, None).map(|(log, _)| log)
    }

    /// Does `work` with the log and closes it.
    async fn with<T>(&self, work: impl AsyncFnOnce(&mut LogStore) -> T) -> T {
        let counters = Arc::new(Counters::default());
        let (mut log, closed) = LogStore::open(self.path(), self.segment_bytes, counters, None).unwrap();
        let answer = work(&mut log).await;
        drop(log);
        closed.await.unwrap();
        answer
    }

    fn segments(&self) -> Vec<PathBuf> {
        segment::list(self.path()).unwrap().into_iter().map(|n| segment::path(self.path(), n)).collect()
    }
}

async fn indexes(log: &mut LogStore) -> Vec<u64> {
    let entries = log.get_log_reader().await.try_get_log_entries(..).await.unwrap();
    entries.iter().map(openraft::entry::RaftEntry::index).collect()
}

#[tokio::test]
async fn vote_committed_entries_and_purge_survive_a_reopening() {
    let files = Files::with_segments_of(SEGMENT_BYTES);
    files
        .with(async |log| {
            log.save_vote(&vote(3, 7)).await.unwrap();
            append(log, (1..=9).map(|index| entry(3, index, b"abc")).collect()).await;
            log.truncate_after(Some(id(3, 8))).await.unwrap();
            log.purge(id(3, 2)).await.unwrap();
            log.save_committed(Some(id(3, 5))).await.unwrap();
        })
        .await;
    files
        .with(async |log| {
            assert_eq!(log.get_log_reader().await.read_vote().await.unwrap(), Some(vote(3, 7)));
            assert_eq!(log.read_committed().await.unwrap(), Some(id(3, 5)));
            assert_eq!(indexes(log).await, [3, 4, 5, 6, 7, 8]);
            let state = log.get_log_state().await.unwrap();
            assert_eq!(state.last_purged_log_id, Some(id(3, 2)));
            assert_eq!(state.last_log_id, Some(id(3, 8)));
        })
        .await;
}

#[tokio::test]
async fn segments_rotate_and_go_when_they_are_purged() {
    let files = Files::with_segments_of(4096);
    files
        .with(async |log| {
            log.save_vote(&vote(1, 7)).await.unwrap();
            for index in 1..=40 {
                append(log, vec![entry(1, index, &[u8::try_from(index).unwrap(); 500])]).await;
            }
        })
        .await;
    let before = files.segments().len();
    assert!(before > 5, "{before} segments");
    files
        .with(async |log| {
            assert_eq!(indexes(log).await, (1..=40).collect::<Vec<_>>());
            log.purge(id(1, 30)).await.unwrap();
        })
        .await;
    assert!(files.segments().len() < before / 2, "{} of {before} segments are left", files.segments().len());
    files
        .with(async |log| {
            assert_eq!(indexes(log).await, (31..=40).collect::<Vec<_>>());
            assert_eq!(log.get_log_reader().await.read_vote().await.unwrap(), Some(vote(1, 7)));
        })
        .await;
}

#[tokio::test]
async fn a_record_torn_at_any_byte_is_cut_and_the_log_goes_on() {
    let files = Files::with_segments_of(SEGMENT_BYTES);
    files.with(async |log| append(log, vec![entry(1, 1, b"first")]).await).await;
    let path = files.segments().pop().unwrap();
    let before = fs::read(&path).unwrap();
    files.with(async |log| append(log, vec![entry(1, 2, b"second")]).await).await;
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > before.len());
    for len in before.len()..whole.len() {
        // Cut short, and with zeros behind as in a prepared segment.
        for filler in [0, 4096] {
            let mut bytes = whole[..len].to_vec();
            bytes.resize(len + filler, 0);
            std::fs::write(&path, &bytes).unwrap();
            files
                .with(async |log| {
                    assert_eq!(indexes(log).await, [1], "cut at {len}");
                    append(log, vec![entry(2, 2, b"again")]).await;
                })
                .await;
            files.with(async |log| assert_eq!(indexes(log).await, [1, 2], "cut at {len}")).await;
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_closed_segment_refuses_to_start_and_says_where() {
    let files = Files::with_segments_of(2048);
    files
        .with(async |log| {
            for index in 1..=20 {
                append(log, vec![entry(1, index, &[7; 300])]).await;
            }
        })
        .await;
    let first = files.segments().remove(0);
    let whole = fs::read(&first).unwrap();
    for at in [0, 9, 60, whole.len() / 2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&first, &bytes).unwrap();
        let Err(error) = files.try_open() else { panic!("opened with byte {at} flipped") };
        let text = error.to_string();
        assert!(text.contains(first.to_str().unwrap()) && text.contains("at byte"), "{text}");
        assert!(text.contains("replace the old member"), "{text}");
    }
    std::fs::write(&first, &whole).unwrap();
    std::fs::remove_file(&files.segments()[1]).unwrap();
    let Err(error) = files.try_open() else { panic!("opened with a segment missing") };
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn a_flipped_byte_in_what_was_synced_is_no_torn_end() {
    let files = Files::with_segments_of(SEGMENT_BYTES);
    let mut ends = Vec::new();
    for index in 1..=3 {
        files.with(async |log| append(log, vec![entry(1, index, b"recorded")]).await).await;
        ends.push(fs::read(&files.segments()[0]).unwrap().len());
    }
    let path = files.segments().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for at in [8, 20, ends[0] - 1, ends[0], ends[1] - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(files.try_open().is_err(), "opened with byte {at} of {ends:?} flipped");
    }
    let mut bytes = whole.clone();
    bytes[ends[2] - 1] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    files.with(async |log| assert_eq!(indexes(log).await, [1, 2])).await;
}

#[tokio::test]
async fn a_vote_outlives_a_last_segment_without_a_header() {
    for header in [0, 4, 8, 12] {
        let files = Files::with_segments_of(2048);
        files
            .with(async |log| {
                log.save_vote(&vote(4, 9)).await.unwrap();
                append(log, (1..=3).map(|index| entry(4, index, &[7; 300])).collect()).await;
            })
            .await;
        // As a crash right after a rotation leaves the new segment.
        let mut bytes = fs::read(&files.segments()[0]).unwrap()[..header].to_vec();
        bytes.resize(2048, 0);
        std::fs::write(segment::path(files.path(), 1), bytes).unwrap();
        files
            .with(async |log| {
                append(log, vec![entry(4, 4, &[7; 300])]).await;
                log.purge(id(4, 3)).await.unwrap();
            })
            .await;
        assert_eq!(files.segments().len(), 1, "the first segment went");
        files
            .with(async |log| {
                assert_eq!(log.get_log_reader().await.read_vote().await.unwrap(), Some(vote(4, 9)));
                assert_eq!(indexes(log).await, [4]);
            })
            .await;
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_an_error_and_no_panic() {
    let (_dir, _log, mut machine) = Builder.build().await.unwrap();
    let error = machine.record(&entry(1, 1, b"from the future")).unwrap_err().to_string();
    assert!(error.contains("log entry 1") && error.contains("newer version"), "{error}");
}

#[test]
fn a_data_directory_serves_one_at_a_time_and_remembers_who_it_is() {
    let dir = TempDir::new().unwrap();
    let first = data_dir::open(dir.path()).unwrap();
    let Err(error) = data_dir::open(dir.path()) else { panic!("opened twice") };
    assert!(error.to_string().starts_with("data directory in use"), "{error}");
    let node = first.node;
    drop(first);
    assert_eq!(data_dir::open(dir.path()).unwrap().node, node);
}

#[tokio::test]
async fn a_log_that_was_there_and_is_gone_is_damage_and_a_new_one_is_not() {
    let dir = TempDir::new().unwrap();
    let open = || {
        let found = data_dir::open(dir.path()).unwrap();
        let counters = Arc::new(Counters::default());
        let (log, closed) = LogStore::open(&found.log, SEGMENT_BYTES, counters, found.lock).unwrap();
        (log.known_to(found.identity, &found.log), closed)
    };
    let node = data_dir::open(dir.path()).unwrap().node;
    // As earlier versions wrote it.
    std::fs::write(dir.path().join("identity.json"), format!(r#"{{"node":{node}}}"#)).unwrap();
    for _ in 0..2 {
        let (log, closed) = open();
        drop(log.unwrap());
        let _ended = closed.await;
    }
    let (log, closed) = open();
    let mut log = log.unwrap();
    log.save_vote(&vote(1, node)).await.unwrap();
    drop(log);
    let _ended = closed.await;
    let (log, closed) = open();
    drop(log.unwrap());
    let _ended = closed.await;
    for segment in std::fs::read_dir(dir.path().join("log")).unwrap() {
        std::fs::write(segment.unwrap().path(), b"").unwrap();
    }
    for _ in 0..2 {
        let (log, closed) = open();
        let Err(error) = log else { panic!("a lost log was taken for a new one") };
        assert!(error.to_string().contains("missing or empty"), "{error}");
        let _ended = closed.await;
    }
    assert_eq!(data_dir::open(dir.path()).unwrap().node, node);
}

#[test]
fn limits_fit_into_each_other() {
    // One proposal, and one batch beside it, must fit a frame.
    const { assert!(super::store::PROPOSAL_BYTES_MAX + (8 << 20) < crate::line::FRAME_BYTES_MAX) };
}
