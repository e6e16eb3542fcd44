//! What this machine has, for an agent that was not told.
//!
//! Way in: [`measure`], [`boot_id`]. Leaves something for the machine itself, as Mesos did.

use std::fs;
use std::io;
use std::path::Path;

use crate::domain::{PortRanges, Resources, Scalar};

/// Memory left to the machine itself, in MiB.
const MEM_LEFT: u64 = 1024;
/// Disk left to the machine itself, in MiB.
const DISK_LEFT: u64 = 5 * 1024;
/// Ports of tasks unless told otherwise. Source: Mesos.
const PORTS: (u16, u16) = (31000, 32000);
const BYTES_PER_MIB: u64 = 1 << 20;
/// Where control groups say how much memory we may use, in their versions 2 and 1.
const MEMORY_LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Processors, memory and the disk that holds `data_dir`, less a share for the machine;
/// no gpus; Mesos' ports.
///
/// # Errors
/// When the kernel does not tell one of them; the error names which and what to do.
pub fn measure(data_dir: &Path) -> io::Result<Resources> {
    let cpus = std::thread::available_parallelism()
        .map_err(|error| cannot("processors", "cpus:4", &error.to_string()))?;
    let mem = memory_mib().ok_or_else(|| cannot("memory", "mem:8192", "/proc/meminfo has no MemTotal"))?;
    let disk = disk_mib(data_dir)
        .map_err(|error| cannot("disk", "disk:10000", &format!("{}: {error}", data_dir.display())))?;
    let whole = |amount: u64| Scalar::from_thousandths(amount.saturating_mul(1000));
    Ok(Resources {
        cpus: whole(u64::try_from(cpus.get()).unwrap_or(1)),
        mem: whole(spare(mem, MEM_LEFT)),
        disk: whole(spare(disk, DISK_LEFT)),
        gpus: Scalar::ZERO,
        ports: PortRanges::new([PORTS]),
    })
}

/// Names the present boot of this machine.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn cannot(what: &str, example: &str, reason: &str) -> io::Error {
    io::Error::other(format!("measure this machine's {what} ({reason}); say it: --resources '{example}'"))
}

/// All but `left`, or half, whichever is more.
fn spare(total: u64, left: u64) -> u64 {
    total.saturating_sub(left).max(total / 2)
}

fn memory_mib() -> Option<u64> {
    let total = mem_total(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let limits = MEMORY_LIMITS.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    let limit = limits.map(|bytes: u64| bytes / BYTES_PER_MIB).min();
    Some(limit.map_or(total, |limit| total.min(limit)))
}

/// Source: proc_meminfo(5); the kernel writes kB and means KiB.
fn mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

fn disk_mib(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize) / BYTES_PER_MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_left_to_the_machine() {
        assert_eq!(spare(8192, MEM_LEFT), 7168);
        assert_eq!(spare(1500, MEM_LEFT), 750);
        assert_eq!(spare(0, MEM_LEFT), 0);
        assert_eq!(mem_total("MemFree: 1 kB\nMemTotal:       16384000 kB\n"), Some(16000));
    }

    #[test]
    fn this_machine_has_something_to_give() {
        let dir = tempfile::tempdir().unwrap();
        let totals = measure(dir.path()).unwrap();
        assert!(totals.cpus >= Scalar::from_thousandths(1000));
        assert!(totals.mem > Scalar::ZERO && totals.disk > Scalar::ZERO);
        assert_eq!(totals.ports.count(), 1001);
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
