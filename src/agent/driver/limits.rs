//! What a task may use, in the units of the kernel.
//!
//! Way in: [`Limits::of`]. The same for containers and plain processes.

use crate::domain::{Resources, Scalar};

/// Shares of one whole processor. Source: spec 3.4.
const SHARES_PER_CPU: u64 = 1024;
/// The kernel takes no fewer.
const SHARES_MIN: u64 = 2;
/// A smaller limit kills a program before it can say why. Mesos has the same floor.
const MEMORY_BYTES_MIN: u64 = 32 << 20;
/// Processes and threads of one task: beyond any honest server, far below the machine's own limit.
const PIDS_MAX: u64 = 4096;

/// Limits of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Weight against others when processors are short.
    pub cpu_shares: u64,
    /// Bytes of memory; absent without a limit.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
}

impl Limits {
    /// Derives the limits from what a task booked; no memory booked means no limit.
    pub fn of(resources: &Resources) -> Self {
        let memory = resources.mem.thousandths().saturating_mul(1 << 20) / 1000;
        Self {
            cpu_shares: (resources.cpus.thousandths().saturating_mul(SHARES_PER_CPU) / 1000).max(SHARES_MIN),
            memory_bytes: (resources.mem > Scalar::ZERO).then_some(memory.max(MEMORY_BYTES_MIN)),
            pids: PIDS_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cpus: f64, mem: f64, shares: u64, memory_mib: Option<u64>) {
        let amount = |value| Scalar::from_f64(value).unwrap();
        let limits = Limits::of(&Resources { cpus: amount(cpus), mem: amount(mem), ..Resources::default() });
        assert_eq!((limits.cpu_shares, limits.memory_bytes.map(|bytes| bytes >> 20)), (shares, memory_mib));
    }

    #[test]
    fn shares_and_bytes_follow_what_was_booked() {
        check(1.0, 128.0, 1024, Some(128));
        check(0.1, 64.0, 102, Some(64));
        check(2.5, 4096.0, 2560, Some(4096));
    }

    #[test]
    fn tiny_amounts_are_lifted_to_what_works() {
        check(0.0, 1.0, 2, Some(32));
        check(0.001, 0.0, 2, None);
    }
}
