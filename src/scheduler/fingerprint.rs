//! Numbers that stand for texts: the same on every machine and in every version.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(super) use crate::domain::fingerprint;

/// Found by texts, several times faster than by a hash that withstands whoever writes the texts. Only
/// for looking up: the order of its keys decides nothing.
pub(super) type ByText<K, V> = HashMap<K, V, BuildHasherDefault<Print>>;

/// Stands for a text, eight bytes at a time. What decides uses [`fingerprint`], which never changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Print(u64);

impl Hasher for Print {
    fn write(&mut self, text: &[u8]) {
        let fold = |print: u64, word: u64| (print.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (words, rest) = text.as_chunks::<8>();
        let print = words.iter().fold(self.0, |print, word| fold(print, u64::from_le_bytes(*word)));
        let rest = rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        self.0 = fold(print, rest);
    }

    fn finish(&self) -> u64 {
        scattered(self.0)
    }
}

/// Spreads a number over all its bits: neighbours have nothing in common afterwards.
/// Source: splitmix64, its last steps.
pub(super) fn scattered(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
