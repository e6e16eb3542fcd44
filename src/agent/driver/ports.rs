//! Finds host ports that somebody else holds, so that they are not offered.
//!
//! Way in: [`held_by_strangers`]. Asks the kernel for its sockets, or reads its tables of them where it
//! cannot be asked, and binds nothing, since binding would itself disturb a task that starts at the same
//! moment.

use std::collections::BTreeSet;
use std::fs;

use netlink_packet_sock_diag::constants::{IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::StateFlags;

use super::sock_diag;
use crate::domain::PortRanges;

/// Sockets of which one in a certain state means that its port is taken.
struct Kind {
    is_v6: bool,
    protocol: u8,
    state: StateFlags,
    /// The kernel's table of them, and how it writes the state.
    table: (&'static str, &'static str),
}

/// Listening TCP sockets, as tables write it. Source: the kernel's `TCP_LISTEN`.
const TCP_LISTEN: &str = "0A";
/// UDP sockets that are bound and not connected. Source: the kernel's `TCP_CLOSE`.
const UDP_UNCONNECTED: &str = "07";

const KINDS: [Kind; 4] = [
    Kind::tcp(false, "/proc/net/tcp"),
    Kind::tcp(true, "/proc/net/tcp6"),
    Kind::udp(false, "/proc/net/udp"),
    Kind::udp(true, "/proc/net/udp6"),
];

impl Kind {
    const fn tcp(is_v6: bool, table: &'static str) -> Self {
        Self { is_v6, protocol: IPPROTO_TCP, state: StateFlags::LISTEN, table: (table, TCP_LISTEN) }
    }

    const fn udp(is_v6: bool, table: &'static str) -> Self {
        Self { is_v6, protocol: IPPROTO_UDP, state: StateFlags::CLOSE, table: (table, UDP_UNCONNECTED) }
    }

    fn ports(&self) -> Vec<u16> {
        sock_diag::local_ports(self.is_v6, self.protocol, self.state.clone())
            .unwrap_or_else(|_| self.ports_in_table())
    }

    fn ports_in_table(&self) -> Vec<u16> {
        let (table, state) = self.table;
        ports_in(&fs::read_to_string(table).unwrap_or_default(), state)
    }
}

/// Ports of `among` on which somebody listens, without those in `ours`.
pub fn held_by_strangers(among: &PortRanges, ours: &PortRanges) -> PortRanges {
    if among.ranges().is_empty() {
        return PortRanges::default();
    }
    let held = KINDS.iter().flat_map(Kind::ports);
    PortRanges::of(
        held.filter(|port| among.contains(*port) && !ours.contains(*port)).collect::<BTreeSet<u16>>(),
    )
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

    /// Whether this kernel cannot be asked. Linux has the door and TCP behind it, UDP where somebody
    /// wanted it; sandboxes that play a kernel have none. Source: its `net/ipv4/Kconfig`.
    fn is_not_built_in(kind: &Kind, error: &std::io::Error) -> bool {
        let is_udp = kind.protocol == IPPROTO_UDP;
        sock_diag::open().is_err() || is_udp && error.kind() == std::io::ErrorKind::NotFound
    }

    #[test]
    fn the_kernel_and_its_tables_say_the_same() {
        let all_of = |ports: Vec<u16>| ports.into_iter().collect::<BTreeSet<u16>>();
        let (tcp, tcp6) = (
            std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
            std::net::TcpListener::bind("[::1]:0").unwrap(),
        );
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp6 = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let bound = [
            tcp.local_addr().unwrap().port(),
            tcp6.local_addr().unwrap().port(),
            udp.local_addr().unwrap().port(),
            udp6.local_addr().unwrap().port(),
        ];
        for (kind, port) in KINDS.iter().zip(bound) {
            // Others come and go meanwhile; ours stay.
            assert!(all_of(kind.ports_in_table()).contains(&port), "{:?}", kind.table);
            match sock_diag::local_ports(kind.is_v6, kind.protocol, kind.state.clone()) {
                Ok(asked) => assert!(all_of(asked).contains(&port), "{:?}", kind.table),
                Err(error) => assert!(is_not_built_in(kind, &error), "{:?}: {error}", kind.table),
            }
        }
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
