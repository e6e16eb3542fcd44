//! A hash of the whole state, equal on every master at equal index.

use super::ClusterState;
use super::codec::encode;

/// FNV-1a over the state's lasting bytes. For tests, the simulator and divergence checks;
/// costs one encoding of the state.
pub fn digest(state: &ClusterState) -> u64 {
    encode(state).iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
