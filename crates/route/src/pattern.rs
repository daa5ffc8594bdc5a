//! Host and path patterns as an operator writes them.

use std::fmt;
use std::str::FromStr;

use crate::canonical::canonical_path;

/// Most segments a path pattern has: the table's walk is as deep as its deepest pattern.
pub const MAX_PATTERN_SEGMENTS: usize = 64;

/// Longest pattern in bytes: as long as the longest request target that is accepted by default.
pub const MAX_PATTERN_BYTES: usize = 8192;

/// Longest host that DNS allows (RFC 1035 §2.3.4); a longer one matches no pattern.
pub(crate) const MAX_HOST_BYTES: usize = 255;

/// Why a pattern was refused; its text tells the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing was written.
    Empty,
    /// Longer than [`MAX_PATTERN_BYTES`], or deeper than [`MAX_PATTERN_SEGMENTS`].
    TooLong,
    /// The host has a port.
    HostPort,
    /// The host has a character that no host name has.
    HostCharacter(char),
    /// `*` in a host elsewhere than as the first label before a name.
    HostWildcard,
    /// A host label is empty.
    HostLabel,
    /// The path does not begin with `/`.
    PathStart,
    /// The path has a `?`: queries are matched by their own condition.
    PathQuery,
    /// `**` elsewhere than at the end.
    DoubleStar,
    /// `*` together with other characters in one segment.
    Star(String),
    /// `//`, which every pattern matches as `/`.
    EmptySegment,
    /// A character or escape that no request path has.
    PathCharacter,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the pattern is empty; leave the key out to match everything"),
            Self::TooLong => {
                write!(
                    f,
                    "a pattern has at most {MAX_PATTERN_BYTES} bytes and {MAX_PATTERN_SEGMENTS} segments"
                )
            }
            Self::HostPort => f.write_str("a host pattern has no port; write the name alone"),
            Self::HostCharacter(c) if !c.is_ascii() => {
                write!(f, "{c:?} cannot stand in a host; write international names in their xn-- form")
            }
            Self::HostCharacter(c) => write!(f, "{c:?} cannot stand in a host name"),
            Self::HostWildcard => f.write_str("a wildcard host is written *.example.com"),
            Self::HostLabel => f.write_str("a host name has no empty part between its dots"),
            Self::PathStart => f.write_str("a path begins with /"),
            Self::PathQuery => f.write_str("a path has no query; use query = { name = \"value\" }"),
            Self::DoubleStar => f.write_str("** stands only at the end of a path, as in /v1/**"),
            Self::Star(segment) => {
                write!(f, "* stands for one whole segment, as in /users/*/orders, not within {segment:?}")
            }
            Self::EmptySegment => {
                f.write_str("write / once: repeated slashes in a request match a single one")
            }
            Self::PathCharacter => f.write_str(
                "no request path looks like this: it has a dot segment, a broken % escape or a character \
                 that must be escaped",
            ),
        }
    }
}

impl std::error::Error for PatternError {}

/// Which hosts: `api.example.com` exactly, or `*.example.com` for every name below it, at any depth (not
/// `example.com` itself). Compared without regard to case, port or a final dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern(Host);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// Lower-case, without a final dot.
    Exact(Box<str>),
    /// `example.com` of `*.example.com`.
    Below(Box<str>),
}

