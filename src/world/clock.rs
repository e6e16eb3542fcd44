//! What time it is. The only file that reads the wall clock.
//!
//! Monotonic waits use `tokio::time`, which the simulator drives by itself.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells wall-clock time in milliseconds since the Unix epoch.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch; may jump either way.
    fn now_millis(&self) -> i64;
}

/// The machine's clock; in the simulator, the simulated host's.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

#[cfg(not(feature = "sim"))]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now_millis(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(feature = "sim")]
impl Clock for SystemClock {
    fn now_millis(&self) -> i64 {
        // 2026-01-01, so that simulated times look like times.
        const EPOCH_MILLIS: i64 = 1_767_225_600_000;
        let elapsed = turmoil::sim_elapsed().unwrap_or(Duration::ZERO);
        let _ = (SystemTime::UNIX_EPOCH, UNIX_EPOCH);
        EPOCH_MILLIS.saturating_add(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `millis` until moved.
    pub fn at(millis: i64) -> Self {
        Self(AtomicI64::new(millis))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_millis(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
