//! A master's directory: who it is, and that nobody else uses it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StartError;
use crate::world::{self, fs};

/// File that holds the node id.
const IDENTITY: &str = "identity.json";

/// A prepared directory.
pub(super) struct DataDir {
    /// This master's id, for ever.
    pub(super) node: u64,
    /// What else is remembered beside the id.
    pub(super) identity: Identity,
    /// Holds the directory for this process while open.
    pub(super) lock: Option<fs::File>,
    /// Where log segments lie.
    pub(super) log: PathBuf,
    /// Where snapshots lie.
    pub(super) snapshots: PathBuf,
}

/// A fixed name in the directory; readable, since people look for it after accidents.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    node: u64,
    /// The log has recorded something, so that an empty one is a lost one.
    #[serde(default)]
    has_log: bool,
}

/// What a master remembers of itself outside its log.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    path: PathBuf,
    known: Known,
}

impl Identity {
    /// Whether the log has recorded something before.
    pub(super) fn has_log(&self) -> bool {
        self.known.has_log
    }

    /// Remembers that the log has recorded something. Only once that is durable: a log that
    /// lost what was never promised must not look like a damaged one.
    pub(super) fn note_log(mut self) -> io::Result<()> {
        self.known.has_log = true;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.known).map_err(io::Error::other)?;
        fs::write_atomic(&self.path, &text)
    }
}

/// Creates the directory where needed, takes it, and reads or mints the identity.
///
/// # Errors
/// [`StartError::InUse`] when another process has it, and what the file system says.
pub(super) fn open(dir: &Path) -> Result<DataDir, StartError> {
    let io_error = |source| StartError::DataDir { dir: dir.to_owned(), source };
    let log = dir.join("log");
    let snapshots = dir.join("snapshots");
    // Apps' environments lie in both, secrets among them.
    fs::create_private_dir(&log).map_err(io_error)?;
    fs::create_private_dir(&snapshots).map_err(io_error)?;
    let lock = take(dir)?;
    let identity = identity(dir)?;
    fs::sync_dir(dir).map_err(io_error)?;
    if let Some(parent) = dir.parent().filter(|parent| fs::exists(parent)) {
        fs::sync_dir(parent).map_err(io_error)?;
    }
    Ok(DataDir { node: identity.known.node, identity, lock, log, snapshots })
}

fn identity(dir: &Path) -> Result<Identity, StartError> {
    let io_error = |source| StartError::DataDir { dir: dir.to_owned(), source };
    let path = dir.join(IDENTITY);
    if fs::exists(&path) {
        let bytes = fs::read(&path).map_err(io_error)?;
        return match serde_json::from_slice(&bytes) {
            Ok(known) => Ok(Identity { path, known }),
            Err(error) => Err(StartError::Identity { path, reason: error.to_string() }),
        };
    }
    // 53 bits, so that every JSON reader keeps them; never 0.
    let node = (world::random_u64() >> 11).max(1);
    let identity = Identity { path, known: Known { node, has_log: false } };
    identity.write().map_err(io_error)?;
    Ok(identity)
}

#[cfg(not(feature = "sim"))]
fn take(dir: &Path) -> Result<Option<fs::File>, StartError> {
    use rustix::fs::{FlockOperation, flock};
    let io_error = |source| StartError::DataDir { dir: dir.to_owned(), source };
    let path = dir.join("lock");
    let file =
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io_error)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            Err(StartError::InUse { dir: dir.to_owned() })
        }
        Err(error) => Err(io_error(error.into())),
    }
}

/// The simulator gives each host a disk of its own.
#[cfg(feature = "sim")]
fn take(_dir: &Path) -> Result<Option<fs::File>, StartError> {
    Ok(None)
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn log_and_snapshots_are_for_their_owner_also_where_an_earlier_version_made_them() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str| dir.path().join(name);
        for name in ["log", "snapshots"] {
            std::fs::create_dir(of(name)).unwrap();
            std::fs::set_permissions(of(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        open(dir.path()).unwrap();
        for name in ["log", "snapshots"] {
            assert_eq!(of(name).metadata().unwrap().permissions().mode() & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn a_bad_identity_is_told_once_with_what_helps() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(IDENTITY), "{}").unwrap();
        let error = open(dir.path()).err().unwrap().to_string();
        assert_eq!(error.matches("missing field").count(), 1, "{error}");
        assert!(error.contains("restore") && !error.contains("free space"), "{error}");
    }
}
