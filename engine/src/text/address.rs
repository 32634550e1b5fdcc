//! Addresses of connections: what the server prints, and what users match it with.
//!
//! It must not look up names, nor ask which addresses this machine has.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::text::word;

/// The IP address in an address as CLIENT LIST prints it (`127.0.0.1:1234`, `[::1]:1234`);
/// `None` for a Unix socket's, or when the server does not know it.
#[must_use]
pub fn ip(addr: &[u8]) -> Option<IpAddr> {
    let colon = addr.iter().rposition(|b| *b == b':')?;
    let host = addr.get(..colon)?;
    match host {
        [b'[', inner @ .., b']'] => parse::<Ipv6Addr>(inner).map(IpAddr::V6),
        _ => parse::<Ipv4Addr>(host).map(IpAddr::V4),
    }
}

/// Whether two addresses are the same text, but that a Unix socket's may be `/path:0` or
/// `[/path:0]:0`: Valkey 9 prints the latter where all others, and its own help, have the
/// former.
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    plain(a) == plain(b)
}

fn plain(addr: &[u8]) -> &[u8] {
    match addr {
        [b'[', inner @ .., b']', b':', b'0'] if inner.ends_with(b":0") => inner,
        _ => addr,
    }
}

/// Whether a text ends as every address does: with a colon and a port.
#[must_use]
pub fn has_port(addr: &[u8]) -> bool {
    let mut parts = addr.rsplitn(2, |b| *b == b':');
    let port = parts.next().and_then(word::whole);
    port.is_some_and(|port| port <= u64::from(u16::MAX)) && parts.next().is_some()
}

fn parse<T: core::str::FromStr>(text: &[u8]) -> Option<T> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// What a rule's `addr` or `laddr` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddrMatch {
    /// Any Unix socket.
    Unix,
    Net(Net),
}

/// A network: the addresses whose first `prefix` bits are those of `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// Its first address: all bits after the prefix are 0.
    first: IpAddr,
    prefix: u8,
}

impl AddrMatch {
    /// What is accepted, as errors say it.
    pub const ACCEPTED: &'static str = "an IP address, a CIDR (10.1.0.0/16, fd00::/8) or unix";

    /// Reads an IP address, a CIDR or `unix`. Bits after the prefix are taken as 0; what is
    /// written as a v4 address within v6 (`::ffff:10.1.0.0/112`) becomes v4.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<AddrMatch> {
        if text.eq_ignore_ascii_case(b"unix") {
            return Some(AddrMatch::Unix);
        }
        let mut parts = text.splitn(2, |b| *b == b'/');
        let ip: IpAddr = parse(parts.next()?)?;
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match parts.next() {
            None => bits,
            Some(digits) => u8::try_from(word::whole(digits)?).ok()?,
        };
        (prefix <= bits).then(|| AddrMatch::Net(Net::new(ip, prefix)))
    }

    /// Whether a connection has such an address: `addr` as CLIENT LIST prints it, and
    /// whether the server says that it is a Unix socket.
    #[must_use]
    pub fn matches(&self, addr: &[u8], unix: bool) -> bool {
        // Before the flag there were servers that told it by the path alone.
        let unix = unix || addr.starts_with(b"/") || addr.starts_with(b"[/");
        match self {
            AddrMatch::Unix => unix,
            AddrMatch::Net(net) => !unix && ip(addr).is_some_and(|ip| net.contains(ip)),
        }
    }
}

impl Net {
    fn new(ip: IpAddr, prefix: u8) -> Net {
        let mapped = match ip {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().zip(prefix.checked_sub(96)),
            IpAddr::V4(_) => None,
        };
        if let Some((v4, prefix)) = mapped {
            return Net::new(IpAddr::V4(v4), prefix);
        }
        let first = match ip {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix))),
        };
        Net { first, prefix }
    }

    /// Whether the address is in it. A v4 address that came in over a v6 socket
    /// (`::ffff:10.1.2.3`) is in the v4 network too.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.first, ip) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => self.has_v4(first, ip),
            (IpAddr::V4(first), IpAddr::V6(ip)) => {
                ip.to_ipv4_mapped().is_some_and(|ip| self.has_v4(first, ip))
            }
            (IpAddr::V6(first), IpAddr::V6(ip)) => ip.to_bits() & mask_v6(self.prefix) == first.to_bits(),
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn has_v4(&self, first: Ipv4Addr, ip: Ipv4Addr) -> bool {
        ip.to_bits() & mask_v4(self.prefix) == first.to_bits()
    }
}

