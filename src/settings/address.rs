//! `host:port` as people write it, kept exactly as given.

use std::fmt;
use std::net::IpAddr;

/// A host name or IP address with a port. Brackets around IPv6: `[::1]:8080`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    host_length: usize,
    port: u16,
}

/// Longest host name there is in DNS.
const HOST_LENGTH_MAX: usize = 253;

impl Address {
    /// Reads `host:port`; nothing when it is not one.
    pub fn parse(raw: &str) -> Option<Self> {
        let (host, port) = raw.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match inner {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_name_or_ipv4(host),
        };
        is_host.then(|| Self { text: raw.to_owned(), host_length: host.len(), port })
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without brackets.
    pub fn host(&self) -> &str {
        let host = self.text.get(..self.host_length).unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port; 0 means "choose one".
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port, once "choose one" has been decided.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        let host = self.text.get(..self.host_length).unwrap_or_default();
        Self { text: format!("{host}:{port}"), host_length: self.host_length, port }
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self.host().parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => self.host() == "localhost",
        }
    }

    /// Whether it stands for every interface, and so cannot be dialled by others.
    pub fn is_wildcard(&self) -> bool {
        self.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

fn is_name_or_ipv4(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !host.is_empty() && host.len() <= HOST_LENGTH_MAX && host.bytes().all(allowed)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, host: &str, port: u16, is_loopback: bool) {
        let address = Address::parse(raw).unwrap();
        assert_eq!((address.host(), address.port(), address.is_loopback()), (host, port, is_loopback));
        assert_eq!(address.to_string(), raw);
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        check("127.0.0.1:8080", "127.0.0.1", 8080, true);
        check("127.0.0.2:0", "127.0.0.2", 0, true);
        check("[::1]:5050", "::1", 5050, true);
        check("localhost:80", "localhost", 80, true);
        check("master-1.example:5050", "master-1.example", 5050, false);
        check("0.0.0.0:5050", "0.0.0.0", 5050, false);
        assert_eq!(Address::parse("[::]:5050").unwrap().with_port(7).as_str(), "[::]:7");
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for bad in ["", ":80", "host", "host:", "host:70000", "::1:80", "http://host:80", "a b:80", "[a]:80"]
        {
            assert_eq!(Address::parse(bad), None, "{bad:?}");
        }
    }
}
