//! Snapshot files: written aside, checked, synced, then renamed into place.
//!
//! Magic word, `[len][crc32]` and the encoding of how far it reaches, the state in named
//! fields, and at the end the state's length and the checksum of it. Both directions
//! stream, so a large state is never held twice.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::Instant;

use super::mirror::SnapshotMetaRecord;
use super::stats::Counters;
use crate::state::{ClusterState, codec};
use crate::world::fs::{self, File};

/// First bytes: name and version of the format.
const MAGIC: &[u8; 8] = b"PDSNP001";

/// Length and checksum of the state, at the end.
const TRAILER_BYTES: u64 = 12;

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

fn write_file(path: &Path, meta: &SnapshotMetaRecord, state: &ClusterState) -> io::Result<u64> {
    let meta = codec::encode(meta);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(MAGIC)?;
    file.write_all(&u32::try_from(meta.len()).unwrap_or(u32::MAX).to_le_bytes())?;
    file.write_all(&crc32fast::hash(&meta).to_le_bytes())?;
    file.write_all(&meta)?;
    let mut body = Summed { inner: &mut file, bytes: 0, sum: crc32fast::Hasher::new() };
    rmp_serde::encode::write_named(&mut body, state).map_err(io::Error::other)?;
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

fn open_meta(path: &Path) -> io::Result<(BufReader<File>, SnapshotMetaRecord, u64)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut file = BufReader::new(file);
    if fixed::<8>(&mut file)? != *MAGIC {
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
    Ok((file, meta, body))
}

/// How far the snapshot reaches.
pub(crate) fn read_meta(path: &Path) -> io::Result<SnapshotMetaRecord> {
    open_meta(path).map(|(_, meta, _)| meta)
}

/// The whole snapshot, after its checksum was found right.
pub(crate) fn read(path: &Path) -> io::Result<(SnapshotMetaRecord, ClusterState)> {
    let (mut file, _, body) = open_meta(path)?;
    let mut check = Summed { inner: io::sink(), bytes: 0, sum: crc32fast::Hasher::new() };
    io::copy(&mut (&mut file).take(body), &mut check)?;
    let bytes = u64::from_le_bytes(fixed(&mut file)?);
    let sum = u32::from_le_bytes(fixed(&mut file)?);
    if bytes != body || check.bytes != body || check.sum.finalize() != sum {
        return Err(damaged(path, "checksum of the state does not match"));
    }
    let (file, meta, _) = open_meta(path)?;
    let state = rmp_serde::from_read(file.take(body)).map_err(|error| damaged(path, error))?;
    Ok((meta, state))
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
