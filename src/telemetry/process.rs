//! Figures of this process, as the kernel tells them in `/proc/self`. What cannot be read is
//! left out.

use super::metrics;
use super::samples::Samples;

/// Kernel ticks per second in `/proc`; fixed on Linux for programs.
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: f64 = 1024.0;

/// Adds this process' figures.
pub(super) fn sample(samples: &mut Samples) {
    if let Some(stat) = read("/proc/self/stat") {
        sample_times(samples, &stat);
    }
    if let Some(status) = read("/proc/self/status") {
        for line in status.lines() {
            let mut words = line.split_whitespace();
            let (name, value) = (words.next(), words.next().and_then(|word| word.parse::<f64>().ok()));
            match (name, value) {
                (Some("VmRSS:"), Some(kib)) => samples.set(&metrics::PROCESS_RESIDENT, &[], kib * KIB),
                (Some("VmSize:"), Some(kib)) => samples.set(&metrics::PROCESS_VIRTUAL, &[], kib * KIB),
                (Some("Threads:"), Some(threads)) => samples.set(&metrics::PROCESS_THREADS, &[], threads),
                _ => {}
            }
        }
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        let open = entries.count().saturating_sub(1);
        samples.set_count(&metrics::PROCESS_OPEN_FDS, &[], u64::try_from(open).unwrap_or(u64::MAX));
    }
    if let Some(max) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        samples.set_count(&metrics::PROCESS_MAX_FDS, &[], max);
    }
}

/// Fields 14, 15 and 22 of `/proc/self/stat`: user and system time, and start after boot.
fn sample_times(samples: &mut Samples, stat: &str) {
    // The name in parentheses may hold anything; fields are counted behind it.
    let Some((_, fields)) = stat.rsplit_once(") ") else { return };
    let field = |number: usize| -> Option<f64> { fields.split(' ').nth(number - 3)?.parse().ok() };
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        samples.set(&metrics::PROCESS_CPU, &[], (user + system) / TICKS_PER_SECOND);
    }
    if let (Some(start), Some(boot)) = (field(22), boot_time()) {
        samples.set(&metrics::PROCESS_START, &[], boot + start / TICKS_PER_SECOND);
    }
}

fn boot_time() -> Option<f64> {
    let stat = read("/proc/stat")?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
