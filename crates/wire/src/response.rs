//! Response heads. Targets are trusted no more than clients: what is refused of a client is refused of them.
//!
//! Two leniencies, each for servers that exist: a status line may end behind the status code, without the space
//! that RFC 9112 §4 asks for; and a `204` that declares a body is passed on without one and costs the connection,
//! where RFC 9110 §8.6 forbids the declaration.

use evenkeel_base::Reason;

use crate::fields::FieldKind;
use crate::head::{Line, first_line, read_fields, read_head};
use crate::special::Seen;
use crate::{Fields, Framing, Limits, Method, Parsed, Progress, Scratch, Version};

/// What the response answers, as far as its framing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Of the request: the answer to `HEAD` has no body.
    pub method: Method,
    /// The request offered to switch protocols; without it a `101` is refused.
    pub upgrade: bool,
}

/// A response head that may be acted on.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'b> {
    /// 100 to 599. Below 200 (but not 101) another head follows for the same request.
    pub status: u16,
    /// The reason phrase; may be empty, may hold bytes from 0x80 up.
    pub reason: &'b [u8],
    /// Of the target.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// The connection may carry another request once this message is read to its end.
    pub keep_alive: bool,
    /// The protocol switched to; only, and always, with status 101.
    pub upgrade: Option<&'b [u8]>,
    /// All fields, with those that must not be forwarded marked.
    pub fields: Fields<'b>,
    /// Bytes of the buffer that were the head. The body begins behind them.
    pub head_len: usize,
}

/// Reads a response head from the start of `buf`; see [`parse_request`](crate::parse_request) for `Partial`.
///
/// # Errors
/// [`Reason::HeadTooLarge`] and [`Reason::TooManyHeaders`]; for all else [`Reason::BadResponse`]. The connection
/// must not be used again.
pub fn parse_response<'b>(
    buf: &'b [u8],
    limits: &Limits,
    asked: Asked,
    progress: &mut Progress,
    scratch: &'b mut Scratch,
) -> Result<Parsed<ResponseHead<'b>>, Reason> {
    let first = |window: &'b [u8], from: usize| status_line(window, from).map(Line::place);
    read_head(buf, limits, progress, first, |window, progress| {
        whole(window, limits, asked, progress, scratch)
    })
    .map_err(|reason| match reason {
        Reason::HeadTooLarge | Reason::TooManyHeaders => reason,
        _ => Reason::BadResponse,
    })
}

struct StatusLine<'b> {
    version: Version,
    status: u16,
    reason: &'b [u8],
}

fn whole<'b>(
    window: &'b [u8],
    limits: &Limits,
    asked: Asked,
    progress: &mut Progress,
    scratch: &'b mut Scratch,
) -> Result<Parsed<ResponseHead<'b>>, Reason> {
    let (line, at) = match status_line(window, 0)? {
        Line::Whole(line, at) => (line, at),
        Line::More(scanned) => {
            *progress = Progress { scanned, ..Progress::new() };
            return Ok(Parsed::Partial);
        }
        Line::Blank => return Err(Reason::BadResponse),
    };
    let mut seen = Seen::default();
    let Some(head_len) = read_fields(window, at, limits, &mut scratch.entries, &mut seen, progress)? else {
        return Ok(Parsed::Partial);
    };
    let ending = ending(&line, asked, &seen)?;
    seen.mark_nominated(window, &mut scratch.entries)?;
    seen.tidy_length(&mut scratch.entries);
    if line.status < 200 || line.status == 204 {
        for entry in scratch.entries.iter_mut().filter(|entry| entry.kind == FieldKind::ContentLength) {
            entry.hop = true;
        }
    }
    Ok(Parsed::Complete(ResponseHead {
        status: line.status,
        reason: line.reason,
        version: line.version,
        framing: ending.framing,
        keep_alive: ending.keep_alive,
        upgrade: ending.upgrade,
        fields: Fields { buf: window, entries: &scratch.entries },
        head_len,
    }))
}

#[inline]
fn status_line(window: &[u8], from: usize) -> Result<Line<StatusLine<'_>>, Reason> {
    first_line(window, 0, from, usize::MAX, read_status_line)
}

fn read_status_line(line: &[u8]) -> Result<StatusLine<'_>, Reason> {
    let (version, rest) = match line.split_first_chunk::<9>() {
        Some((b"HTTP/1.1 ", rest)) => (Version::Http11, rest),
        Some((b"HTTP/1.0 ", rest)) => (Version::Http10, rest),
        _ => return Err(Reason::BadResponse),
    };
    let (digits, reason) = match rest {
        [a, b, c] => ([a, b, c], &rest[3..]),
        [a, b, c, b' ', reason @ ..] => ([a, b, c], reason),
        _ => return Err(Reason::BadResponse),
    };
    if !digits.iter().all(|digit| digit.is_ascii_digit()) {
        return Err(Reason::BadResponse);
    }
    let status = digits.iter().fold(0_u16, |number, &&digit| number * 10 + u16::from(digit - b'0'));
    if !(100..=599).contains(&status) {
        return Err(Reason::BadResponse);
    }
    Ok(StatusLine { version, status, reason })
}

/// How the message ends, and what may follow it.
struct Ending<'b> {
    framing: Framing,
    keep_alive: bool,
    upgrade: Option<&'b [u8]>,
}

/// RFC 9112 §6.3 for responses, and §9.3 for what follows.
fn ending<'b>(line: &StatusLine<'_>, asked: Asked, seen: &Seen<'b>) -> Result<Ending<'b>, Reason> {
    let http11 = line.version == Version::Http11;
    let declared = seen.framing(line.version)?;
    let declares_body = declared.is_some_and(Framing::has_body);
    let lasting = !seen.close && (http11 || seen.keep_alive);
    let ending = match line.status {
        101 => {
            let upgrade = seen.upgrade()?.filter(|_| asked.upgrade && http11 && declared.is_none());
            let upgrade = Some(upgrade.ok_or(Reason::BadResponse)?);
            Ending { framing: Framing::None, keep_alive: false, upgrade }
        }
        // What would be an interim answer's body is the next answer's head to everyone else.
        100..=199 if declares_body => return Err(Reason::BadResponse),
        100..=199 | 304 => Ending { framing: Framing::None, keep_alive: lasting, upgrade: None },
        204 => Ending { framing: Framing::None, keep_alive: lasting && !declares_body, upgrade: None },
        _ if asked.method == Method::Head => {
            Ending { framing: Framing::None, keep_alive: lasting, upgrade: None }
        }
        _ => {
            let framing = declared.unwrap_or(Framing::UntilClose);
            let keep_alive = lasting && framing != Framing::UntilClose;
            Ending { framing, keep_alive, upgrade: None }
        }
    };
    Ok(ending)
}

#[cfg(test)]
mod tests;
