//! Where things are. Names and addresses are percent-encoded, so that `unix:/run/a.sock` is one segment.

use std::fmt::Write as _;

/// What every path of the API begins with, but for `/health`, `/ready` and `/metrics`.
pub const PREFIX: &str = "/api/v1";

/// `/api/v1/pools/{pool}`.
pub fn pool_path(pool: &str) -> String {
    format!("{PREFIX}/pools/{}", segment(pool))
}

/// `/api/v1/pools/{pool}/targets`.
pub fn targets_path(pool: &str) -> String {
    format!("{}/targets", pool_path(pool))
}

/// `/api/v1/pools/{pool}/targets/{address}`.
pub fn target_path(pool: &str, address: &str) -> String {
    format!("{}/{}", targets_path(pool), segment(address))
}

/// `/api/v1/pools/{pool}/targets/{address}/drain`.
pub fn drain_path(pool: &str, address: &str) -> String {
    format!("{}/drain", target_path(pool, address))
}

/// `/api/v1/connections/{id}`.
pub fn connection_path(id: &str) -> String {
    format!("{PREFIX}/connections/{}", segment(id))
}

/// Everything but the unreserved characters of RFC 3986 §2.3, and `:` which a segment may hold, is encoded.
/// A segment of dots alone would be resolved away, so its dots are encoded, too.
fn segment(text: &str) -> String {
    let only_dots = !text.is_empty() && text.bytes().all(|b| b == b'.');
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':');
        if is_plain && !only_dots {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_one_segment() {
        assert_eq!(target_path("app", "10.0.0.1:80"), "/api/v1/pools/app/targets/10.0.0.1:80");
        assert_eq!(
            drain_path("a", "unix:/run/a b?.sock"),
            "/api/v1/pools/a/targets/unix:%2Frun%2Fa%20b%3F.sock/drain"
        );
        assert_eq!(target_path("a", "[::1]:1"), "/api/v1/pools/a/targets/%5B::1%5D:1");
        assert_eq!(connection_path("0-1"), "/api/v1/connections/0-1");
    }

    #[test]
    fn nothing_climbs_out_of_its_place() {
        assert_eq!(pool_path(".."), "/api/v1/pools/%2E%2E");
        assert_eq!(pool_path("../status"), "/api/v1/pools/..%2Fstatus");
        assert_eq!(pool_path("ü\r\n"), "/api/v1/pools/%C3%BC%0D%0A");
    }
}
