//! The directory of `platformd dev`: held by one process at a time, and emptied on request.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::timeout;

use super::dev_app::say;
use crate::agent::driver::{DriverError, TaskDriver, TaskHandle};
use crate::cli::{ExitError, exit_code};

/// Locked as long as a dev cluster uses the directory.
const LOCK: &str = "dev.lock";

/// From TERM to KILL for tasks that an earlier run left behind.
const GRACE: Duration = Duration::from_secs(3);

/// Longest wait for the end of one of them.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// How many masters there are unless somebody says otherwise.
const MASTERS: u8 = 1;

/// Directory of master `n`, counted from 1.
pub(super) fn of_master(dir: &Path, n: usize) -> PathBuf {
    dir.join("masters").join(n.to_string())
}

/// Proof that this process has the directory.
pub(super) struct DevDir {
    path: PathBuf,
    _lock: File,
}

/// Takes the directory, before anything in it is touched.
pub(super) fn take(path: &Path) -> Result<DevDir, ExitError> {
    let refused = |error: &io::Error| {
        let message = format!("cannot use {}: {error}; check its owner and mode", path.display());
        ExitError::new(exit_code::DATA, message)
    };
    std::fs::create_dir_all(path).map_err(|error| refused(&error))?;
    let lock = File::options().create(true).append(true).open(path.join(LOCK));
    let lock = lock.map_err(|error| refused(&error))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DevDir { path: path.to_owned(), _lock: lock }),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let advice = "stop that one, or give this one another --data-dir";
            let message =
                format!("data directory in use: another platformd dev has {}; {advice}", path.display());
            Err(ExitError::new(exit_code::DATA, message))
        }
        Err(errno) => Err(refused(&errno.into())),
    }
}

impl DevDir {
    /// Directories of the agents that an earlier run had.
    pub(super) fn agents(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path.join("agents")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// How many masters to run: as many as made the state, since a majority of them has to be
    /// there. Without state it is what was `said`, and their directories are made, which from
    /// then on tell the number.
    pub(super) fn masters(&self, said: Option<u8>) -> Result<u8, ExitError> {
        let entries = std::fs::read_dir(self.path.join("masters")).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u8>().ok());
        let dir = self.path.display();
        match (numbers.max(), said) {
            (None, _) => {
                let count = said.unwrap_or(MASTERS);
                self.make_masters(count)?;
                Ok(count)
            }
            (Some(made), Some(said)) if made != said => {
                let message = format!(
                    "--masters {said}: the state in {dir} belongs to a cluster with {}; leave --masters away to \
                     go on with it, or begin anew with --fresh",
                    of_them(made)
                );
                Err(ExitError::new(exit_code::USAGE, message))
            }
            (Some(made), None) if made != MASTERS => {
                say(&format!("Masters  {made}, as in the state in {dir}"));
                Ok(made)
            }
            (Some(made), _) => Ok(made),
        }
    }

    /// The highest number comes first: whoever is killed in between has said how many.
    fn make_masters(&self, count: u8) -> Result<(), ExitError> {
        for n in (1..=count).rev() {
            let dir = of_master(&self.path, usize::from(n));
            std::fs::create_dir_all(&dir).map_err(|error| {
                let message = format!("cannot make {}: {error}; check its owner and mode", dir.display());
                ExitError::new(exit_code::DATA, message)
            })?;
        }
        Ok(())
    }

    /// Removes all state. Tasks must have been stopped: nobody finds them afterwards.
    pub(super) fn forget(&self) -> Result<(), ExitError> {
        for part in ["masters", "agents"] {
            let dir = self.path.join(part);
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let message = format!("cannot remove {}: {error}; remove it by hand", dir.display());
                    return Err(ExitError::new(exit_code::DATA, message));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn of_them(masters: u8) -> String {
    if masters == 1 { "1 master".to_owned() } else { format!("{masters} masters") }
}

/// Stops and removes every task that the runtimes know of.
pub(super) async fn stop_all(driver: &Arc<dyn TaskDriver>) -> Result<(), ExitError> {
    let failed = |what: String, error: &DriverError| {
        ExitError::new(exit_code::FAILED, format!("cannot {what}: {error}; stop it by hand, then try again"))
    };
    let left =
        driver.list().await.map_err(|error| failed("list tasks of an earlier run".to_owned(), &error))?;
    let stopping = left.iter().map(|handle| async move {
        stop_one(driver, handle).await.map_err(|error| failed(format!("stop task {}", handle.task), &error))
    });
    futures_util::future::try_join_all(stopping).await.map(drop)
}

async fn stop_one(driver: &Arc<dyn TaskDriver>, handle: &TaskHandle) -> Result<(), DriverError> {
    driver.stop(handle, GRACE).await?;
    match timeout(END_TIMEOUT, driver.wait(handle)).await {
        Ok(Ok(_) | Err(DriverError::Missing)) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(DriverError::Failed("it has not ended in time".to_owned())),
    }
    driver.remove(handle).await
}
