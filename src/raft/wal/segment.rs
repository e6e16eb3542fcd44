//! Segment files: names, creation, and the next one prepared in the background.

use std::io;
use std::path::{Path, PathBuf};

use crate::world::fs::{self, File, OpenOptions};

/// First bytes of a segment: name and version of the format.
pub(crate) const MAGIC: &[u8; 8] = b"PDWAL001";

/// Size at which the next segment begins. Small enough to be read at once on start and to
/// cost a small cluster little disk, large enough that rotation is rare.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;

/// Name of a segment that is still being filled with zeros.
const PREPARED: &str = "next.wal.tmp";

/// Path of segment `number`.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.wal"))
}

/// Numbers of the segments in `dir`, in order. Removes a half-prepared one.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for item in fs::read_dir(dir)? {
        let name = item?.file_name();
        let name = name.to_string_lossy();
        if name == PREPARED {
            fs::remove_file(dir.join(PREPARED))?;
        }
        let number = name.strip_suffix(".wal").and_then(|stem| u64::from_str_radix(stem, 16).ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Creates a segment that grows as it is written.
pub(crate) fn create(dir: &Path, number: u64) -> io::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path(dir, number))?;
    file.sync_all()?;
    fs::sync_dir(dir)?;
    Ok(file)
}

/// A segment of zeros, written in the background so that appending to it touches data only.
#[derive(Default)]
pub(crate) struct Prepared {
    #[cfg(not(feature = "sim"))]
    work: Option<std::thread::JoinHandle<io::Result<File>>>,
}

#[cfg(not(feature = "sim"))]
impl Prepared {
    /// Starts preparing, unless under way.
    pub(crate) fn begin(&mut self, dir: &Path, bytes: u64) {
        if self.work.is_none() {
            let target = dir.join(PREPARED);
            let thread = std::thread::Builder::new().name("wal-prepare".into());
            // Without a thread the segment grows as it is written: slower, not wrong.
            self.work = thread.spawn(move || zeros(&target, bytes)).ok();
        }
    }

    /// The segment under its name, durable there; a growing one when none was prepared.
    pub(crate) fn take(&mut self, dir: &Path, number: u64) -> io::Result<File> {
        let Some(work) = self.work.take() else { return create(dir, number) };
        let file = work.join().map_err(|_| io::Error::other("preparing a segment panicked"))??;
        fs::rename(dir.join(PREPARED), path(dir, number))?;
        fs::sync_dir(dir)?;
        Ok(file)
    }
}

#[cfg(feature = "sim")]
impl Prepared {
    /// The simulated disk has nothing to prepare.
    pub(crate) fn begin(&mut self, _dir: &Path, _bytes: u64) {}

    /// A growing segment.
    pub(crate) fn take(&mut self, dir: &Path, number: u64) -> io::Result<File> {
        create(dir, number)
    }
}

#[cfg(not(feature = "sim"))]
fn zeros(target: &Path, bytes: u64) -> io::Result<File> {
    use std::io::{BufWriter, Read as _};
    const STEP_BYTES: usize = 256 << 10;
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(target)?;
    let mut filled = BufWriter::with_capacity(STEP_BYTES, file);
    io::copy(&mut io::repeat(0).take(bytes), &mut filled)?;
    let file = filled.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file)
}
