//! Request heads: the strictest reading RFC 9112 allows, and in places a little more.
//!
//! Decisions where the RFC leaves a choice, or where we go beyond it:
//! * one empty line before the request line is skipped (RFC 9112 §2.2), a second is not;
//! * lines end in CRLF, fields are separated from the line by exactly what the grammar says, folding is refused;
//! * a target is visible ASCII without `#`, and without `\` before its `?`;
//! * `CONNECT` and `TRACE` are refused in any case of letters;
//! * an absolute-form target must be `http` or `https`, name the same authority as `Host`, and, because nothing is
//!   copied here, have a path if it has a query;
//! * `Host` is narrower than RFC 3986: see [`RequestHead::host`];
//! * fields whose names an origin may take for a special one (`X_Forwarded_For`) are marked as not to be forwarded;
//! * `Upgrade` is ignored where RFC 9110 §7.8 says so (HTTP/1.0, not listed in `Connection`) and for protocols that
//!   would reframe this connection (`h2c`, `TLS`); with a body it is refused, since either reading of what follows
//!   the head could be somebody's.

use evenkeel_base::Reason;

use crate::fields::FieldKind;
use crate::head::{Line, first_line, read_fields, read_head};
use crate::special::Seen;
use crate::tables::{PATH, QUERY, TOKEN, all_in};
use crate::{Fields, Framing, Limits, Method, Parsed, Progress, Scratch, Version, host};

/// Longest method token, in bytes; the longest registered one has 17.
pub const MAX_METHOD_BYTES: usize = 32;

/// A request head that may be acted on.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'b> {
    /// What is asked; never `CONNECT` or `TRACE`.
    pub method: Method,
    /// The method as written; a token of at most [`MAX_METHOD_BYTES`].
    pub method_text: &'b str,
    /// What is forwarded: origin-form, or `*` with `OPTIONS`. An absolute-form target is reduced to this.
    pub target: &'b str,
    /// Host and optional port as written: a name of letters, digits and `-._~`, or an IPv4 or bracketed IPv6
    /// address. Empty only for HTTP/1.0 without `Host` and absolute-form target.
    pub host: &'b str,
    /// Of the client.
    pub version: Version,
    /// Where the body ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// The client wants, and may have, another request on this connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// The client may wait for `100 (Continue)` before it sends the body (RFC 9110 §10.1.1): HTTP/1.1 with a body.
    pub expect_continue: bool,
    /// The protocols asked for, as a list in the client's order; only if `Connection` lists `upgrade`, the version
    /// is HTTP/1.1, there is no body, and none of them is HTTP or TLS itself.
    pub upgrade: Option<&'b [u8]>,
    /// All fields, with those that must not be forwarded marked.
    pub fields: Fields<'b>,
    /// Bytes of the buffer that were the head, a skipped empty line included. The body begins behind them.
    pub head_len: usize,
}

impl<'b> RequestHead<'b> {
    /// [`RequestHead::host`] without its port; IPv6 keeps its brackets.
    pub fn host_name(&self) -> &'b str {
        host::without_port(self.host)
    }
}

/// Reads a request head from the start of `buf`.
///
/// On `Partial`, call again with the same bytes and more behind them, and the same `progress`. No more than
/// `limits.head_bytes` are looked at.
///
/// # Errors
/// The first thing wrong, as soon as the line it stands in is complete (control characters at once): one of the
/// reasons from `BadRequestLine` to `MethodRefused`. The answer is an error status and a close, never a guess.
pub fn parse_request<'b>(
    buf: &'b [u8],
    limits: &Limits,
    progress: &mut Progress,
    scratch: &'b mut Scratch,
) -> Result<Parsed<RequestHead<'b>>, Reason> {
    let first = |window: &'b [u8], from: usize| request_line(window, from, limits).map(Line::place);
    read_head(buf, limits, progress, first, |window, progress| whole(window, limits, progress, scratch))
}

/// The request line's parts; what has no field of its own is as in [`RequestHead`].
struct RequestLine<'b> {
    method: Method,
    method_text: &'b str,
    version: Version,
    target: &'b str,
    /// Of an absolute-form target.
    authority: Option<&'b [u8]>,
}

fn whole<'b>(
    window: &'b [u8],
    limits: &Limits,
    progress: &mut Progress,
    scratch: &'b mut Scratch,
) -> Result<Parsed<RequestHead<'b>>, Reason> {
    let (line, at) = match request_line(window, 0, limits)? {
        Line::Whole(line, at) => (line, at),
        Line::More(scanned) => {
            *progress = Progress { scanned, ..Progress::new() };
            return Ok(Parsed::Partial);
        }
        Line::Blank => return Err(Reason::BadRequestLine),
    };
    let mut seen = Seen::default();
    let Some(head_len) = read_fields(window, at, limits, &mut scratch.entries, &mut seen, progress)? else {
        return Ok(Parsed::Partial);
    };
    let framing = seen.framing(line.version)?.unwrap_or(Framing::None);
    let http11 = line.version == Version::Http11;
    let host = host_of(&line, &seen)?;
    if seen.has(FieldKind::Expect)
        && (seen.has_twice(FieldKind::Expect) || !seen.expect.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(Reason::BadExpect);
    }
    let upgrade = if http11 { seen.upgrade()? } else { None };
    if upgrade.is_some() && framing.has_body() {
        return Err(Reason::BadUpgrade);
    }
    seen.mark_nominated(window, &mut scratch.entries)?;
    seen.tidy_length(&mut scratch.entries);
    Ok(Parsed::Complete(RequestHead {
        method: line.method,
        method_text: line.method_text,
        target: line.target,
        host,
        version: line.version,
        framing,
        keep_alive: !seen.close && (http11 || seen.keep_alive),
        expect_continue: http11 && framing.has_body() && seen.has(FieldKind::Expect),
        upgrade,
        fields: Fields { buf: window, entries: &scratch.entries },
        head_len,
    }))
}

