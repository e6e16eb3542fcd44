//! Snapshot files: written aside, checked, synced, then renamed into place.
//!
//! Magic word, `[len][crc32]` and the encoding of how far it reaches, the parts of the state
//! (`state::packed`), each behind its `[len]`, and at the end the length of all parts and the checksum
//! of them. Both directions stream, so a large state is never held twice. The first version, which
//! is still read, had the whole state in named fields instead of parts.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::mirror::SnapshotMetaRecord;
use super::stats::Counters;
use crate::state::packed::{self, Unpacking};
use crate::state::{ClusterState, codec};
use crate::world::fs::{self, File};

/// First bytes: name and version of the format.
const MAGIC: &[u8; 8] = b"PDSNP002";

/// What files began with that have the state in one piece.
const MAGIC_WHOLE: &[u8; 8] = b"PDSNP001";

/// Length and checksum of the state, at the end.
const TRAILER_BYTES: u64 = 12;

/// One part of a state: the first one holds all agents and apps, the others are a thousand times smaller.
const PART_BYTES_MAX: usize = 1 << 30;

/// Read at once from a file.
const READ_BYTES: usize = 1 << 18;

/// How far a snapshot reaches, encoded; a hundred masters would fit many times.
const META_BYTES_MAX: usize = 1 << 20;

/// Files kept: the current one, and the one before it, which may be on its way to a peer.
const KEPT: usize = 2;

const SUFFIX: &str = ".snapshot";
const INCOMING: &str = "incoming-";

/// A snapshot's content lies in a file, whole and checked or still to be.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    /// Where.
    pub(crate) path: PathBuf,
}

/// The directory of snapshots.
#[derive(Clone)]
pub(crate) struct Snapshots {
    dir: PathBuf,
    counters: Arc<Counters>,
}

impl Snapshots {
    /// Takes the directory, which must exist, and clears away what was left half done.
    pub(crate) fn open(dir: &Path, counters: Arc<Counters>) -> io::Result<Self> {
        for item in fs::read_dir(dir)? {
            let path = item?.path();
            if !name_of(&path).ends_with(SUFFIX) {
                fs::remove_file(&path)?;
            }
        }
        Ok(Self { dir: dir.to_owned(), counters })
    }