impl HostPattern {
    /// Whether this host (without port; IPv6 literals in brackets) is meant.
    pub fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_HOST_BYTES {
            return false;
        }
        match &self.0 {
            Host::Exact(name) => name.eq_ignore_ascii_case(host),
            Host::Below(parent) => host
                .len()
                .checked_sub(parent.len() + 1)
                .filter(|cut| *cut > 0)
                .and_then(|cut| host.as_bytes().split_at_checked(cut))
                .is_some_and(|(_, tail)| {
                    tail[0] == b'.' && tail[1..].eq_ignore_ascii_case(parent.as_bytes())
                }),
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.0
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let Some((address, after)) = inner.split_once(']') else {
                return Err(PatternError::HostCharacter('['));
            };
            if !after.is_empty() {
                return Err(PatternError::HostPort);
            }
            let address: std::net::Ipv6Addr =
                address.parse().map_err(|_| PatternError::HostCharacter('['))?;
            return Ok(Self(Host::Exact(format!("[{address}]").into())));
        }
        let (name, wildcard) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        let name = name.strip_suffix('.').unwrap_or(name);
        for c in name.chars() {
            match c {
                '*' => return Err(PatternError::HostWildcard),
                ':' => return Err(PatternError::HostPort),
                c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => {}
                c => return Err(PatternError::HostCharacter(c)),
            }
        }
        if name.split('.').any(str::is_empty) {
            return Err(PatternError::HostLabel);
        }
        let name = name.to_ascii_lowercase().into();
        Ok(Self(if wildcard { Host::Below(name) } else { Host::Exact(name) }))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Exact(name) => f.write_str(name),
            Host::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Which paths: `/v1/x` exactly; `/v1/**` for `/v1` and everything below it; `*` for any one segment. Compared
/// on the canonical form ([`canonical_path`]); repeated slashes count once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// `None` is `*`.
    segments: Vec<Option<Box<str>>>,
    end: End,
}

/// How a pattern ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum End {
    /// Just there, `/a`.
    Here,
    /// With a slash, `/a/`.
    Slash,
    /// Anywhere below, `/a/**`.
    Below,
}

impl PathPattern {
    /// Whether this canonical path is meant.
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path.as_bytes();
        if rest.first() != Some(&b'/') {
            return self.segments.is_empty() && self.end == End::Below;
        }
        for wanted in &self.segments {
            let Some((segment, tail)) = next_segment(rest) else { return false };
            if wanted.as_deref().is_some_and(|w| w.as_bytes() != segment) {
                return false;
            }
            rest = tail;
        }
        match self.end {
            End::Below => true,
            End::Here => rest.is_empty(),
            End::Slash => next_segment(rest).is_none() && !rest.is_empty(),
        }
    }

    pub(crate) fn segments(&self) -> &[Option<Box<str>>] {
        &self.segments
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    pub(crate) fn rank(&self) -> PathRank {
        PathRank {
            literal_prefix: self.segments.iter().take_while(|s| s.is_some()).count(),
            is_exact: self.end != End::Below,
            literals: self.segments.iter().flatten().count(),
            segments: self.segments.len(),
        }
    }
}

/// How specific a path pattern is; the fields count in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathRank {
    literal_prefix: usize,
    is_exact: bool,
    literals: usize,
    segments: usize,
}

/// The first non-empty segment of a path that begins with `/`, and what follows it; none when only
/// slashes, or nothing, are left.
pub(crate) fn next_segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|b| *b != b'/')?;
    let path = &path[start..];
    let end = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
    Some(path.split_at(end))
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let Some(inner) = text.strip_prefix('/') else { return Err(PatternError::PathStart) };
        if inner.contains('?') {
            return Err(PatternError::PathQuery);
        }
        let mut parts: Vec<&str> = inner.split('/').collect();
        let end = match parts.last() {
            Some(&"**") => End::Below,
            Some(&"") => End::Slash,
            _ => End::Here,
        };
        if end != End::Here {
            parts.pop();
        }
        if parts.len() > MAX_PATTERN_SEGMENTS {
            return Err(PatternError::TooLong);
        }
        let segments = parts.into_iter().map(segment).collect::<Result<_, _>>()?;
        Ok(Self { segments, end })
    }
}

