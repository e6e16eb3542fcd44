//! What the leader counts, for the metrics, beside each cycle's own figures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counters and gauges of the leader's work; all stay 0 on a master that never leads.
#[derive(Debug, Default)]
pub struct LeaderStats {
    /// Instances that waited after the latest cycle.
    pub waiting: AtomicU64,
    /// Deployments under way at the latest look.
    pub deployments_active: AtomicU64,
    /// Agents found unreachable.
    pub agents_lost: AtomicU64,
    /// Times the leader found that it had itself stalled, and judged nobody for a while.
    pub stalls: AtomicU64,
    /// Terms led.
    pub terms: AtomicU64,
    /// Since when this master leads, while it does.
    leading_since: Mutex<Option<Instant>>,
}

impl LeaderStats {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn set(gauge: &AtomicU64, count: usize) {
        gauge.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long this master has been leading; nothing while it does not.
    pub fn leading_for(&self) -> Duration {
        let since = *self.leading_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Notes that a term has begun.
    pub(super) fn step_up(&self) {
        Self::add(&self.terms, 1);
        *self.leading_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Forgets what is only true of a leader.
    pub(super) fn step_down(&self) {
        *self.leading_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Self::set(&self.waiting, 0);
        Self::set(&self.deployments_active, 0);
    }
}
