//! Faults that the simulator plants in our own code, to show that it would notice them.
//!
//! Here because every room that may leave something out has to see its switch, and only this
//! floor is below all of them. Only with feature `sim` can they be switched on; a real build
//! has constants here.

#[cfg(feature = "sim")]
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers "durable" without syncing.
#[cfg(feature = "sim")]
pub static SKIP_FSYNC: AtomicBool = AtomicBool::new(false);

/// Lets terms count for nothing: proposals of an older term are recorded, a leader without
/// its quorum goes on, and agents heed whoever speaks.
#[cfg(feature = "sim")]
pub static SKIP_TERM_CHECK: AtomicBool = AtomicBool::new(false);

#[cfg(feature = "sim")]
pub(crate) fn skips_fsync() -> bool {
    SKIP_FSYNC.load(Ordering::Relaxed)
}

#[cfg(feature = "sim")]
pub(crate) fn skips_term_check() -> bool {
    SKIP_TERM_CHECK.load(Ordering::Relaxed)
}

#[cfg(not(feature = "sim"))]
pub(crate) const fn skips_fsync() -> bool {
    false
}

#[cfg(not(feature = "sim"))]
pub(crate) const fn skips_term_check() -> bool {
    false
}
