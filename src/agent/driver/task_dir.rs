//! Where a task's files lie on this machine.
//!
//! Way in: [`task_dir`]. The directory is named after the task, so that ids are judged
//! here before they touch the file system.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::DriverError;
use crate::domain::TaskId;

/// Below a task's directory: what the task itself may write into.
pub(crate) const SANDBOX: &str = "sandbox";
/// A file name may have 255 bytes on every file system of note; suffixes want some.
const TASK_ID_BYTES_MAX: usize = 240;

/// The directory of `task` below `tasks`.
///
/// # Errors
/// [`DriverError::Refused`] when the id cannot name a directory.
pub(crate) fn task_dir(tasks: &Path, task: &TaskId) -> Result<PathBuf, DriverError> {
    let name = task.as_str();
    let is_plain = !name.is_empty()
        && name.len() <= TASK_ID_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
    if is_plain {
        Ok(tasks.join(name))
    } else {
        Err(DriverError::Refused(format!("task id '{name}' cannot name a directory")))
    }
}

/// Makes the directory of all tasks and gives its absolute path.
pub(crate) fn make_tasks(tasks: &Path) -> io::Result<PathBuf> {
    make(tasks, PASSABLE)?;
    tasks.canonicalize()
}

/// Makes a task's directory and its sandbox; a repeat finds them.
pub(crate) fn make_task(dir: &Path) -> io::Result<PathBuf> {
    let sandbox = dir.join(SANDBOX);
    make(dir, PASSABLE)?;
    make(&sandbox, READABLE)?;
    Ok(sandbox)
}

/// Removes a task's directory; one that is gone is no error.
pub(crate) fn remove(dir: &Path) -> Result<(), DriverError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DriverError::Failed(format!("remove {}: {error}", dir.display())))
        }
        _ => Ok(()),
    }
}

/// Others may pass through, since tasks may run as other users, but not look around.
const PASSABLE: u32 = 0o711;
const READABLE: u32 = 0o755;

fn make(dir: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(dir)
}
