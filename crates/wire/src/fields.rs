//! Fields: what each name means to a proxy, and which of them end here.

use std::fmt;
use std::ops::BitOr;

use evenkeel_base::Reason;

use crate::tables::{TOKEN, all_in, first_colon};

/// Most names that `Connection` may nominate in one head besides `close`, `keep-alive` and `upgrade`. Honest heads
/// nominate one or two; the product of names and fields is work an attacker could ask for.
pub const MAX_NOMINATIONS: usize = 32;

/// What a field name means to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FieldKind {
    /// Nothing in particular: forwarded unless `Connection` nominates it.
    Other,
    /// `Host`
    Host,
    /// `Connection` (hop)
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding` (hop)
    TransferEncoding,
    /// `Expect`
    Expect,
    /// `Upgrade` (hop)
    Upgrade,
    /// `Keep-Alive` (hop)
    KeepAlive,
    /// `TE` (hop)
    Te,
    /// `Trailer`; not a hop field, because trailers pass through with the body.
    Trailer,
    /// `Proxy-Connection` (hop)
    ProxyConnection,
    /// `Proxy-Authenticate` (hop)
    ProxyAuthenticate,
    /// `Proxy-Authorization` (hop)
    ProxyAuthorization,
    /// `Proxy` (treated as hop: CGI turns it into `HTTP_PROXY`, the "httpoxy" flaw)
    Proxy,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// Any other `X-Forwarded-…`
    XForwardedOther,
    /// `X-Real-IP`
    XRealIp,
    /// `Forwarded` (RFC 7239)
    Forwarded,
    /// `Date`
    Date,
    /// `Server`
    Server,
    /// `Accept`
    Accept,
    /// `Cookie`
    Cookie,
    /// `Authorization`
    Authorization,
    /// A field meant for every recipient, which `Connection` cannot nominate: `Content-…`, `Set-Cookie`,
    /// `Cache-Control`, `Origin`, `Range`, `Location`, `WWW-Authenticate`.
    EndToEnd,
    /// A special name with other punctuation for its hyphens (`X_Forwarded_For`), which CGI-like origins cannot
    /// tell from the real one (hop: it is dropped).
    Alias,
}

/// A set of [`FieldKind`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u32);

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'b> {
    /// As written; a token.
    pub name: &'b [u8],
    /// Without surrounding white space; no control characters but HTAB.
    pub value: &'b [u8],
    /// What the name means.
    pub kind: FieldKind,
    /// It must not be forwarded.
    pub hop: bool,
}

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// What a forwarding proxy may have written: `X-Forwarded-…`, `X-Real-IP`, `Forwarded`.
    pub const FORWARDED: Self = Self::NONE
        .with(FieldKind::XForwardedFor)
        .with(FieldKind::XForwardedProto)
        .with(FieldKind::XForwardedHost)
        .with(FieldKind::XForwardedOther)
        .with(FieldKind::XRealIp)
        .with(FieldKind::Forwarded);

    /// This set and `kind`.
    #[must_use]
    pub const fn with(self, kind: FieldKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Whether `kind` is in the set.
    pub const fn has(self, kind: FieldKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl BitOr for Kinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where one field lies in the head; offsets fit because a head is below 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name_at: u32,
    pub(crate) name_end: u32,
    pub(crate) value_at: u32,
    pub(crate) value_end: u32,
    /// Behind the line's CRLF.
    pub(crate) line_end: u32,
    pub(crate) kind: FieldKind,
    pub(crate) hop: bool,
}

/// Reusable room for the fields of one head at a time; keep one per worker. Nothing is allocated after `new`.
#[derive(Debug)]
pub struct Scratch {
    pub(crate) entries: Vec<Entry>,
}

/// The fields of a head, in the order received.
#[derive(Clone, Copy)]
pub struct Fields<'b> {
    pub(crate) buf: &'b [u8],
    pub(crate) entries: &'b [Entry],
}

impl<'b> Fields<'b> {
    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, those that must not be forwarded included.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'b>> + use<'b> {
        let buf = self.buf;
        self.entries.iter().map(move |entry| Field {
            name: entry.name(buf),
            value: entry.value(buf),
            kind: entry.kind,
            hop: entry.hop,
        })
    }

    /// The values of the fields of `kind`, in order.
    pub fn values(&self, kind: FieldKind) -> impl DoubleEndedIterator<Item = &'b [u8]> + use<'b> {
        let buf = self.buf;
        self.entries.iter().filter(move |entry| entry.kind == kind).map(move |entry| entry.value(buf))
    }

    /// The value of the first field of `kind`.
    pub fn get(&self, kind: FieldKind) -> Option<&'b [u8]> {
        self.values(kind).next()
    }

    /// The value of the first field named `name`, in any case, whether or not it may be forwarded.
    pub fn find(&self, name: &str) -> Option<&'b [u8]> {
        self.find_all(name).next()
    }

    /// The values of all fields named `name`, in any case, in order.
    pub fn find_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'b [u8]> + use<'b, 'n> {
        let buf = self.buf;
        let named = move |entry: &&Entry| entry.name(buf).eq_ignore_ascii_case(name.as_bytes());
        self.entries.iter().filter(named).map(move |entry| entry.value(buf))
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dropped = if self.hop { " (hop)" } else { "" };
        write!(f, "{}: {} [{:?}{dropped}]", self.name.escape_ascii(), self.value.escape_ascii(), self.kind)
    }
}

impl Scratch {
    /// Room for [`MAX_HEADERS`](crate::MAX_HEADERS) fields (6 KiB).
    pub fn new() -> Self {
        Self { entries: Vec::with_capacity(crate::MAX_HEADERS) }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    #[inline]
    pub(crate) fn name<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        &buf[self.name_at as usize..self.name_end as usize]
    }

    #[inline]
    pub(crate) fn value<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        &buf[self.value_at as usize..self.value_end as usize]
    }
}

/// Reads the field line `window[at..cr]`, which holds no control character but HTAB.
// As its caller, by measurement.
#[inline(always)]
pub(crate) fn read_line(window: &[u8], at: usize, cr: usize) -> Result<Entry, Reason> {
    let line = &window[at..cr];
    let Some(colon) = first_colon(line) else { return Err(fault(line)) };
    let name = &line[..colon];
    if name.is_empty() || !all_in(name, TOKEN) {
        return Err(fault(line));
    }
    let (mut start, mut end) = (colon + 1, line.len());
    start += usize::from(line.get(start) == Some(&b' '));
    if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = &line[start..] {
        (start, end) = trimmed(line, start, end);
    }
    let kind = classify(name);
    Ok(Entry {
        name_at: at as u32,
        name_end: (at + colon) as u32,
        value_at: (at + start) as u32,
        value_end: (at + end) as u32,
        line_end: (cr + 2) as u32,
        kind,
        hop: HOP.has(kind),
    })
}

/// Names what is wrong with a field line, or with the part of one that ends in its first bad byte.
#[cold]
pub(crate) fn fault(line: &[u8]) -> Reason {
    let name = match first_colon(line) {
        _ if matches!(line.first(), Some(b' ' | b'\t')) => return Reason::FoldedHeader,
        Some(colon) => &line[..colon],
        None => return Reason::BadHeaderName,
    };
    match name.last() {
        Some(b' ' | b'\t') => Reason::SpaceBeforeColon,
        Some(_) if all_in(name, TOKEN) => Reason::BadHeaderValue,
        _ => Reason::BadHeaderName,
    }
}

#[cold]
fn trimmed(line: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    let blank = |index: usize| matches!(line.get(index), Some(b' ' | b'\t'));
    while start < end && blank(start) {
        start += 1;
    }
    while start < end && blank(end - 1) {
        end -= 1;
    }
    (start, end)
}

const HOP: Kinds = Kinds::NONE
    .with(FieldKind::Connection)
    .with(FieldKind::TransferEncoding)
    .with(FieldKind::Upgrade)
    .with(FieldKind::KeepAlive)
    .with(FieldKind::Te)
    .with(FieldKind::ProxyConnection)
    .with(FieldKind::ProxyAuthenticate)
    .with(FieldKind::ProxyAuthorization)
    .with(FieldKind::Proxy)
    .with(FieldKind::Alias);

/// What a name means: one comparison for a name whose length and first letter are those of a special one, none
/// for most others.
#[inline]
pub(crate) fn classify(name: &[u8]) -> FieldKind {
    use FieldKind as K;
    let first = name.first().map_or(0, |b| b | 0x20);
    let (special, kind): (&[u8], K) = match (name.len(), first) {
        (2, b't') => (b"te", K::Te),
        (4, b'h') => (b"host", K::Host),
        (4, b'd') => (b"date", K::Date),
        (5, b'p') => (b"proxy", K::Proxy),
        (5, b'r') => (b"range", K::EndToEnd),
        (6, b'a') => (b"accept", K::Accept),
        (6, b'c') => (b"cookie", K::Cookie),
        (6, b'e') => (b"expect", K::Expect),
        (6, b'o') => (b"origin", K::EndToEnd),
        (6, b's') => (b"server", K::Server),
        (7, b't') => (b"trailer", K::Trailer),
        (7, b'u') => (b"upgrade", K::Upgrade),
        (8, b'l') => (b"location", K::EndToEnd),
        (9, b'f') => (b"forwarded", K::Forwarded),
        (9, b'x') => (b"x-real-ip", K::XRealIp),
        (10, b'c') => (b"connection", K::Connection),
        (10, b'k') => (b"keep-alive", K::KeepAlive),
        (10, b's') => (b"set-cookie", K::EndToEnd),
        (13, b'a') => (b"authorization", K::Authorization),
        (13, b'c') => (b"cache-control", K::EndToEnd),
        (14, b'c') => (b"content-length", K::ContentLength),
        (15, b'x') => (b"x-forwarded-for", K::XForwardedFor),
        (16, b'p') => (b"proxy-connection", K::ProxyConnection),
        (16, b'w') => (b"www-authenticate", K::EndToEnd),
        (16, b'x') => (b"x-forwarded-host", K::XForwardedHost),
        (17, b't') => (b"transfer-encoding", K::TransferEncoding),
        (17, b'x') => (b"x-forwarded-proto", K::XForwardedProto),
        (18, b'p') => (b"proxy-authenticate", K::ProxyAuthenticate),
        (19, b'p') => (b"proxy-authorization", K::ProxyAuthorization),
        (9.., b'c' | b'x') => return classify_family(name),
        _ => return K::Other,
    };
    if name.eq_ignore_ascii_case(special) { kind } else { classify_near(name, special, kind) }
}

/// A name that only looks like `special` so far.
#[cold]
fn classify_near(name: &[u8], special: &[u8], kind: FieldKind) -> FieldKind {
    if kind != FieldKind::EndToEnd && is_alias(name, special) {
        return FieldKind::Alias;
    }
    classify_family(name)
}

#[cold]
fn classify_family(name: &[u8]) -> FieldKind {
    const FORWARDED: &[u8] = b"x-forwarded-";
    const CONTENT: &[u8] = b"content-";
    if let Some(prefix) = name.get(..FORWARDED.len()) {
        if prefix.eq_ignore_ascii_case(FORWARDED) {
            // `X-Forwarded-For` never gets here, but `X-Forwarded_For` does.
            let underscored = !name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-');
            return if underscored { FieldKind::Alias } else { FieldKind::XForwardedOther };
        }
        if is_alias(prefix, FORWARDED) {
            return FieldKind::Alias;
        }
    }
    match name.get(..CONTENT.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(CONTENT) => FieldKind::EndToEnd,
        _ => FieldKind::Other,
    }
}

/// Whether an origin that maps names to variables (CGI, WSGI, PHP) may read `name` as `special`: the same letters,
/// with any punctuation for the hyphens.
fn is_alias(name: &[u8], special: &[u8]) -> bool {
    name.len() == special.len()
        && name.iter().zip(special).all(|(n, s)| match s {
            b'-' => !n.is_ascii_alphanumeric(),
            _ => n.eq_ignore_ascii_case(s),
        })
}