#[inline]
fn request_line<'b>(window: &'b [u8], from: usize, limits: &Limits) -> Result<Line<RequestLine<'b>>, Reason> {
    let at = if window.starts_with(b"\r\n") { 2 } else { 0 };
    // METHOD SP TARGET SP HTTP/1.1
    let longest = limits.target_bytes.saturating_add(MAX_METHOD_BYTES + 10);
    first_line(window, at, from, longest, |line| read_request_line(line, limits))
}

fn read_request_line<'b>(line: &'b [u8], limits: &Limits) -> Result<RequestLine<'b>, Reason> {
    let space = line.iter().take(MAX_METHOD_BYTES + 1).position(|&b| b == b' ');
    let Some(space) = space else { return Err(method_fault(line)) };
    let (method_bytes, rest) = (&line[..space], &line[space + 1..]);
    let method = Method::from_bytes(method_bytes);
    let method_text = match method.as_str() {
        Some(text) => text,
        None => unusual_method(method_bytes)?,
    };
    if matches!(method, Method::Connect | Method::Trace) {
        return Err(Reason::MethodRefused);
    }
    let (target, version) = match rest.split_last_chunk::<9>() {
        Some((target, b" HTTP/1.1")) => (target, Version::Http11),
        Some((target, b" HTTP/1.0")) => (target, Version::Http10),
        _ => return Err(target_fault(rest, limits)),
    };
    if target.is_empty() || target.len() > limits.target_bytes || !is_target_text(target) {
        return Err(target_fault(rest, limits));
    }
    let (target, authority) = match target {
        [b'/', ..] => (target, None),
        b"*" if method == Method::Options => (target, None),
        _ => absolute_form(method, target)?,
    };
    let target = std::str::from_utf8(target).map_err(|_| Reason::BadTarget)?;
    Ok(RequestLine { method, method_text, version, target, authority })
}

/// Names what is wrong with a line that has no space where a method would have ended.
#[cold]
fn method_fault(line: &[u8]) -> Reason {
    if line.len() <= MAX_METHOD_BYTES && all_in(line, TOKEN) {
        Reason::BadRequestLine
    } else {
        Reason::BadMethod
    }
}

#[cold]
fn unusual_method(method: &[u8]) -> Result<&str, Reason> {
    if method.is_empty() || !all_in(method, TOKEN) {
        return Err(Reason::BadMethod);
    }
    // Some origins do not mind the case of a method, and these two must not reach any.
    if method.eq_ignore_ascii_case(b"connect") || method.eq_ignore_ascii_case(b"trace") {
        return Err(Reason::MethodRefused);
    }
    std::str::from_utf8(method).map_err(|_| Reason::BadMethod)
}

#[inline]
fn is_target_text(target: &[u8]) -> bool {
    let query = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
    all_in(&target[..query], PATH) && all_in(&target[query..], QUERY)
}

/// Names what is wrong in what follows the method, of which something is.
#[cold]
fn target_fault(rest: &[u8], limits: &Limits) -> Reason {
    let space = rest.iter().position(|&b| b == b' ');
    let target = &rest[..space.unwrap_or(rest.len())];
    let version = space.map(|at| &rest[at + 1..]);
    match version {
        _ if target.len() > limits.target_bytes => Reason::TargetTooLong,
        _ if !is_target_text(target) => Reason::BadTarget,
        Some(version) if !target.is_empty() && !version.contains(&b' ') => Reason::BadVersion,
        _ => Reason::BadRequestLine,
    }
}

/// What an absolute-form target asks for, and of whom (RFC 9112 §3.2.2).
#[cold]
fn absolute_form(method: Method, target: &[u8]) -> Result<(&[u8], Option<&[u8]>), Reason> {
    let after = |scheme: &[u8]| match target.split_at_checked(scheme.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(scheme) => Some(rest),
        _ => None,
    };
    let Some(rest) = after(b"http://").or_else(|| after(b"https://")) else { return Err(Reason::BadTarget) };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !host::is_authority(authority) {
        return Err(Reason::BadTarget);
    }
    let path: &[u8] = match path {
        [] if method == Method::Options => b"*",
        [] => b"/",
        [b'/', ..] => path,
        _ => return Err(Reason::BadTarget),
    };
    Ok((path, Some(authority)))
}

#[inline]
fn host_of<'b>(line: &RequestLine<'b>, seen: &Seen<'b>) -> Result<&'b str, Reason> {
    let host = if seen.has(FieldKind::Host) {
        let agrees = line.authority.is_none_or(|authority| authority.eq_ignore_ascii_case(seen.host));
        if seen.has_twice(FieldKind::Host) || !agrees || !host::is_authority(seen.host) {
            return Err(Reason::BadHost);
        }
        seen.host
    } else if line.version == Version::Http11 {
        return Err(Reason::MissingHost);
    } else {
        line.authority.unwrap_or_default()
    };
    std::str::from_utf8(host).map_err(|_| Reason::BadHost)
}

#[cfg(test)]
mod tests;