fn mask_v4(prefix: u8) -> u32 {
    // A shift by all 32 bits is none in Rust, so it is asked for.
    !u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    !u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for AddrMatch {
    /// As it is read again; a network of one address without its prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddrMatch::Unix => f.write_str("unix"),
            AddrMatch::Net(net) => {
                let bits = if net.first.is_ipv4() { 32 } else { 128 };
                write!(f, "{}", net.first)?;
                if net.prefix < bits {
                    write!(f, "/{}", net.prefix)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ip_is_what_stands_before_the_last_colon() {
        let cases: &[(&str, Option<&str>)] = &[
            ("127.0.0.1:1234", Some("127.0.0.1")),
            ("[::1]:1234", Some("::1")),
            ("[::ffff:10.0.0.1]:1", Some("::ffff:10.0.0.1")),
            ("/tmp/sock:0", None),
            ("[/tmp/sock:0]:0", None),
            ("?:0", None),
            ("", None),
            (":", None),
            ("127.0.0.1", None),
            ("::1:5", None),
            ("[127.0.0.1]:5", None),
        ];
        for (addr, want) in cases {
            let want = want.map(|ip| ip.parse().unwrap());
            assert_eq!(ip(addr.as_bytes()), want, "{addr}");
        }
    }

    #[test]
    fn a_unix_sockets_two_writings_are_the_same_address() {
        assert!(same(b"/tmp/s:0", b"[/tmp/s:0]:0"));
        assert!(same(b"[/tmp/s:0]:0", b"[/tmp/s:0]:0"));
        assert!(same(b"[::1]:5", b"[::1]:5"));
        assert!(!same(b"[::1]:0", b"::1"));
        assert!(!same(b"/tmp/s:0", b"/tmp/t:0"));
    }

    #[test]
    fn an_address_ends_with_a_port() {
        for addr in ["127.0.0.1:0", "[::1]:65535", "/tmp/s:0", "?:0"] {
            assert!(has_port(addr.as_bytes()), "{addr}");
        }
        for addr in ["127.0.0.1", "127.0.0.1:", "1:65536", "1:x", "80", "", "[::1]"] {
            assert!(!has_port(addr.as_bytes()), "{addr}");
        }
    }

    #[test]
    fn what_is_parsed_prints_one_way() {
        let cases = [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("FD00::1/8", "fd00::/8"),
            ("0:0::1", "::1"),
            ("::1/128", "::1"),
            ("::1/0", "::/0"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3/112", "10.1.0.0/16"),
            ("UNIX", "unix"),
        ];
        for (text, want) in cases {
            let parsed = AddrMatch::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.to_string(), want, "{text}");
            assert_eq!(AddrMatch::parse(want.as_bytes()), Some(parsed));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "10.1",
            "10.1.2.3/33",
            "10.1.2.3/",
            "10.1.2.3/-1",
            "10.1.2.3/08",
            "10.1.2.3:80",
            "[::1]",
            "::1/129",
            "/8",
            "10.1.2.3/8/8",
            "unix/0",
            "host",
            "10.1.2.256",
            "10.1.2.03",
        ] {
            assert_eq!(AddrMatch::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_in_the_networks_that_hold_them() {
        let cases = [
            ("10.1.0.0/16", "10.1.255.255:1", true),
            ("10.1.0.0/16", "10.2.0.0:1", false),
            ("10.1.2.3", "10.1.2.3:1", true),
            ("10.1.2.3", "10.1.2.4:1", false),
            ("0.0.0.0/0", "1.2.3.4:1", true),
            ("0.0.0.0/0", "[::1]:1", false),
            ("::/0", "[::1]:1", true),
            ("::/0", "1.2.3.4:1", false),
            ("fd00::/8", "[fdff::1]:1", true),
            ("fd00::/8", "[fe00::1]:1", false),
            ("10.1.0.0/16", "[::ffff:10.1.2.3]:1", true),
            ("10.1.0.0/16", "[::ffff:10.2.2.3]:1", false),
            ("::/0", "[::ffff:10.1.2.3]:1", true),
            ("::1", "/tmp/s:0", false),
            ("unix", "/tmp/s:0", true),
            ("unix", "[/tmp/s:0]:0", true),
            ("unix", "10.1.2.3:1", false),
            ("0.0.0.0/0", "", false),
            ("0.0.0.0/0", "?:0", false),
        ];
        for (net, addr, want) in cases {
            let net = AddrMatch::parse(net.as_bytes()).unwrap();
            assert_eq!(net.matches(addr.as_bytes(), false), want, "{net} {addr}");
        }
    }

    #[test]
    fn the_servers_word_that_it_is_a_unix_socket_counts() {
        let any = AddrMatch::parse(b"0.0.0.0/0").unwrap();
        assert!(AddrMatch::Unix.matches(b"sock:0", true));
        assert!(!any.matches(b"10.0.0.1:0", true));
    }

    proptest! {
        #[test]
        fn a_network_has_the_addresses_that_share_its_bits(a: u128, b: u128, prefix in 0..=128u8) {
            let net = Net::new(IpAddr::V6(Ipv6Addr::from_bits(a)), prefix);
            let shared = (a ^ b).leading_zeros() >= u32::from(prefix);
            prop_assume!(net.first.is_ipv6());
            prop_assert_eq!(net.contains(IpAddr::V6(Ipv6Addr::from_bits(b))), shared);
        }

        #[test]
        fn a_v4_network_has_the_addresses_that_share_its_bits(
            a: u32, b: u32, flip in 0..32u32, prefix in 0..=32u8,
        ) {
            let net = Net::new(IpAddr::V4(Ipv4Addr::from_bits(a)), prefix);
            for other in [b, a ^ (1 << flip), a] {
                let shared = (a ^ other).leading_zeros() >= u32::from(prefix);
                prop_assert_eq!(net.contains(IpAddr::V4(Ipv4Addr::from_bits(other))), shared);
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            let _ = (ip(&bytes), has_port(&bytes), same(&bytes, b"x"));
            if let Some(net) = AddrMatch::parse(&bytes) {
                let _ = net.matches(&bytes, false);
            }
        }
    }
}
