//! Reads files that not everybody on the machine may read: secrets and passwords.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// More is no secret but the wrong file.
const FILE_BYTES_MAX: u64 = 65_536;

/// Why such a file cannot be used; a sentence to be put after its flag and path.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file system said no, or it is no text.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Everybody on the machine may read it.
    #[error("may be read by everybody on this machine (mode {mode:o}); take that away with 'chmod 600'")]
    Exposed {
        /// Its permissions.
        mode: u32,
    },
    /// It is no secret but something else.
    #[error("is larger than 64 KiB; is it the right file?")]
    TooLarge,
}

/// Reads the text of `path`, which nobody but its owner and group may read.
///
/// # Errors
/// [`PrivateFileError`].
pub fn read_private(path: &Path) -> Result<String, PrivateFileError> {
    let file = std::fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(PrivateFileError::Exposed { mode });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(PrivateFileError::TooLarge);
    }
    let text = String::from_utf8(bytes);
    Ok(text.map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is no text"))?)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};

    use super::*;

    #[test]
    fn a_file_that_everybody_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write(&path, "x").unwrap();
        set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(read_private(&path).unwrap_err().to_string().contains("chmod 600"));
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_private(&path).unwrap(), "x");
    }

    #[test]
    fn other_files_are_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let check = |part: &str| {
            let error = read_private(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check("cannot be read");
        let fill = |bytes: &[u8]| {
            write(&path, bytes).unwrap();
            set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        };
        fill(&[0xff, 0xfe]);
        check("no text");
        fill(&[b'x'; 70_000]);
        check("64 KiB");
    }
}
