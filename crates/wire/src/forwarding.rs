//! Who the client was: `X-Forwarded-…`, and `Forwarded` (RFC 7239).

use std::io::Write as _;
use std::net::IpAddr;

use crate::fields::FieldKind;
use crate::head_out::{push_digits, write_text};
use crate::tables::{TOKEN, all_in};
use crate::{Fields, Kinds};

/// What is said of the client to the target.
#[derive(Debug, Clone, Copy)]
pub struct Forwarding<'a> {
    /// Its address; `None` over a unix socket, which is told as `unknown`.
    pub client: Option<IpAddr>,
    /// `http` or `https`.
    pub proto: &'a str,
    /// The `Host` it asked for, with its port; may be empty, and is then not told.
    pub host: &'a str,
    /// What came in is from a proxy we believe: it is kept and appended to. Otherwise it is replaced.
    pub trust: bool,
}

impl Forwarding<'_> {
    /// What [`write_fields`](crate::write_fields) must skip: the fields that [`forwarded`] writes and, without
    /// trust, all their relatives (`X-Forwarded-Port`, `X-Forwarded-Prefix`, `X-Real-IP`, …).
    pub fn skip(&self) -> Kinds {
        const WRITTEN: Kinds = Kinds::NONE
            .with(FieldKind::XForwardedFor)
            .with(FieldKind::XForwardedProto)
            .with(FieldKind::XForwardedHost)
            .with(FieldKind::Forwarded);
        if self.trust { WRITTEN } else { Kinds::FORWARDED }
    }
}

/// Appends `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded`, each as one line.
///
/// With trust, `X-Forwarded-For` and `Forwarded` get one more element, and `X-Forwarded-Proto` and `-Host` stay what
/// the last line of that name says: the proxy nearest to us wrote that one.
pub fn forwarded(out: &mut Vec<u8>, fields: &Fields<'_>, forwarding: &Forwarding<'_>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    write_earlier(out, fields, FieldKind::XForwardedFor, forwarding.trust);
    match forwarding.client {
        Some(client) => write_ip(out, client),
        None => out.extend_from_slice(b"unknown"),
    }
    out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
    write_kept(out, fields, FieldKind::XForwardedProto, forwarding.proto, forwarding.trust);
    if !forwarding.host.is_empty() || (forwarding.trust && fields.get(FieldKind::XForwardedHost).is_some()) {
        out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
        write_kept(out, fields, FieldKind::XForwardedHost, forwarding.host, forwarding.trust);
    }
    out.extend_from_slice(b"\r\nForwarded: ");
    write_earlier(out, fields, FieldKind::Forwarded, forwarding.trust);
    write_element(out, forwarding);
    out.extend_from_slice(b"\r\n");
}

