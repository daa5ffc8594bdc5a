//! Who may call: the token, and what a browser must not be talked into.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri, header};
use evenkeel_base::Reason;
use evenkeel_config::Secret;

use crate::control::Refusal;

/// The token, and what is open without it. Clones share one state, so that a reload changes it in place.
#[derive(Debug, Clone)]
pub struct Access {
    rules: Arc<RwLock<Rules>>,
}

#[derive(Debug)]
struct Rules {
    token: Option<Secret>,
    open_metrics: bool,
}

impl Access {
    /// With a token, every call carries it, but for `/health` and `/ready`, and `/metrics` with `open_metrics`.
    /// An empty token admits nobody.
    pub fn new(token: Option<Secret>, open_metrics: bool) -> Self {
        Self { rules: Arc::new(RwLock::new(Rules { token, open_metrics })) }
    }

    /// From now on, other rules.
    pub fn set(&self, token: Option<Secret>, open_metrics: bool) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Rules { token, open_metrics };
    }

    /// Whether a request to this path may pass.
    pub(crate) fn admits(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = &rules.token else { return Ok(()) };
        let is_open = matches!(path, "/health" | "/ready") || path == "/metrics" && rules.open_metrics;
        if is_open {
            return Ok(());
        }
        let refuse = |message: &str| Err(Refusal::new(Reason::Unauthorized, message));
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        match (given.next().map(|value| bearer(value.as_bytes())), given.next()) {
            (None, _) => refuse("this call needs the admin token: Authorization: Bearer …"),
            (Some(Some(given)), None) if is_same(given, token.0.as_bytes()) => Ok(()),
            _ => refuse("the admin token is wrong"),
        }
    }
}

/// What follows the scheme `Bearer` (RFC 6750 §2.1; the scheme is case-insensitive, RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares in a time that depends on the length of `given` alone, so that a wrong token does not tell how much
/// of it was right.
fn is_same(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != secret.len() || secret.is_empty());
    for (index, byte) in given.iter().enumerate() {
        let other = secret.get(index).copied().unwrap_or(0);
        difference = std::hint::black_box(difference | (byte ^ other));
    }
    difference == 0
}

/// A web page that somebody visits must neither change nor read anything here (CVE-2026-27589 is that flaw
/// elsewhere). `loopback` is the address that is listened on, when it is one: then the name that was asked for
/// must be one of this machine, or a page could have its own name resolve to it (DNS rebinding).
pub(crate) fn check_origin(
    uri: &Uri,
    headers: &HeaderMap,
    loopback: Option<SocketAddr>,
) -> Result<(), Refusal> {
    let host = host(headers)?;
    if let Some(bound) = loopback {
        let named = host.into_iter().chain(uri.authority().map(Authority::as_str));
        let mut names = named.peekable();
        if names.peek().is_none() || !names.all(|name| is_of_this_machine(name, bound.ip())) {
            return Err(forbidden("Host must be localhost or the address that is listened on"));
        }
    }
    let site = headers.get_all("sec-fetch-site").iter();
    if site.into_iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return Err(forbidden("the request was sent by a page of another site"));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(split_origin);
        let is_ours = origin.zip(host).is_some_and(|((authority, port), host)| {
            let (ours, theirs) = (split_host(host), split_host(authority));
            let with_port =
                |(name, given): (&str, Option<u16>)| (name.to_ascii_lowercase(), given.unwrap_or(port));
            ours.map(with_port).is_some_and(|ours| theirs.map(with_port) == Some(ours))
        });
        if !is_ours {
            return Err(forbidden("the request comes from another web origin"));
        }
    }
    Ok(())
}

/// A body that changes something says what it is. A page can make a browser send a form or plain text anywhere,
/// but JSON or TOML only after asking, which is refused here.
pub(crate) fn check_content(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    is_empty: bool,
) -> Result<(), Refusal> {
    if is_empty || matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let is_config = *method == Method::PUT && path == "/api/v1/config";
    let wanted = if is_config { "application/toml" } else { "application/json" };
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.map(|given| given.split(';').next().unwrap_or_default().trim());
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let message = format!("a body here is sent with content-type: {wanted}");
    Err(Refusal::new(Reason::BadContentType, message).at("content-type"))
}

fn forbidden(message: &str) -> Refusal {
    Refusal::new(Reason::Forbidden, message)
}

/// The Host field; two of them, or one that is no text, are refused: which one would a rule read?
fn host(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (None, _) => Ok(None),
        (Some(Ok(host)), None) => Ok(Some(host)),
        _ => Err(forbidden("Host is repeated or malformed")),
    }
}

