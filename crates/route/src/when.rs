//! The conditions of one route, and what they are asked of.

use std::net::IpAddr;

use crate::canonical::hex;
use crate::pattern::{HostPattern, PathPattern, PathRank};

/// What a route asks of a request. All conditions must hold; the empty one matches every request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// Which hosts; `None` is any.
    pub host: Option<HostPattern>,
    /// Which paths; `None` is any, like `/**`.
    pub path: Option<PathPattern>,
    /// One of these methods, compared exactly (RFC 9110 §9.1); empty is any. `GET` does not stand for `HEAD`.
    pub methods: Vec<String>,
    /// Every one of these fields (name in lower case) has just this value.
    pub headers: Vec<(String, String)>,
    /// Every one of these query parameters is present with this value, after decoding `%XX` and `+`.
    pub query: Vec<(String, String)>,
    /// The client is in one of these networks (address and prefix length); empty is any. A client of a unix
    /// socket is in none.
    pub from: Vec<(IpAddr, u8)>,
}

/// What a route is asked of: a request, seen without its HTTP library.
pub trait Request {
    /// The host without its port; an IPv6 literal keeps its brackets. Empty when there is none.
    fn host(&self) -> &str;
    /// The canonical path ([`canonical_path`](crate::canonical_path)), without its query.
    fn path(&self) -> &str;
    /// What follows `?`, as it came; empty when there is none.
    fn query(&self) -> &str;
    /// The method, as it came.
    fn method(&self) -> &str;
    /// Whether there is a field of this lower-case name with this value; of repeated ones, any may be it.
    fn has_header(&self, name: &str, value: &[u8]) -> bool;
    /// The client's address; none over a unix socket.
    fn client(&self) -> Option<IpAddr>;
}

impl When {
    /// Whether every condition holds. This is the definition that [`RouteTable`](crate::RouteTable) speeds up.
    pub fn matches(&self, request: &impl Request) -> bool {
        self.host.as_ref().is_none_or(|host| host.matches(request.host()))
            && self.path.as_ref().is_none_or(|path| path.matches(request.path()))
            && self.rest_matches(request)
    }

    /// Whether every condition but host and path holds.
    pub(crate) fn rest_matches(&self, request: &impl Request) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|method| method == request.method()))
            && (self.from.is_empty()
                || request.client().is_some_and(|ip| self.from.iter().any(|net| contains(*net, ip))))
            && self.headers.iter().all(|(name, value)| request.has_header(name, value.as_bytes()))
            && self.query.iter().all(|(name, value)| has_parameter(request.query(), name, value))
    }

    pub(crate) fn path_rank(&self) -> PathRank {
        self.path.as_ref().map_or_else(PathRank::default, PathPattern::rank)
    }

    pub(crate) fn further_conditions(&self) -> usize {
        usize::from(!self.methods.is_empty())
            + usize::from(!self.from.is_empty())
            + self.headers.len()
            + self.query.len()
    }
}

fn contains((net, prefix): (IpAddr, u8), ip: IpAddr) -> bool {
    match (net.to_canonical(), ip.to_canonical()) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let shift = 32_u32.saturating_sub(u32::from(prefix));
            (u32::from(net) ^ u32::from(ip)).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            let shift = 128_u32.saturating_sub(u32::from(prefix));
            (u128::from(net) ^ u128::from(ip)).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn has_parameter(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| {
        let (n, v) = pair.split_once('=').unwrap_or((pair, ""));
        decoded(n).eq(name.bytes()) && decoded(v).eq(value.bytes())
    })
}

/// The bytes that a form-encoded text stands for; a broken escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, tail) = rest.split_first()?;
        rest = tail;
        match (*byte, tail) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, after @ ..]) => match hex(*high).zip(hex(*low)) {
                Some((high, low)) => {
                    rest = after;
                    Some(high << 4 | low)
                }
                None => Some(b'%'),
            },
            (byte, _) => Some(byte),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let within =
            |net: &str, prefix, ip: &str| contains((net.parse().unwrap(), prefix), ip.parse().unwrap());
        assert!(within("10.0.0.0", 8, "10.255.1.2") && !within("10.0.0.0", 8, "11.0.0.0"));
        assert!(within("0.0.0.0", 0, "203.0.113.1") && within("::", 0, "2001:db8::1"));
        assert!(within("10.0.0.0", 8, "::ffff:10.1.1.1"));
        assert!(!within("::", 0, "10.0.0.1"));
        assert!(within("2001:db8::1", 128, "2001:db8::1") && !within("2001:db8::1", 128, "2001:db8::2"));
    }

    #[test]
    fn parameters_are_compared_decoded() {
        assert!(has_parameter("a=1&b=x%20y", "b", "x y") && has_parameter("b=x+y", "b", "x y"));
        assert!(has_parameter("%61=%zz", "a", "%zz") && has_parameter("flag", "flag", ""));
        assert!(!has_parameter("ab=1", "a", "1") && !has_parameter("", "a", "1"));
    }
}
