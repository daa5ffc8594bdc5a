//! The one form in which a path is matched, logged and forwarded (RFC 3986 §6.2.2).

use std::borrow::Cow;

use evenkeel_base::Reason;

/// The canonical form of a request path, without its query.
///
/// * `%XX` of an unreserved character (RFC 3986 §2.3) is decoded; every other escape stays, in upper case:
///   `%2F` remains one character of its segment, never a separator.
/// * `.` and `..` segments are removed, encoded or not (RFC 3986 §5.2.4).
/// * Characters that no grammar allows raw but that clients send (`"<>^` and so on) become escapes.
/// * Empty segments (`//`) stay; [`PathPattern`](crate::PathPattern) skips them.
/// * The asterisk-form `*` passes as it is.
///
/// A clean path comes back borrowed after one scan, with no allocation.
///
/// # Errors
/// [`Reason::BadTarget`] for a path that does not begin with `/`, climbs above the root, holds a broken
/// escape, `%00`, a control character, a raw `#`, `?`, backslash or non-ASCII byte; or hides a dot segment
/// where only some origins see one (`..%2F`, `..%5C`, `..;`).
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, Reason> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return if path == "*" { Ok(Cow::Borrowed(path)) } else { Err(Reason::BadTarget) };
    }
    let mut before = b'/';
    for &byte in bytes {
        let plain = match CLASS[usize::from(byte)] {
            Class::Plain => true,
            Class::Dot => before != b'/',
            _ => false,
        };
        if !plain {
            let canonical = rewrite(bytes)?;
            return Ok(if canonical == path { Cow::Borrowed(path) } else { Cow::Owned(canonical) });
        }
        before = byte;
    }
    Ok(Cow::Borrowed(path))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stands for itself.
    Plain,
    /// May begin a dot segment.
    Dot,
    /// `%`.
    Escape,
    /// Not allowed raw, harmless once escaped.
    Escaped,
    Refused,
}

const CLASS: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Refused; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = match byte as u8 {
            b'.' => Class::Dot,
            b'%' => Class::Escape,
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Escaped,
            b'#' | b'?' | b'\\' => Class::Refused,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
}

/// The path as it must be; `bytes` begins with `/`.
fn rewrite(bytes: &[u8]) -> Result<String, Reason> {
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut segments = bytes.split(|b| *b == b'/').skip(1).peekable();
    while let Some(raw) = segments.next() {
        let start = out.len();
        out.push(b'/');
        unescape_into(&mut out, raw)?;
        let is_last = segments.peek().is_none();
        match &out[start + 1..] {
            b"." => {
                out.truncate(start);
                if is_last {
                    out.push(b'/');
                }
            }
            b".." => {
                out.truncate(start);
                let parent = out.iter().rposition(|b| *b == b'/').ok_or(Reason::BadTarget)?;
                out.truncate(parent);
                if is_last {
                    out.push(b'/');
                }
            }
            segment if hides_dot_segment(segment) => return Err(Reason::BadTarget),
            _ => {}
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    String::from_utf8(out).map_err(|_| Reason::BadTarget)
}

fn unescape_into(out: &mut Vec<u8>, raw: &[u8]) -> Result<(), Reason> {
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match CLASS[usize::from(*byte)] {
            Class::Plain | Class::Dot => out.push(*byte),
            Class::Escaped => push_escape(out, *byte),
            Class::Refused => return Err(Reason::BadTarget),
            Class::Escape => {
                let [high, low, tail @ ..] = rest else { return Err(Reason::BadTarget) };
                rest = tail;
                let value = hex(*high).zip(hex(*low)).map(|(h, l)| h << 4 | l).ok_or(Reason::BadTarget)?;
                match value {
                    0 => return Err(Reason::BadTarget),
                    v if is_unreserved(v) => out.push(v),
                    v => push_escape(out, v),
                }
            }
        }
    }
    Ok(())
}

/// Whether some origin, decoding once more or dropping `;parameters`, would see `.` or `..` in this segment.
fn hides_dot_segment(segment: &[u8]) -> bool {
    let is_dots = |part: &[u8]| part == b"." || part == b"..";
    let mut from = 0;
    let mut at = 0;
    while at < segment.len() {
        let separator = match &segment[at..] {
            [b';', ..] => 1,
            [b'%', b'2', b'F', ..] | [b'%', b'5', b'C', ..] => 3,
            _ => 0,
        };
        if separator > 0 {
            if is_dots(&segment[from..at]) {
                return true;
            }
            at += separator;
            from = at;
        } else {
            at += 1;
        }
    }
    from > 0 && is_dots(&segment[from..])
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The value of one hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(path: &str) -> Result<String, Reason> {
        canonical_path(path).map(Cow::into_owned)
    }

    #[test]
    fn clean_paths_are_borrowed() {
        for path in ["/", "/a/b.c/d~e", "//a", "/a/", "/a;b=c/d", "/.well-known/x", "/...", "/a%2Fb", "*"] {
            assert!(matches!(canonical_path(path), Ok(Cow::Borrowed(p)) if p == path), "{path}");
        }
    }

    #[test]
    fn dots_and_escapes_have_one_form() {
        for (from, to) in [
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/.", "/"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/%2E./b", "/b"),
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%7eb", "/a~b"),
            ("/a//../b", "/a/b"),
            ("/a|b", "/a%7Cb"),
            ("/%e4", "/%E4"),
        ] {
            assert_eq!(canonical(from).as_deref(), Ok(to), "{from}");
        }
    }

    #[test]
    fn hostile_paths_are_refused() {
        for path in [
            "",
            "a",
            "/..",
            "/a/../..",
            "/%2e%2e/x",
            "/%00",
            "/%",
            "/%2",
            "/%zz",
            "/a#b",
            "/a?b",
            "/a\\b",
            "/a b",
            "/a\u{7f}",
            "/é",
            "/a/..%2fb",
            "/a/..%5Cb",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a%2f..",
            "/.;/",
            "http://x/",
            "**",
        ] {
            assert_eq!(canonical(path), Err(Reason::BadTarget), "{path}");
        }
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point_without_dot_segments(path in "/[a-c./%2eEfF5c;]{0,24}") {
            if let Ok(once) = canonical(&path) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
                prop_assert!(!once.split('/').any(|s| s == "." || s == ".."), "{}", once);
                prop_assert!(once.starts_with('/'));
            }
        }

        #[test]
        fn no_text_panics(path in ".{0,40}") {
            let _ = canonical_path(&path);
        }
    }
}