fn is_of_this_machine(authority: &str, bound: IpAddr) -> bool {
    let Some((name, _)) = split_host(authority) else { return false };
    let literal = match bound {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let known = ["localhost", "127.0.0.1", "[::1]", literal.as_str()];
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Host and port of `host`, `host:port` or `[v6]:port`.
fn split_host(authority: &str) -> Option<(&str, Option<u16>)> {
    let name_end = match authority.strip_prefix('[') {
        Some(_) => authority.find(']')? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, rest) = authority.split_at(name_end);
    match rest.strip_prefix(':') {
        _ if name.is_empty() => None,
        None if rest.is_empty() => Some((name, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some((name, Some(port.parse().ok()?))),
        _ => None,
    }
}

/// The authority of an origin and the default port of its scheme; `null` has none.
fn split_origin(origin: &str) -> Option<(&str, u16)> {
    let http = origin.strip_prefix("http://").map(|authority| (authority, 80));
    http.or_else(|| origin.strip_prefix("https://").map(|authority| (authority, 443)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn origin(pairs: &[(&'static str, &str)], loopback: Option<&str>) -> bool {
        let bound = loopback.map(|text| text.parse().unwrap());
        check_origin(&Uri::from_static("/api/v1/status"), &headers(pairs), bound).is_ok()
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same(b"abc", b"abc"));
        for wrong in [&b""[..], b"ab", b"abcd", b"abd", b"ABC", b"abc\0"] {
            assert!(!is_same(wrong, b"abc"), "{wrong:?}");
        }
        assert!(!is_same(b"", b""));
        assert!(!is_same(b"\0", b""));
    }

    #[test]
    fn the_token_matrix() {
        let access = Access::new(Some(Secret("s3cret".into())), false);
        let admits =
            |path: &str, pairs: &[(&'static str, &str)]| access.admits(path, &headers(pairs)).is_ok();
        for path in ["/health", "/ready"] {
            assert!(admits(path, &[]));
        }
        for path in ["/metrics", "/api/v1/status", "/", "/health/", "//health", "/healthz", "/unknown"] {
            assert!(!admits(path, &[]), "{path}");
            assert!(admits(path, &[("authorization", "Bearer s3cret")]), "{path}");
            assert!(admits(path, &[("authorization", "bearer  s3cret ")]), "{path}");
        }
        for wrong in [
            "",
            "s3cret",
            "Basic s3cret",
            "Bearer",
            "Bearer ",
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearers3cret",
        ] {
            assert!(!admits("/api/v1/status", &[("authorization", wrong)]), "{wrong}");
        }
        let twice = [("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")];
        assert!(!admits("/api/v1/status", &twice));
        access.set(Some(Secret("s3cret".into())), true);
        assert!(access.admits("/metrics", &headers(&[])).is_ok());
        assert!(access.admits("/api/v1/status", &headers(&[])).is_err());
        access.set(None, false);
        assert!(access.admits("/api/v1/status", &headers(&[])).is_ok());
        access.set(Some(Secret(String::new())), false);
        assert!(access.admits("/api/v1/status", &headers(&[("authorization", "Bearer ")])).is_err());
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = ("host", "admin.example:9900");
        for fine in [
            &[host][..],
            &[host, ("origin", "http://admin.example:9900")],
            &[host, ("origin", "https://ADMIN.example:9900")],
            &[("host", "admin.example"), ("origin", "https://admin.example:443")],
            &[("host", "admin.example:80"), ("origin", "http://admin.example")],
            &[host, ("sec-fetch-site", "same-origin")],
            &[host, ("sec-fetch-site", "none")],
            &[("host", "[2001:db8::1]:9900"), ("origin", "http://[2001:db8::1]:9900")],
        ] {
            assert!(origin(fine, None), "{fine:?}");
        }
        for bad in [
            &[host, ("origin", "http://evil.example")][..],
            &[host, ("origin", "http://admin.example")],
            &[host, ("origin", "http://admin.example:9901")],
            &[host, ("origin", "http://admin.example:9900.evil.example")],
            &[host, ("origin", "http://evil.example#admin.example:9900")],
            &[host, ("origin", "null")],
            &[host, ("origin", "")],
            &[host, ("origin", "admin.example:9900")],
            &[host, ("origin", "file://admin.example:9900")],
            &[host, ("origin", "http://admin.example:9900"), ("origin", "http://evil.example")],
            &[("origin", "http://admin.example:9900")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "")],
            &[host, ("host", "evil.example")],
            &[("host", "admin\u{fc}.example")],
        ] {
            assert!(!origin(bad, None), "{bad:?}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused_on_loopback() {
        let names = |bound: &str, host: &str| origin(&[("host", host)], Some(bound));
        for host in
            ["localhost", "LOCALHOST:9900", "127.0.0.1:9900", "[::1]:9900", "127.0.0.1", "localhost:1"]
        {
            assert!(names("127.0.0.1:9900", host), "{host}");
        }
        assert!(names("127.0.0.2:9900", "127.0.0.2:9900"));
        assert!(!names("127.0.0.1:9900", "127.0.0.2:9900"));
        for host in [
            "",
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "localhost:80.evil.example",
            "127.0.0.1.nip.io:9900",
            "localhost:99999",
            "[::1",
            "::1",
            "[::1]x",
            "user@localhost",
            "localhost, evil.example",
        ] {
            assert!(!names("127.0.0.1:9900", host), "{host}");
        }
        assert!(!origin(&[], Some("127.0.0.1:9900")));
        let absolute = Uri::from_static("http://evil.example/api/v1/status");
        let bound = Some("127.0.0.1:9900".parse().unwrap());
        assert!(check_origin(&absolute, &headers(&[("host", "localhost")]), bound).is_err());
    }

    #[test]
    fn bodies_say_what_they_are() {
        let check = |method: Method, path: &str, content: Option<&str>, is_empty: bool| {
            let pairs: Vec<_> = content.map(|content| ("content-type", content)).into_iter().collect();
            check_content(&method, path, &headers(&pairs), is_empty).is_ok()
        };
        let targets = "/api/v1/pools/a/targets";
        assert!(check(Method::POST, targets, Some("application/json"), false));
        assert!(check(Method::POST, targets, Some("Application/JSON; charset=utf-8"), false));
        assert!(check(Method::POST, targets, None, true));
        assert!(check(Method::GET, targets, Some("text/plain"), false));
        assert!(check(Method::PUT, "/api/v1/config", Some("application/toml"), false));
        for content in
            [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonp")]
        {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert!(!check(method, targets, content, false), "{content:?}");
            }
        }
        assert!(!check(Method::PUT, "/api/v1/config", Some("application/json"), false));
        assert!(!check(Method::POST, "/api/v1/reload", Some("application/toml"), false));
    }
}
