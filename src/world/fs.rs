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

/// Replaces the file at `path` by `bytes`, so that a crash leaves the old or the new content.
///
/// # Errors
/// What the file system answers; the old content is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
    let temporary = parent.join(format!(".{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&temporary, path)?;
    sync_dir(parent)
}
