//! What request and response heads share: words, lines, and the memory of a head that arrives in pieces.
//!
//! A head is read line by line. Control characters are looked for first, because a line is whole only if its first
//! one is the CR of its CRLF; what stands in a whole line is then the business of `request`, `response` and `fields`.

use evenkeel_base::Reason;

use crate::fields::{self, Entry};
use crate::special::Seen;
use crate::tables::first_control;

/// Most fields a head may have, whatever [`Limits::headers`] says.
pub const MAX_HEADERS: usize = 256;

/// How much of a head is read before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// First line, fields and the blank line together, in bytes.
    pub head_bytes: usize,
    /// Number of field lines; values above [`MAX_HEADERS`] mean [`MAX_HEADERS`].
    pub headers: usize,
    /// Length of the request target as received, in bytes.
    pub target_bytes: usize,
}

/// What a parser makes of the bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The head is whole.
    Complete(T),
    /// Nothing is wrong yet; call again with more bytes behind these.
    Partial,
}

/// The protocol version of a message (RFC 9112 §2.3); no other is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// Where a body ends (RFC 9112 §6.3), decided once for everyone downstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, whatever the fields say.
    None,
    /// Exactly so many bytes; at most 2^63 - 1.
    Length(u64),
    /// The chunked coding; see [`ChunkDecoder`](crate::ChunkDecoder).
    Chunked,
    /// Until the connection closes. Responses only.
    UntilClose,
}

impl Framing {
    /// Whether body bytes follow the head.
    pub fn has_body(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }
}