/// The values that came in, each followed by `, `.
fn write_earlier(out: &mut Vec<u8>, fields: &Fields<'_>, kind: FieldKind, trust: bool) {
    if !trust {
        return;
    }
    for value in fields.values(kind).filter(|value| !value.is_empty()) {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
}

fn write_kept(out: &mut Vec<u8>, fields: &Fields<'_>, kind: FieldKind, own: &str, trust: bool) {
    match fields.values(kind).next_back().filter(|value| trust && !value.is_empty()) {
        Some(value) => out.extend_from_slice(value),
        None => write_text(out, own.as_bytes()),
    }
}

/// One `forwarded-element` (RFC 7239 §4); addresses with colons are quoted (§6).
fn write_element(out: &mut Vec<u8>, forwarding: &Forwarding<'_>) {
    out.extend_from_slice(b"for=");
    match forwarding.client.map(|client| client.to_canonical()) {
        Some(client @ IpAddr::V4(_)) => write_ip(out, client),
        Some(client @ IpAddr::V6(_)) => {
            out.extend_from_slice(b"\"[");
            write_ip(out, client);
            out.extend_from_slice(b"]\"");
        }
        None => out.extend_from_slice(b"unknown"),
    }
    if !forwarding.host.is_empty() {
        out.extend_from_slice(b";host=");
        write_token_or_quoted(out, forwarding.host);
    }
    out.extend_from_slice(b";proto=");
    write_token_or_quoted(out, forwarding.proto);
}

fn write_token_or_quoted(out: &mut Vec<u8>, text: &str) {
    if !text.is_empty() && all_in(text.as_bytes(), TOKEN) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    for piece in text.as_bytes().split_inclusive(|b| matches!(b, b'"' | b'\\')) {
        match piece {
            [start @ .., special @ (b'"' | b'\\')] => {
                write_text(out, start);
                out.extend_from_slice(&[b'\\', *special]);
            }
            _ => write_text(out, piece),
        }
    }
    out.push(b'"');
}

/// The text form; an IPv4 address that came as an IPv6 one is written as IPv4.
fn write_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        // Four times as fast as `Display`, and every request has one.
        IpAddr::V4(v4) => {
            for (index, octet) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_digits::<10>(out, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => {
            // Writing to a vector does not fail.
            let _ = write!(out, "{v6}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Parsed, Progress, Scratch, end_head, parse_request, write_request_head};

    /// What is forwarded of a request with `fields`, besides `Host`.
    fn told(fields: &str, forwarding: &Forwarding<'_>) -> Vec<String> {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let limits = Limits { head_bytes: 4_096, headers: 100, target_bytes: 100 };
        let (mut progress, mut scratch) = (Progress::new(), Scratch::new());
        let mut out = Vec::new();
        match parse_request(bytes.as_bytes(), &limits, &mut progress, &mut scratch) {
            Ok(Parsed::Complete(head)) => {
                write_request_head(&mut out, head.method_text, head.target, &head.fields, forwarding.skip());
                forwarded(&mut out, &head.fields, forwarding);
                end_head(&mut out);
            }
            other => panic!("{other:?}"),
        }
        let mut again = Scratch::new();
        assert!(matches!(parse_request(&out, &limits, &mut progress, &mut again), Ok(Parsed::Complete(_))));
        String::from_utf8(out)
            .unwrap()
            .lines()
            .skip(2)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn of(client: &str, trust: bool) -> Forwarding<'static> {
        Forwarding { client: client.parse().ok(), proto: "http", host: "a.example:80", trust }
    }

    const CAME_IN: &str = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7, 8.8.8.8\r\nX-Forwarded-Proto: ftp\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /admin\r\nX-Real-IP: 6.6.6.6\r\n\
        X_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";

    #[test]
    fn without_trust_nothing_of_what_came_in_is_told() {
        let expected = [
            "X-Forwarded-For: 192.0.2.17",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: a.example:80",
            "Forwarded: for=192.0.2.17;host=\"a.example:80\";proto=http",
        ];
        assert_eq!(told("", &of("192.0.2.17", false)), expected);
        assert_eq!(told(CAME_IN, &of("192.0.2.17", false)), expected);
    }

    #[test]
    fn with_trust_it_is_kept_and_appended_to() {
        let expected = [
            "X-Forwarded-Port: 1",
            "X-Forwarded-Prefix: /admin",
            "X-Real-IP: 6.6.6.6",
            "X-Forwarded-For: 6.6.6.6, 7.7.7.7, 8.8.8.8, 192.0.2.17",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: b",
            "Forwarded: for=6.6.6.6, for=192.0.2.17;host=\"a.example:80\";proto=http",
        ];
        assert_eq!(told(CAME_IN, &of("192.0.2.17", true)), expected);
        assert_eq!(told("", &of("192.0.2.17", true)), told("", &of("192.0.2.17", false)));
        let empty = "X-Forwarded-For:\r\nX-Forwarded-Proto:\r\nForwarded:\r\n";
        assert_eq!(told(empty, &of("192.0.2.17", true)), told("", &of("192.0.2.17", false)));
    }

    #[test]
    fn nomination_does_not_strip_what_is_told() {
        let nominated = "Connection: X-Forwarded-For, X-Forwarded-Host, Forwarded\r\n";
        assert_eq!(told(nominated, &of("192.0.2.17", false)).len(), 4);
        assert_eq!(told(&format!("{nominated}{CAME_IN}"), &of("192.0.2.17", true)).len(), 7);
    }

    #[test]
    fn addresses_of_all_kinds() {
        for (client, address, element) in [
            ("1.20.255.0", "1.20.255.0", "1.20.255.0"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1"),
            ("2001:db8::1", "2001:db8::1", "\"[2001:db8::1]\""),
            ("a socket", "unknown", "unknown"),
        ] {
            let lines = told("", &Forwarding { host: "", proto: "https", ..of(client, false) });
            let forwarded = format!("Forwarded: for={element};proto=https");
            let address = format!("X-Forwarded-For: {address}");
            assert_eq!(lines, [&address, "X-Forwarded-Proto: https", &forwarded]);
        }
    }

    #[test]
    fn hosts_are_quoted_when_they_must_be() {
        for (host, element) in [
            ("a-b.example", "host=a-b.example"),
            ("[::1]:80", "host=\"[::1]:80\""),
            ("a\"b\\c", "host=\"a\\\"b\\\\c\""),
            ("a\r\nb", "host=\"a  b\""),
        ] {
            let lines = told("", &Forwarding { host, ..of("10.0.0.1", false) });
            assert_eq!(lines[3], format!("Forwarded: for=10.0.0.1;{element};proto=http"));
        }
    }
}
