//! Room on the disk that is kept for the ends of tasks: an app that has filled the disk can be
//! stopped, its end told, and what it left removed, which is what makes room again.
//!
//! Way in: [`Reserve::open`]. Files that are written before they are needed, and overwritten in
//! place then, so that no program that still fills the disk can take the room in between. Helps
//! where file systems write in place; the others may say no.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::world::fs;

/// Directory of the files, below the data directory.
const DIRECTORY: &str = "reserve";
/// So many ends can be told before one has to be acknowledged and removed; an app that fills a
/// disk is one task, or a few.
const FILES: usize = 8;
/// Room in each: what most records take.
pub(super) const FILE_BYTES: usize = 16 << 10;

/// Where something found its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// On the disk.
    Free,
    /// In what is kept.
    Reserved,
}

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Whatever there is below `data`.
    pub(super) fn at(data: &Path) -> Self {
        Self { path: data.join(DIRECTORY) }
    }

    /// Opens the directory below `data`, and fills it as far as the disk lets us.
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let reserve = Self::at(data);
        fs::create_private_dir(&reserve.path)?;
        // A full disk is for those to tell who need room.
        let _as_far_as_it_goes = reserve.fill();
        Ok(reserve)
    }

    /// Makes what is missing.
    ///
    /// # Errors
    /// What the file system says; what was made until then stays.
    pub(super) fn fill(&self) -> io::Result<()> {
        let temporary = self.path.join(".room.tmp");
        for file in self.files().filter(|file| !fs::exists(file)) {
            let made = fs::write_private(&temporary, &[0; FILE_BYTES]);
            made.and_then(|()| fs::rename(&temporary, &file)).inspect_err(|_| {
                let _may_not_be_there = fs::remove_file(&temporary);
            })?;
        }
        Ok(())
    }

    /// Makes `path` a file with these bytes in room that is taken already; synced, its name is not.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when all is spent or `bytes` are too many; what the file
    /// system says.
    fn spend(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.files().find(|file| fs::exists(file)).filter(|_| bytes.len() <= FILE_BYTES);
        fs::rename(file.ok_or(io::ErrorKind::StorageFull)?, path)?;
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    }

    /// Makes `path` a file with these bytes, in room that is taken already where the disk has none;
    /// synced, its name is not.
    ///
    /// # Errors
    /// Those of [`Reserve::spend`].
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<Room> {
        match fs::write_private(path, bytes) {
            Err(error) if is_full(&error) => {
                // Gives back what the failed try took.
                let _may_not_be_there = fs::remove_file(path);
                self.spend(path, bytes).map(|()| Room::Reserved)
            }
            written => written.map(|()| Room::Free),
        }
    }

    /// Replaces a small file as [`fs::write_atomic`] does, and in room that is taken already where the
    /// disk has none: an agent that could not start there could not stop what fills it.
    ///
    /// # Errors
    /// Those of [`Reserve::spend`].
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::replace_by(path, |temporary| self.write(temporary, bytes).map(drop))
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..FILES).map(|number| self.path.join(format!("{number}.room")))
    }
}

/// Whether a disk has no room.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;

    #[test]
    fn room_is_for_its_owner_also_where_an_earlier_version_made_the_directory() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let reserve = dir.path().join(DIRECTORY);
        let mode = || reserve.metadata().unwrap().permissions().mode() & 0o777;
        Reserve::open(dir.path()).unwrap();
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&reserve, std::fs::Permissions::from_mode(0o755)).unwrap();
        Reserve::open(dir.path()).unwrap();
        assert_eq!(mode(), 0o700);
    }

    #[test]
    fn room_is_spent_in_place_and_made_again() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path()).unwrap();
        let before = std::fs::metadata(dir.path().join("reserve/0.room")).unwrap();
        assert_eq!(before.len(), FILE_BYTES as u64);
        let path = dir.path().join("end");
        reserve.spend(&path, b"the end").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"the end");
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), before.ino(), "no new room was asked for");
        for _ in 1..FILES {
            reserve.spend(&path, b"the end").unwrap();
        }
        let spent = reserve.spend(&path, b"the end").unwrap_err();
        assert_eq!(spent.kind(), io::ErrorKind::StorageFull);
        reserve.fill().unwrap();
        assert!(reserve.spend(&path, &[0; FILE_BYTES + 1]).is_err());
        reserve.spend(&path, b"another end").unwrap();
    }

    #[test]
    fn what_finds_no_room_on_the_disk_is_written_in_room_that_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(dir.path()).unwrap();
        let (path, temporary) = (dir.path().join("state"), dir.path().join(".state.tmp"));
        assert_eq!(reserve.write(&path, b"free").unwrap(), Room::Free);
        let fill_disk = || std::os::unix::fs::symlink("/dev/full", &temporary).unwrap();
        fill_disk();
        assert_eq!(reserve.write(&temporary, b"kept").unwrap(), Room::Reserved);
        assert_eq!(std::fs::read(&temporary).unwrap(), b"kept");
        std::fs::remove_file(&temporary).unwrap();
        for text in ["a", "b"] {
            fill_disk();
            reserve.replace(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        fill_disk();
        assert!(reserve.replace(&path, &[0; FILE_BYTES + 1]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"b");
        assert!(!temporary.exists(), "what the failed try took is given back");
    }
}
