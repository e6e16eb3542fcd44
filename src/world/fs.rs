//! Files that must survive a crash: the standard library's, or the simulated disk's,
//! which forgets what was not synced.

#[cfg(not(feature = "sim"))]
pub use std::fs::{File, OpenOptions, create_dir_all, read, read_dir, remove_dir_all, remove_file, rename};
#[cfg(feature = "sim")]
pub use turmoil::fs::shim::std::fs::{
    File, OpenOptions, create_dir_all, read, read_dir, remove_dir_all, remove_file, rename,
};

use std::io::{self, Write};
use std::path::Path;

pub use std::os::unix::fs::FileExt;

/// Whether something is there.
pub fn exists(path: &Path) -> bool {
    #[cfg(not(feature = "sim"))]
    return path.exists();
    #[cfg(feature = "sim")]
    return turmoil::fs::shim::std::fs::exists(path);
}

/// Makes a directory that nobody but its owner may look into; one that is there already becomes so.
///
/// # Errors
/// What the file system answers, and that of others' directories the mode cannot be changed.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    create_dir_all(path)?;
    #[cfg(not(feature = "sim"))]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

/// Makes an empty file that nobody but its owner may read.
///
/// # Errors
/// What the file system answers.
pub fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(not(feature = "sim"))]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes creations, renames and removals in a directory durable.
///
/// # Errors
/// What the file system answers.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(not(feature = "sim"))]
    return std::fs::File::open(path)?.sync_all();
    #[cfg(feature = "sim")]
    return turmoil::fs::shim::std::fs::sync_dir(path);
}

/// Makes the file at `path` one with these bytes, synced; its name is not. Nobody but its owner may
/// read it.
///
/// # Errors
/// What the file system answers; part of it may be there then.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Replaces the file at `path` by `bytes`, so that a crash leaves the old or the new content. Nobody
/// but its owner may read it.
///
/// # Errors
/// What the file system answers; the old content is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(path, |temporary| write_private(temporary, bytes))
}

/// Replaces the file at `path` by the synced one that `write` makes beside it, so that a crash leaves
/// the old or the new one.
///
/// # Errors
/// What `write` and the file system answer; the old file is then still there.
pub fn replace_by(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let temporary = parent.join(format!(".{name}.tmp"));
    write(&temporary)?;
    rename(&temporary, path)?;
    sync_dir(parent)
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_things_are_for_their_owner_and_become_so() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o755)).unwrap();
        create_private_dir(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
        let file = inner.join("file");
        write_atomic(&file, b"1").unwrap();
        assert_eq!(mode(&file), 0o600);
    }
}