fn segment(text: &str) -> Result<Option<Box<str>>, PatternError> {
    match text {
        "" => Err(PatternError::EmptySegment),
        "*" => Ok(None),
        "**" => Err(PatternError::DoubleStar),
        part if part.contains('*') => Err(PatternError::Star(part.to_owned())),
        part => {
            let path = format!("/{part}");
            let canonical = canonical_path(&path).map_err(|_| PatternError::PathCharacter)?;
            match canonical.strip_prefix('/') {
                Some(part) if !part.is_empty() => Ok(Some(part.into())),
                _ => Err(PatternError::PathCharacter),
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{}", segment.as_deref().unwrap_or("*"))?;
        }
        f.write_str(match self.end {
            End::Here => "",
            End::Slash => "/",
            End::Below => "/**",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> PathPattern {
        text.parse().unwrap()
    }

    #[test]
    fn prefix_ends_at_a_segment() {
        let v1 = path("/v1/**");
        assert!(["/v1", "/v1/", "/v1/x", "/v1//x", "//v1/x"].iter().all(|p| v1.matches(p)));
        assert!(["/v1x", "/v", "/", "/x/v1"].iter().all(|p| !v1.matches(p)));
        assert!(path("/**").matches("/") && path("/**").matches("*"));
    }

    #[test]
    fn exact_and_star_segments() {
        assert!(path("/a/b").matches("/a/b") && !path("/a/b").matches("/a/b/"));
        assert!(path("/a/").matches("/a/") && path("/a/").matches("/a//") && !path("/a/").matches("/a"));
        assert!(path("/").matches("/") && !path("/").matches("/a") && !path("/").matches("*"));
        let orders = path("/users/*/orders");
        assert!(orders.matches("/users/7/orders") && !orders.matches("/users//orders"));
        assert!(path("/%7eme").matches("/~me"));
    }

    #[test]
    fn hosts_ignore_case_and_final_dot() {
        let exact: HostPattern = "API.example.com".parse().unwrap();
        assert!(exact.matches("api.EXAMPLE.com.") && !exact.matches("x.api.example.com"));
        let below: HostPattern = "*.Example.com".parse().unwrap();
        assert!(below.matches("a.example.com") && below.matches("a.b.example.com"));
        assert!(!below.matches("example.com") && !below.matches("badexample.com"));
        assert!(!below.matches(".example.com"));
        assert!("[2001:DB8::1]".parse::<HostPattern>().unwrap().matches("[2001:db8::1]"));
    }

    #[test]
    fn mistakes_are_named() {
        let host = |text: &str| text.parse::<HostPattern>().unwrap_err();
        assert_eq!(host(""), PatternError::Empty);
        assert_eq!(host("a:80"), PatternError::HostPort);
        assert_eq!(host("[::1]:80"), PatternError::HostPort);
        assert_eq!(host("a.*.b"), PatternError::HostWildcard);
        assert_eq!(host("*"), PatternError::HostWildcard);
        assert_eq!(host("a..b"), PatternError::HostLabel);
        assert_eq!(host("bücher.de"), PatternError::HostCharacter('ü'));
        let path = |text: &str| text.parse::<PathPattern>().unwrap_err();
        assert_eq!(path("v1"), PatternError::PathStart);
        assert_eq!(path("/**/x"), PatternError::DoubleStar);
        assert_eq!(path("/a*"), PatternError::Star("a*".into()));
        assert_eq!(path("/a?b=c"), PatternError::PathQuery);
        assert_eq!(path("/a//b"), PatternError::EmptySegment);
        assert_eq!(path("/a/../b"), PatternError::PathCharacter);
        assert_eq!(path(&"/x".repeat(65)), PatternError::TooLong);
    }

    proptest! {
        #[test]
        fn patterns_read_as_they_print(path in "/[ab*/%2]{0,12}", host in "(\\*\\.)?[ab.]{1,8}") {
            if let Ok(pattern) = path.parse::<PathPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<PathPattern>(), Ok(pattern));
            }
            if let Ok(pattern) = host.parse::<HostPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", host in ".{0,20}") {
            if let Ok(pattern) = text.parse::<PathPattern>() {
                pattern.matches(&text);
            }
            if let Ok(pattern) = text.parse::<HostPattern>() {
                pattern.matches(&host);
            }
        }
    }
}
