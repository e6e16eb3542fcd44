//! Lasting bytes of log entries and snapshots.
//!
//! MessagePack maps with field names: a record may gain a field with a default and old
//! bytes still read. Golden bytes guard it (`tests/it/golden/log/`).

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that could not be read as what they should be.
#[derive(Debug, thiserror::Error)]
#[error("decode {what}")]
pub struct DecodeError {
    /// What was expected.
    pub what: &'static str,
    /// Why not.
    #[source]
    pub source: rmp_serde::decode::Error,
}

/// Writes a value with named fields.
///
/// # Panics
/// Never for our own types: writing to memory fails only for values that cannot be
/// written at all, which is a bug that the codec's tests would show.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "a bug, found by the codec's tests")]
    rmp_serde::to_vec_named(value).expect("our own types can be written")
}

/// Reads a value with named fields.
///
/// # Errors
/// When the bytes are not such a value.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    rmp_serde::from_slice(bytes).map_err(|source| DecodeError { what, source })
}