/// The methods of RFC 9110 §9 and RFC 5789. Methods are case-sensitive: `get` is [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`; never in a [`RequestHead`](crate::RequestHead), which refuses it.
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`; never in a [`RequestHead`](crate::RequestHead), which refuses it.
    Trace,
    /// `PATCH`
    Patch,
    /// Any other token; its text is in [`RequestHead::method_text`](crate::RequestHead::method_text).
    Other,
}

impl Method {
    /// The method with exactly this text.
    pub fn from_bytes(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Its text; `None` for [`Method::Other`].
    pub fn as_str(self) -> Option<&'static str> {
        Some(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other => return None,
        })
    }

    /// Whether sending it twice has the effect of sending it once (RFC 9110 §9.2.2); unknown methods have not.
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace)
    }
}

/// How far a head that arrives in pieces has been looked at: one per connection and direction.
///
/// It makes the cost of a head linear in its bytes however they are cut: each is looked at once as it comes, and once
/// more when the head is whole. What is accepted is decided by that second look alone, so one that belongs to other
/// bytes can at worst refuse them. It resets itself whenever a parser returns `Complete` or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Start of the first line that has not been accepted.
    pub(crate) line_at: usize,
    /// Bytes of that line known to hold no control character end here.
    pub(crate) scanned: usize,
    /// Field lines accepted before it.
    pub(crate) fields: usize,
    /// The line at `line_at` is a field line, not the first line.
    pub(crate) in_fields: bool,
}

impl Progress {
    /// Nothing seen.
    pub const fn new() -> Self {
        Self { line_at: 0, scanned: 0, fields: 0, in_fields: false }
    }

    fn has_begun(&self) -> bool {
        *self != Self::new()
    }

    /// It cannot be of these bytes otherwise.
    fn fits(&self, window: &[u8]) -> bool {
        self.line_at <= self.scanned && self.scanned <= window.len()
    }
}

/// A line that was looked for.
pub(crate) enum Line<T> {
    /// What it says, and where the next line begins.
    Whole(T, usize),
    /// The end of the fields, and of the head.
    Blank,
    /// It goes on; no control character stands before this index.
    More(usize),
}

impl<T> Line<T> {
    /// Where it stands, without what it says.
    pub(crate) fn place(self) -> Line<()> {
        match self {
            Self::Whole(_, next) => Line::Whole((), next),
            Self::Blank => Line::Blank,
            Self::More(index) => Line::More(index),
        }
    }
}

/// The frame of both parsers: bounds the bytes looked at, skips what was seen before, and keeps `progress` true.
///
/// `first` checks the first line, looking for its end from the given index on; `whole` reads everything from the
/// start, and alone decides what is accepted.
#[inline]
pub(crate) fn read_head<'b, T>(
    buf: &'b [u8],
    limits: &Limits,
    progress: &mut Progress,
    first: impl Fn(&'b [u8], usize) -> Result<Line<()>, Reason>,
    whole: impl FnOnce(&'b [u8], &mut Progress) -> Result<Parsed<T>, Reason>,
) -> Result<Parsed<T>, Reason> {
    // Offsets are kept in 32 bits.
    let most = limits.head_bytes.min(u32::MAX as usize);
    let window = buf.get(..most).unwrap_or(buf);
    let seen = if progress.has_begun() && progress.fits(window) {
        resume(window, limits, progress, first)
    } else {
        Ok(true)
    };
    let result = match seen {
        Ok(true) => whole(window, progress),
        Ok(false) => Ok(Parsed::Partial),
        Err(reason) => Err(reason),
    };
    if let Ok(Parsed::Partial) = result {
        if window.len() < most {
            return result;
        }
        *progress = Progress::new();
        return Err(Reason::HeadTooLarge);
    }
    *progress = Progress::new();
    result
}

/// Looks for a line's end from `from` on and has `read` judge the line `window[at..end]`.
#[inline]
pub(crate) fn first_line<'b, T>(
    window: &'b [u8],
    at: usize,
    from: usize,
    longest: usize,
    read: impl Fn(&'b [u8]) -> Result<T, Reason>,
) -> Result<Line<T>, Reason> {
    match line_end(window, from.max(at)) {
        End::Whole(cr) => Ok(Line::Whole(read(&window[at..cr])?, cr + 2)),
        // A line that is too long already is wrong in a way that its judge can name.
        End::More(index) if index.saturating_sub(at) > longest => {
            Err(read(&window[at..index]).err().unwrap_or(Reason::HeadTooLarge))
        }
        End::More(index) => Ok(Line::More(index)),
        End::Bad(index) => Err(line_fault(window, index)
            .unwrap_or_else(|| read(&window[at..=index]).err().unwrap_or(Reason::BadRequestLine))),
    }
}

/// Reads all field lines from `at` on into `entries`; the answer is where the head ends, or `None` when it has not.
#[inline]
pub(crate) fn read_fields<'b>(
    window: &'b [u8],
    mut at: usize,
    limits: &Limits,
    entries: &mut Vec<Entry>,
    seen: &mut Seen<'b>,
    progress: &mut Progress,
) -> Result<Option<usize>, Reason> {
    let most = limits.headers.min(MAX_HEADERS);
    entries.clear();
    loop {
        match field_line(window, at, at)? {
            Line::Whole(entry, next) => {
                if entries.len() >= most {
                    return Err(Reason::TooManyHeaders);
                }
                seen.note(window, &entry, entries.len());
                entries.push(entry);
                at = next;
            }
            Line::Blank => return Ok(Some(at + 2)),
            Line::More(scanned) => {
                *progress = Progress { line_at: at, scanned, fields: entries.len(), in_fields: true };
                return Ok(None);
            }
        }
    }
}

/// Goes on where `progress` stopped, line by line; whether the blank line is there.
fn resume<'b>(
    window: &'b [u8],
    limits: &Limits,
    progress: &mut Progress,
    first: impl Fn(&'b [u8], usize) -> Result<Line<()>, Reason>,
) -> Result<bool, Reason> {
    let most = limits.headers.min(MAX_HEADERS);
    loop {
        let line = if progress.in_fields {
            field_line(window, progress.line_at, progress.scanned)?.place()
        } else {
            first(window, progress.scanned)?
        };
        match line {
            Line::Whole((), _) if progress.in_fields && progress.fields >= most => {
                return Err(Reason::TooManyHeaders);
            }
            Line::Whole((), next) => {
                let fields = progress.fields + usize::from(progress.in_fields);
                *progress = Progress { line_at: next, scanned: next, fields, in_fields: true };
            }
            Line::Blank => return Ok(true),
            Line::More(scanned) => {
                progress.scanned = scanned;
                return Ok(false);
            }
        }
    }
}

// In line with its loop by measurement: a quarter of the cost of a small head.
#[inline(always)]
fn field_line(window: &[u8], at: usize, from: usize) -> Result<Line<Entry>, Reason> {
    match line_end(window, from) {
        End::Whole(cr) if cr == at => Ok(Line::Blank),
        End::Whole(cr) => Ok(Line::Whole(fields::read_line(window, at, cr)?, cr + 2)),
        End::More(index) => Ok(Line::More(index)),
        End::Bad(index) => {
            Err(line_fault(window, index).unwrap_or_else(|| fields::fault(&window[at..=index])))
        }
    }
}

enum End {
    /// A CRLF begins here.
    Whole(usize),
    /// The bytes end, perhaps behind a CR, before the line does.
    More(usize),
    /// A control character stands here that cannot stand in a line.
    Bad(usize),
}

#[inline(always)]
fn line_end(window: &[u8], from: usize) -> End {
    let at = first_control(window, from);
    match window.get(at..) {
        Some([b'\r', b'\n', ..]) => End::Whole(at),
        Some([b'\r'] | []) | None => End::More(at),
        Some(_) => End::Bad(at),
    }
}

/// Names a CR or LF that is not part of a CRLF.
#[cold]
fn line_fault(window: &[u8], at: usize) -> Option<Reason> {
    match window.get(at) {
        Some(b'\n') => Some(Reason::BareLineFeed),
        Some(b'\r') => Some(Reason::BareCarriageReturn),
        _ => None,
    }
}
