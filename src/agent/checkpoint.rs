//! What survives a restart of the agent: one small file per task, written before anything
//! is told or done for it. Way in: [`Checkpoints::load`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::effect::DiskRoom;
use super::record::TaskRecord;
use super::reserve::{FILE_BYTES, Reserve, Room};
use super::sealed;
use crate::domain::TaskId;
use crate::world::fs;

/// Directory of the files, below the data directory.
const DIRECTORY: &str = "checkpoints";
const SUFFIX: &str = ".task";
/// Suffix of a file that could not be read; kept for people.
const DAMAGED: &str = ".damaged";
/// What has to fit beside the reserve before a full disk takes tasks again: the records, files and first
/// output of a few tasks, and far more than what one that was given back leaves.
const AMPLE_BYTES: usize = 1 << 20;

/// The files of one agent's tasks.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    path: PathBuf,
    reserve: Reserve,
}

impl Checkpoints {
    /// Opens the directory below `data` and reads every record. A damaged file is set
    /// aside with a warning: the drivers' own list tells of its task.
    pub(super) fn load(data: &Path) -> io::Result<(Self, Vec<TaskRecord>)> {
        let path = data.join(DIRECTORY);
        // Environments of tasks lie there, secrets among them.
        fs::create_private_dir(&path)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&path)? {
            files.push(entry?.path());
        }
        files.sort();
        let is_record = |file: &&PathBuf| file.to_string_lossy().ends_with(SUFFIX);
        let records = files.iter().filter(is_record).filter_map(|file| read_or_set_aside(file)).collect();
        Ok((Self { path, reserve: Reserve::open(data)? }, records))
    }

    /// Writes records; all of them are durable on return. On a full disk the ends of tasks still
    /// find room: [`Room::Reserved`] says that some did.
    pub(super) fn save(&self, records: &[TaskRecord]) -> io::Result<Room> {
        let mut names = Vec::with_capacity(records.len());
        let mut room = Room::Free;
        for record in records {
            let temporary = self.path.join(format!(".{}.tmp", record.task()));
            let bytes = sealed::seal(record)?;
            if !record.is_ended() {
                fs::write_private(&temporary, &bytes)?;
            } else if self.reserve.write(&temporary, &bytes)? == Room::Reserved {
                room = Room::Reserved;
            }
            names.push((temporary, self.file_of(record.task())));
        }
        for (temporary, file) in names {
            fs::rename(&temporary, &file)?;
        }
        fs::sync_dir(&self.path)?;
        Ok(room)
    }

    /// Writes those that can be written, each for itself, and gives the tasks of these.
    pub(super) fn save_each(&self, records: &[TaskRecord]) -> Vec<TaskId> {
        let saved = records.iter().filter(|record| self.save(std::slice::from_ref(*record)).is_ok());
        saved.map(|record| record.task().clone()).collect()
    }

    /// Whether there is room for another record, and, where the disk was full, whether for far more.
    /// What is kept for ends is made whole again, and belongs to it: the little that a removed record
    /// leaves is no room for new tasks.
    pub(super) fn look(&self, was_full: bool) -> DiskRoom {
        if let Err(error) = self.try_room(FILE_BYTES).and_then(|()| self.reserve.fill()) {
            return DiskRoom::No(self.refusal(&error));
        }
        if was_full && self.try_room(AMPLE_BYTES).is_ok() {
            return DiskRoom::Ample;
        }
        let (kib, path) = (AMPLE_BYTES >> 10, self.path.display());
        DiskRoom::Little(format!("its disk was full, and nothing is started before {kib} KiB fit at {path}"))
    }

    /// Writes so much, and takes it away.
    fn try_room(&self, bytes: usize) -> io::Result<()> {
        let path = self.path.join(".look.tmp");
        let tried = fs::File::create(&path).and_then(|mut file| file.write_all(&vec![0; bytes]));
        let removed = fs::remove_file(&path);
        tried.and(removed)
    }

    /// For people: that the disk takes no records.
    pub(super) fn refusal(&self, error: &io::Error) -> String {
        format!("its disk takes no records at {}: {error}", self.path.display())
    }

    /// Drops the record of a task. Not synced: should it come back after a crash, its end
    /// is told once more and it is dropped again.
    pub(super) fn forget(&self, task: &TaskId) -> io::Result<()> {
        match fs::remove_file(self.file_of(task)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn file_of(&self, task: &TaskId) -> PathBuf {
        self.path.join(format!("{task}{SUFFIX}"))
    }
}

fn read_or_set_aside(file: &Path) -> Option<TaskRecord> {
    let result = fs::read(file).and_then(|bytes| sealed::open::<TaskRecord>(&bytes));
    let error = match result {
        Ok(record) => return Some(record),
        Err(error) => error,
    };
    tracing::warn!(file = %file.display(), %error, "a task's record is damaged and set aside; the task is left alone");
    let mut aside = file.as_os_str().to_owned();
    aside.push(DAMAGED);
    if let Err(error) = fs::rename(file, PathBuf::from(aside)) {
        tracing::warn!(file = %file.display(), %error, "failed to set the record aside");
    }
    None
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn a_record(name: &str) -> TaskRecord {
        TaskRecord::nameless(&TaskId::new(name), "boot", Timestamp::from_millis(1))
    }

    #[test]
    fn records_last_until_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (files, records) = Checkpoints::load(dir.path()).unwrap();
        assert!(records.is_empty());
        let (a, b) = (a_record("a"), a_record("b"));
        files.save(&[a.clone(), b.clone()]).unwrap();
        files.forget(a.task()).unwrap();
        files.forget(a.task()).unwrap();
        assert_eq!(Checkpoints::load(dir.path()).unwrap().1, [b]);
    }

    #[test]
    fn records_are_for_their_owner_also_where_an_earlier_version_made_the_directory() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = dir.path().join(DIRECTORY);
        std::fs::create_dir(&checkpoints).unwrap();
        std::fs::set_permissions(&checkpoints, std::fs::Permissions::from_mode(0o755)).unwrap();
        Checkpoints::load(dir.path()).unwrap();
        assert_eq!(checkpoints.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_the_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (files, _) = Checkpoints::load(dir.path()).unwrap();
        files.save(&[a_record("a"), a_record("b")]).unwrap();
        let file = files.file_of(&TaskId::new("a"));
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(Checkpoints::load(dir.path()).unwrap().1, [a_record("b")]);
        assert!(dir.path().join("checkpoints/a.task.damaged").exists());
    }
}
