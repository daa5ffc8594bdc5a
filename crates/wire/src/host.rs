//! The grammar of `Host` and of the authority in an absolute-form target.

use std::net::Ipv6Addr;

use crate::tables::{HOST, all_in};

/// DNS allows 253 bytes; a bracketed IPv6 address has at most 47.
const MAX_HOST_BYTES: usize = 255;

/// Whether `text` is a host name, an IPv4 address or a bracketed IPv6 address, and optionally a port up to 65535.
///
/// Refused: nothing at all, user names, lists, percent-encoding, zone identifiers, and a colon without a port.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    if let [b'[', rest @ ..] = text {
        return is_bracketed(rest);
    }
    let (name, port) = match text.iter().rposition(|&b| b == b':') {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    };
    !name.is_empty() && name.len() <= MAX_HOST_BYTES && all_in(name, HOST) && port.is_none_or(is_port)
}

/// `host` without its port; brackets stay.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind([':', ']']) {
        Some(at) if host.as_bytes()[at] == b':' => &host[..at],
        _ => host,
    }
}

fn is_bracketed(rest: &[u8]) -> bool {
    let Some(end) = rest.iter().position(|&b| b == b']') else { return false };
    let address = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    let port = match &rest[end + 1..] {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    };
    address.is_some() && port
}

fn is_port(text: &[u8]) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits && text.iter().fold(0_u32, |number, &b| number * 10 + u32::from(b - b'0')) <= 65_535
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in [
            "a",
            "example.com",
            "EXAMPLE.com.",
            "a_b:80",
            "10.0.0.1:65535",
            "[::1]",
            "[2001:db8::1]:443",
            "a:0",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            ":80",
            "a:",
            "a:65536",
            "a:000080",
            "a:-1",
            "a:+1",
            "a:b",
            "a:80:80",
            "u@a",
            "u:p@a",
            "a,b",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a%41",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[]",
            "[fe80::1%eth0]",
            "[1.2.3.4]",
            "[v1.x]",
            "a;b",
            "a\0",
            "ä.de",
            &long,
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(is_authority(&long.as_bytes()[1..]));
    }

    #[test]
    fn ports_are_cut_off() {
        for (host, name) in [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")] {
            assert_eq!(without_port(host), name);
        }
    }
}
