//! Faults that the simulator plants to show that it would notice them.
//!
//! Only with feature `sim` can they be switched on; a real build has constants here.

#[cfg(feature = "sim")]
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers "durable" without syncing.
#[cfg(feature = "sim")]
pub static SKIP_FSYNC: AtomicBool = AtomicBool::new(false);

/// Records proposals that were planned in an older term.
#[cfg(feature = "sim")]
pub static SKIP_TERM_CHECK: AtomicBool = AtomicBool::new(false);

#[cfg(feature = "sim")]
pub(super) fn skips_fsync() -> bool {
    SKIP_FSYNC.load(Ordering::Relaxed)
}

#[cfg(feature = "sim")]
pub(super) fn skips_term_check() -> bool {
    SKIP_TERM_CHECK.load(Ordering::Relaxed)
}

#[cfg(not(feature = "sim"))]
pub(super) const fn skips_fsync() -> bool {
    false
}

#[cfg(not(feature = "sim"))]
pub(super) const fn skips_term_check() -> bool {
    false
}
