//! Records as bytes: `[len u32][crc32 u32][record]`, little-endian; the sum covers both
//! the length and the record. A length of zero ends a segment: the rest is filler.

use super::Record;
use crate::state::codec;

/// Bytes before each record.
pub(crate) const HEADER_BYTES: usize = 8;

/// Appends a record.
pub(crate) fn push(buffer: &mut Vec<u8>, record: &Record) {
    let body = codec::encode(record);
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    buffer.extend_from_slice(&len);
    buffer.extend_from_slice(&sum(len, &body).to_le_bytes());
    buffer.extend_from_slice(&body);
}

fn sum(len: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len);
    hasher.update(body);
    hasher.finalize()
}

/// What lies at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A whole record, and where the next one begins.
    Record(&'a [u8], usize),
    /// No more records.
    End,
    /// Bytes that are no whole record.
    Torn,
}

/// Looks at `offset`.
pub(crate) fn next(bytes: &[u8], offset: usize) -> Next<'_> {
    let rest = bytes.get(offset..).unwrap_or_default();
    if rest.iter().take(HEADER_BYTES).all(|byte| *byte == 0) {
        return if rest.iter().all(|byte| *byte == 0) { Next::End } else { Next::Torn };
    }
    whole_record(rest).map_or(Next::Torn, |body| Next::Record(body, offset + HEADER_BYTES + body.len()))
}

/// Whether a later group says that the bytes at `offset` had been made durable.
pub(crate) fn was_durable(bytes: &[u8], offset: usize) -> bool {
    /// How `Record::Synced` begins: a map of one, then its name.
    const MARK: &[u8] = b"\x81\xa6Synced";
    let later = bytes.get(offset..).unwrap_or_default();
    let marks = later.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let mut groups = marks.filter_map(|(at, _)| whole_record(later.get(at.checked_sub(HEADER_BYTES)?..)?));
    groups.any(|body| match codec::decode("log record", body) {
        Ok(Record::Synced(upto)) => upto > offset as u64,
        _ => false,
    })
}

fn whole_record(rest: &[u8]) -> Option<&[u8]> {
    let len: [u8; 4] = rest.get(0..4)?.try_into().ok()?;
    let crc: [u8; 4] = rest.get(4..HEADER_BYTES)?.try_into().ok()?;
    let size = usize::try_from(u32::from_le_bytes(len)).ok()?;
    let body = rest.get(HEADER_BYTES..HEADER_BYTES.checked_add(size)?)?;
    (sum(len, body) == u32::from_le_bytes(crc)).then_some(body)
}
