//! Who a client is.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A client's whole address, IPv4 or IPv6, without its port. IPv4 is kept as `::ffff:a.b.c.d` (RFC 4291,
/// section 2.5.5.2), so that a client is the same one over an IPv4 and over a dual-stack socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey([u8; 16]);

impl ClientKey {
    /// Spread by `seed`, which a client does not know: it cannot choose addresses that collide.
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64_with_seed(&self.0, seed)
    }
}

impl From<IpAddr> for ClientKey {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<ClientKey> for IpAddr {
    /// IPv4 wherever it is.
    fn from(key: ClientKey) -> Self {
        Ipv6Addr::from(key.0).to_canonical()
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> ClientKey {
        ClientKey::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one() {
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_eq!(key("::ffff:192.0.2.1").to_string(), "192.0.2.1");
        assert_ne!(key("::192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8::2"));
        assert_eq!(format!("{:?}", key("2001:db8::1")), "2001:db8::1");
    }

    #[test]
    fn the_seed_decides_the_hash() {
        assert_ne!(key("192.0.2.1").hash(1), key("192.0.2.1").hash(2));
        assert_eq!(key("192.0.2.1").hash(1), key("::ffff:192.0.2.1").hash(1));
    }

    proptest! {
        #[test]
        fn addresses_survive_the_way_there_and_back(ip: IpAddr) {
            prop_assert_eq!(IpAddr::from(ClientKey::from(ip)), ip.to_canonical());
        }
    }
}
