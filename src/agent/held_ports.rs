//! Finds strangers on host ports, and their names where the kernel tells us.
//!
//! Way in: [`KernelPorts`]. A name is looked for only when a task could not start.

use std::fs;
use std::path::Path;

use super::PortProbe;
use super::driver::ports::held_by_strangers;
use crate::domain::PortRanges;

/// The kernel's socket tables of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelPorts;

const TABLES: [&str; 4] = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"];

impl PortProbe for KernelPorts {
    fn held(&self, among: &PortRanges) -> PortRanges {
        held_by_strangers(among, &PortRanges::default())
    }

    fn holder(&self, port: u16) -> Option<String> {
        let inodes = TABLES.iter().filter_map(|table| inode_of(&fs::read_to_string(table).ok()?, port));
        inodes.filter(|inode| *inode != 0).find_map(process_with)
    }
}

/// Inode of the first socket bound to `port`. Source: proc_net(5).
fn inode_of(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit(':').next()?;
        let is_unconnected = fields.get(2)?.ends_with(":0000");
        let is_it = is_unconnected && u16::from_str_radix(local, 16).ok()? == port;
        is_it.then(|| fields.get(9)?.parse().ok())?
    })
}

/// Name and number of a process that has the socket open, if we may look.
fn process_with(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let has = |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|link| link == Path::new(&wanted));
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.filter_map(Result::ok);
        if !descriptors.any(has) {
            return None;
        }
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(format!("{}, process {pid}", name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_and_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(KernelPorts.held(&PortRanges::of([port])).contains(port));
        let holder = KernelPorts.holder(port).unwrap();
        assert!(holder.ends_with(&format!("process {}", std::process::id())), "{holder}");
        drop(listener);
        assert_eq!(KernelPorts.held(&PortRanges::of([port])).count(), 0);
    }
}
