//! Numbers that stand for texts: the same on every machine and in every version.

pub(super) use crate::domain::fingerprint;

/// Spreads a number over all its bits: neighbours have nothing in common afterwards.
/// Source: splitmix64, its last steps.
pub(super) fn scattered(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
