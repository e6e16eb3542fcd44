//! Finds host ports that somebody else holds, so that they are not offered.
//!
//! Way in: [`held_by_strangers`]. Reads the kernel's socket tables and binds nothing,
//! since binding would itself disturb a task that starts at the same moment.

use std::collections::BTreeSet;
use std::fs;

use crate::domain::PortRanges;

/// Listening TCP sockets. Source: the kernel's `TCP_LISTEN`.
const TCP_LISTEN: &str = "0A";
/// UDP sockets that are bound and not connected. Source: the kernel's `TCP_CLOSE`.
const UDP_UNCONNECTED: &str = "07";
/// The tables, and which state means that a port is taken.
const TABLES: [(&str, &str); 4] = [
    ("/proc/net/tcp", TCP_LISTEN),
    ("/proc/net/tcp6", TCP_LISTEN),
    ("/proc/net/udp", UDP_UNCONNECTED),
    ("/proc/net/udp6", UDP_UNCONNECTED),
];

/// Ports of `among` on which somebody listens, without those in `ours`.
pub fn held_by_strangers(among: &PortRanges, ours: &PortRanges) -> PortRanges {
    let held: BTreeSet<u16> = TABLES
        .iter()
        .flat_map(|(path, state)| ports_in(&fs::read_to_string(path).unwrap_or_default(), state))
        .filter(|port| among.contains(*port) && !ours.contains(*port))
        .collect();
    PortRanges::of(held)
}

/// Local ports of the sockets in one state. Source: proc_net(5).
fn ports_in(table: &str, state: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        (fields.nth(1)? == state).then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok())?
    };
    table.lines().skip(1).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_in_the_wanted_state_count() {
        let table = "  sl  local_address rem_address   st\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000\n\
             2: 00000000000000000000000000000000:C350 00000000:0000 0A 0\n\
             3: broken\n";
        assert_eq!(ports_in(table, TCP_LISTEN), [8080, 50000]);
        assert!(ports_in("", TCP_LISTEN).is_empty());
    }

    #[test]
    fn a_listening_port_is_held_until_it_is_ours() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let ports = [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()];
        let all = PortRanges::new([(1, u16::MAX)]);
        let held = held_by_strangers(&all, &PortRanges::default());
        assert!(ports.iter().all(|port| held.contains(*port)), "{held}");
        let held = held_by_strangers(&all, &PortRanges::of(ports));
        assert!(!ports.iter().any(|port| held.contains(*port)), "{held}");
        assert_eq!(held_by_strangers(&PortRanges::default(), &PortRanges::default()), PortRanges::default());
    }
}
