//! Form of the agent's small files: checksum, version, then named fields, so that a later
//! binary may add fields and a damaged file is seen as one.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version that is written. Readers refuse higher ones.
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    version: u16,
    body: T,
}

/// Bytes of a file that holds `body`.
pub(super) fn seal<T: Serialize>(body: &T) -> io::Result<Vec<u8>> {
    let content =
        rmp_serde::to_vec_named(&Sealed { version: VERSION, body }).map_err(|e| invalid(e.to_string()))?;
    let mut bytes = crc32fast::hash(&content).to_be_bytes().to_vec();
    bytes.extend(content);
    Ok(bytes)
}

/// What such bytes hold.
pub(super) fn open<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let (sum, content) = bytes.split_first_chunk::<4>().ok_or_else(|| invalid("too short"))?;
    if crc32fast::hash(content).to_be_bytes() != *sum {
        return Err(invalid("checksum does not match"));
    }
    let sealed: Sealed<T> = rmp_serde::from_slice(content).map_err(|e| invalid(e.to_string()))?;
    if sealed.version > VERSION {
        return Err(invalid(format!("written by a later version ({})", sealed.version)));
    }
    Ok(sealed.body)
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
