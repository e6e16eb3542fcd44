//! A hash of the whole state, equal on every master at equal index.

use super::ClusterState;
use super::codec::encode;
use crate::domain::fingerprint;

/// Fingerprint of the state's lasting bytes. For tests, the simulator and divergence checks;
/// costs one encoding of the state.
pub fn digest(state: &ClusterState) -> u64 {
    fingerprint(encode(state))
}
