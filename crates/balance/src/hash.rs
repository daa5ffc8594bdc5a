//! Hashes that agree on every node, whatever its architecture and word size.

use std::net::{IpAddr, SocketAddr};

use evenkeel_base::SplitMix64;
use xxhash_rust::xxh3::xxh3_64;

/// XXH3 (64 bits, no seed) of `bytes`: fast, evenly spread, the same on every machine. Not keyed: who
/// chooses the bytes can choose the hash.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Hash of a client's address: all 32 or 128 bits of it. `::ffff:a.b.c.d` hashes as `a.b.c.d`, so a
/// client is one client whatever family the listener's socket has.
pub fn hash_ip(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => hash_bytes(&v4.octets()),
        IpAddr::V6(v6) => hash_bytes(&v6.octets()),
    }
}

/// Hash of a client's address and port; the address as in [`hash_ip`].
pub fn hash_ip_port(addr: SocketAddr) -> u64 {
    let [high, low] = addr.port().to_be_bytes();
    match addr.ip().to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            hash_bytes(&[a, b, c, d, high, low])
        }
        IpAddr::V6(v6) => {
            let mut bytes = [0; 18];
            let (address, port) = bytes.split_at_mut(16);
            address.copy_from_slice(&v6.octets());
            port.copy_from_slice(&[high, low]);
            hash_bytes(&bytes)
        }
    }
}

/// Hash of a target's address as users write it: what [`Candidate::key`](crate::Candidate::key) wants.
pub fn hash_target(text: &str) -> u64 {
    hash_bytes(text.as_bytes())
}

/// Spreads the entropy of `value` over all 64 bits, so that tables may use any part of a hash even when
/// the caller's hashes are poor.
pub(crate) fn mix(value: u64) -> u64 {
    SplitMix64::new(value).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hashes_are_the_published_ones() {
        // The reference implementation's answer for no input (xxHash's own sanity test).
        assert_eq!(hash_bytes(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(hash_target("10.0.0.1:80"), hash_bytes(b"10.0.0.1:80"));
        assert_eq!(hash_ip("10.1.2.3".parse().unwrap()), hash_bytes(&[10, 1, 2, 3]));
        assert_eq!(hash_ip_port("10.1.2.3:258".parse().unwrap()), hash_bytes(&[10, 1, 2, 3, 1, 2]));
        let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2];
        assert_eq!(hash_ip("2001:db8::9".parse().unwrap()), hash_bytes(&v6[..16]));
        assert_eq!(hash_ip_port("[2001:db8::9]:258".parse().unwrap()), hash_bytes(&v6));
    }

    #[test]
    fn a_mapped_client_is_its_ipv4_self() {
        assert_eq!(hash_ip("::ffff:10.1.2.3".parse().unwrap()), hash_ip("10.1.2.3".parse().unwrap()));
        assert_eq!(
            hash_ip_port("[::ffff:10.1.2.3]:9".parse().unwrap()),
            hash_ip_port("10.1.2.3:9".parse().unwrap())
        );
    }

    #[test]
    fn every_part_of_an_address_counts() {
        let texts = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:1::1", "10.0.0.1", "::1"];
        let hashes: HashSet<u64> = texts.iter().map(|text| hash_ip(text.parse().unwrap())).collect();
        assert_eq!(hashes.len(), texts.len());
        let ports: HashSet<u64> =
            (1..1000).map(|port| hash_ip_port(SocketAddr::new("::1".parse().unwrap(), port))).collect();
        assert_eq!(ports.len(), 999);
    }
}