    /// Paths of whole snapshots, oldest first.
    fn list(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for item in fs::read_dir(&self.dir)? {
            let path = item?.path();
            if name_of(&path).ends_with(SUFFIX) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// The newest snapshot.
    pub(crate) fn current(&self) -> io::Result<Option<PathBuf>> {
        Ok(self.list()?.pop())
    }

    /// Writes a snapshot and gives back where it lies.
    pub(crate) fn write(&self, meta: &SnapshotMetaRecord, state: &ClusterState) -> io::Result<PathBuf> {
        let started = Instant::now();
        let temporary = self.dir.join(format!("{}.writing", file_name(meta)));
        let bytes = write_file(&temporary, meta, state)?;
        let path = self.adopt(&temporary, meta)?;
        self.counters.snapshot_written(bytes, started.elapsed());
        Ok(path)
    }

    /// A place for a snapshot that comes from a peer.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.dir.join(format!("{INCOMING}{:016x}", crate::world::random_u64()))
    }

    /// Gives a whole file its name, and forgets those that it makes superfluous.
    pub(crate) fn adopt(&self, file: &Path, meta: &SnapshotMetaRecord) -> io::Result<PathBuf> {
        let path = self.dir.join(file_name(meta));
        if file != path {
            fs::rename(file, &path)?;
        }
        fs::sync_dir(&self.dir)?;
        let all = self.list()?;
        for old in all.iter().rev().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(path)
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Sorts by how far it reaches.
fn file_name(meta: &SnapshotMetaRecord) -> String {
    let (index, term) = meta.last.map_or((0, 0), |last| (last.index, last.term));
    format!("{index:016x}-{term:016x}{SUFFIX}")
}

/// Counts and sums what passes.
struct Summed<W> {
    inner: W,
    bytes: u64,
    sum: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W> Summed<W> {
    /// Compares with what stands in the file behind the state.
    fn confirm(self, file: &mut impl Read, body: u64) -> io::Result<()> {
        let bytes = u64::from_le_bytes(fixed(file)?);
        let sum = u32::from_le_bytes(fixed(file)?);
        if bytes != body || self.bytes != body || self.sum.finalize() != sum {
            return Err(io::Error::other("checksum of the state does not match"));
        }
        Ok(())
    }
}

fn write_file(path: &Path, meta: &SnapshotMetaRecord, state: &ClusterState) -> io::Result<u64> {
    let meta = codec::encode(meta);
    let mut file = BufWriter::with_capacity(READ_BYTES, File::create(path)?);
    file.write_all(MAGIC)?;
    file.write_all(&u32::try_from(meta.len()).unwrap_or(u32::MAX).to_le_bytes())?;
    file.write_all(&crc32fast::hash(&meta).to_le_bytes())?;
    file.write_all(&meta)?;
    let mut body = Summed { inner: &mut file, bytes: 0, sum: crc32fast::Hasher::new() };
    for part in packed::pack(state) {
        let size = u32::try_from(part.len()).map_err(|_| io::Error::other("a part is too large"))?;
        body.write_all(&size.to_le_bytes())?;
        body.write_all(&part)?;
    }
    let (bytes, sum) = (body.bytes, body.sum.finalize());
    file.write_all(&bytes.to_le_bytes())?;
    file.write_all(&sum.to_le_bytes())?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(16 + meta.len() as u64 + bytes + TRAILER_BYTES)
}

fn damaged(path: &Path, reason: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("snapshot '{}': {reason}", path.display()))
}

fn fixed<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// What a file says before the state, and how many bytes the state has there.
struct Opened {
    file: BufReader<File>,
    meta: SnapshotMetaRecord,
    body: u64,
    has_parts: bool,
}

fn open_meta(path: &Path) -> io::Result<Opened> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut file = BufReader::with_capacity(READ_BYTES, file);
    let magic = fixed::<8>(&mut file)?;
    if magic != *MAGIC && magic != *MAGIC_WHOLE {
        return Err(damaged(path, "not a snapshot of a version known here"));
    }
    let size = u32::from_le_bytes(fixed(&mut file)?) as usize;
    let sum = u32::from_le_bytes(fixed(&mut file)?);
    if size > META_BYTES_MAX {
        return Err(damaged(path, "its description is too long"));
    }
    let mut meta = vec![0; size];
    file.read_exact(&mut meta)?;
    if crc32fast::hash(&meta) != sum {
        return Err(damaged(path, "checksum of its description does not match"));
    }
    let meta = codec::decode("snapshot description", &meta).map_err(|error| damaged(path, error.source))?;
    let body = len.checked_sub(16 + size as u64 + TRAILER_BYTES);
    let body = body.ok_or_else(|| damaged(path, "it is cut short"))?;
    Ok(Opened { file, meta, body, has_parts: magic == *MAGIC })
}

/// How far the snapshot reaches.
pub(crate) fn read_meta(path: &Path) -> io::Result<SnapshotMetaRecord> {
    open_meta(path).map(|opened| opened.meta)
}

/// The whole snapshot, after its checksum was found right.
pub(crate) fn read(path: &Path) -> io::Result<(SnapshotMetaRecord, ClusterState)> {
    let Opened { mut file, meta, body, has_parts } = open_meta(path)?;
    if has_parts {
        let state = read_parts(&mut file, body).map_err(|error| damaged(path, error))?;
        return Ok((meta, state));
    }
    let mut check = Summed { inner: io::sink(), bytes: 0, sum: crc32fast::Hasher::new() };
    io::copy(&mut (&mut file).take(body), &mut check)?;
    check.confirm(&mut file, body).map_err(|error| damaged(path, error))?;
    let Opened { file, meta, .. } = open_meta(path)?;
    let state = rmp_serde::from_read(file.take(body)).map_err(|error| damaged(path, error))?;
    Ok((meta, state))
}

/// The state from `body` bytes of parts, and what follows them. Nothing comes of parts that do not
/// match the checksum behind them.
fn read_parts(file: &mut impl Read, body: u64) -> io::Result<ClusterState> {
    let mut check = Summed { inner: io::sink(), bytes: 0, sum: crc32fast::Hasher::new() };
    let mut unpacking: Option<Unpacking> = None;
    let mut part = Vec::new();
    while check.bytes < body {
        let size = fixed::<4>(file)?;
        check.write_all(&size)?;
        let size = u32::from_le_bytes(size) as usize;
        let left = usize::try_from(body.saturating_sub(check.bytes)).unwrap_or(usize::MAX);
        if size > left.min(PART_BYTES_MAX) {
            return Err(io::Error::other("a part of the state is longer than the state"));
        }
        part.resize(size, 0);
        file.read_exact(&mut part)?;
        check.write_all(&part)?;
        match &mut unpacking {
            Some(unpacking) => unpacking.add(&part).map_err(|error| io::Error::other(error.source))?,
            None => {
                unpacking = Some(Unpacking::begin(&part).map_err(|error| io::Error::other(error.source))?);
            }
        }
    }
    check.confirm(file, body)?;
    unpacking.map(Unpacking::end).ok_or_else(|| io::Error::other("it holds no state"))
}

/// Does file work where it holds up nobody.
pub(crate) async fn aside<T, F>(work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    #[cfg(not(feature = "sim"))]
    return tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
    // The simulated disk belongs to the simulated host's only thread.
    #[cfg(feature = "sim")]
    return work();
}
