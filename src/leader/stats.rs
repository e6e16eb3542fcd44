//! What the leader counts, for the metrics, beside each cycle's own figures.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

impl LeaderStats {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn set(gauge: &AtomicU64, count: usize) {
        gauge.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Forgets what is only true of a leader.
    pub(super) fn step_down(&self) {
        Self::set(&self.waiting, 0);
        Self::set(&self.deployments_active, 0);
    }
}
