//! Carries a task's output from its pipes into files of bounded size.
//!
//! Way in: [`copy`]. A full file is renamed to `<name>.1` over the one before. When the
//! disk takes nothing more the bytes are counted and dropped, so that the task never
//! freezes on a full pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};

/// Size at which a file is put aside; with the one before it, twice this is kept per stream.
pub const OUTPUT_BYTES_MAX: u64 = 10 << 20;
/// Taken from a pipe at once: half of what the kernel lets a pipe hold.
const CHUNK_BYTES: usize = 32 << 10;

/// Copies both pipes until both are closed by all who could write into them.
pub(crate) fn copy(dir: &Path, stdout: impl Read + AsFd, stderr: impl Read + AsFd, bytes_max: u64) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut stdout = Some((stdout, Keeper::new(dir.join("stdout"), bytes_max)));
    let mut stderr = Some((stderr, Keeper::new(dir.join("stderr"), bytes_max)));
    while stdout.is_some() || stderr.is_some() {
        let (out, err) = ready(stdout.as_ref().map(|(pipe, _)| pipe), stderr.as_ref().map(|(pipe, _)| pipe));
        if out && !stdout.as_mut().is_some_and(|(pipe, keeper)| take(pipe, keeper, &mut chunk)) {
            stdout = None;
        }
        if err && !stderr.as_mut().is_some_and(|(pipe, keeper)| take(pipe, keeper, &mut chunk)) {
            stderr = None;
        }
    }
}

/// Waits until one of the pipes has bytes or is closed, and says which.
fn ready(stdout: Option<&impl AsFd>, stderr: Option<&impl AsFd>) -> (bool, bool) {
    let mut waits = Vec::with_capacity(2);
    waits.extend(stdout.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    waits.extend(stderr.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    if poll(&mut waits, None).is_err() {
        return (false, false);
    }
    let mut answers = waits.iter().map(|wait| !wait.revents().is_empty());
    let out = stdout.is_some() && answers.next().unwrap_or(false);
    let err = stderr.is_some() && answers.next().unwrap_or(false);
    (out, err)
}

/// Moves one chunk; false at the end of the pipe.
fn take(pipe: &mut impl Read, keeper: &mut Keeper, chunk: &mut [u8]) -> bool {
    match pipe.read(chunk) {
        Ok(0) => false,
        Ok(count) => {
            keeper.keep(chunk.get(..count).unwrap_or_default());
            true
        }
        Err(error) => error.kind() == io::ErrorKind::Interrupted,
    }
}

/// What a task says is as private as what it was given. Written as whoever runs the agent, whatever
/// user the task has.
fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// One output file and the one before.
struct Keeper {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    bytes_max: u64,
    lost: u64,
}

impl Keeper {
    fn new(path: PathBuf, bytes_max: u64) -> Self {
        let file = create(&path).ok();
        Self { path, file, written: 0, bytes_max, lost: 0 }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let part_max = usize::try_from(self.bytes_max).unwrap_or(usize::MAX).max(1);
        bytes.chunks(part_max).for_each(|part| self.keep_part(part));
    }

    fn keep_part(&mut self, bytes: &[u8]) {
        if self.written.saturating_add(bytes.len() as u64) > self.bytes_max && self.written > 0 {
            self.rotate();
        }
        if self.write(bytes).is_err() {
            self.lost = self.lost.saturating_add(bytes.len() as u64);
        }
    }

    fn rotate(&mut self) {
        let mut before = self.path.clone().into_os_string();
        before.push(".1");
        // A failed rename empties the file instead: the bound matters more than the past.
        let _kept = std::fs::rename(&self.path, &before);
        self.file = create(&self.path).ok();
        self.written = 0;
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(create(&self.path)?);
            self.written = 0;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.lost > 0 {
            let note = format!("\n[platformd: {} bytes were lost here: the disk took no more]\n", self.lost);
            file.write_all(note.as_bytes())?;
            self.written = self.written.saturating_add(note.len() as u64);
            self.lost = 0;
        }
        file.write_all(bytes)?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_kept_up_to_twice_the_size_and_the_newest_survives() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(dir.path().join("stdout"), 100);
        for number in 0..50u8 {
            keeper.keep(format!("line {number:04}\n").as_bytes());
        }
        for name in ["stdout", "stdout.1"] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = dir.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let newest = std::fs::read_to_string(dir.path().join("stdout")).unwrap();
        let before = std::fs::read_to_string(dir.path().join("stdout.1")).unwrap();
        assert!(newest.ends_with("line 0049\n"));
        assert!(newest.len() <= 100 && before.len() <= 100, "{} {}", newest.len(), before.len());
        let first = newest.lines().next().unwrap();
        assert!(before.lines().last().unwrap() < first, "nothing lies between the two");
    }

    #[test]
    fn bytes_that_find_no_disk_are_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(dir.path().join("missing/stdout"), 100);
        keeper.keep(b"gone");
        assert_eq!(keeper.lost, 4);
        std::fs::create_dir(dir.path().join("missing")).unwrap();
        keeper.keep(b"here");
        let text = std::fs::read_to_string(dir.path().join("missing/stdout")).unwrap();
        assert!(text.contains("4 bytes were lost") && text.ends_with("here"), "{text}");
    }
}
