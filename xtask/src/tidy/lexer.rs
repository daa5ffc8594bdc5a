//! Tells code, comments and literals of a Rust text apart, without parsing it.

/// Two views of one text, each of its length and with its line breaks: what does not belong to the view is
/// blank. Bytes beyond ASCII are `?`.
#[derive(Debug, Clone)]
pub(crate) struct Masked {
    /// Code alone: no comment, no literal.
    pub(crate) code: String,
    /// Comments alone, doc comments included.
    pub(crate) comments: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    /// `r#name`: no keyword, whatever it looks like.
    RawName,
    Comment,
    Literal,
}

/// Splits a text into its views.
pub(crate) fn mask(source: &str) -> Masked {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut comments = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = piece(bytes, at);
        for &byte in &bytes[at..end] {
            let shown = if byte.is_ascii() { byte } else { b'?' };
            let blank = if byte == b'\n' { b'\n' } else { b' ' };
            code.push(match kind {
                Kind::Code => shown,
                Kind::RawName => b'_',
                Kind::Comment | Kind::Literal => blank,
            });
            comments.push(if kind == Kind::Comment { shown } else { blank });
        }
        at = end;
    }
    Masked {
        code: String::from_utf8_lossy(&code).into_owned(),
        comments: String::from_utf8_lossy(&comments).into_owned(),
    }
}

/// The kind of the piece that begins at `at`, and where it ends (always behind `at`).
fn piece(bytes: &[u8], at: usize) -> (Kind, usize) {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        return (Kind::Comment, at + length);
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, at + block_comment(rest));
    }
    if let Some(length) = raw_string(rest).or_else(|| string(rest)).or_else(|| character(rest)) {
        return (Kind::Literal, at + length);
    }
    if rest.len() > 2 && rest.starts_with(b"r#") && is_name_byte(rest[2]) {
        return (Kind::RawName, at + 2 + name_length(&rest[2..]));
    }
    (Kind::Code, at + name_length(rest).max(1))
}

/// Comments nest in Rust.
fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"r"[..], b"br", b"cr"].into_iter().find(|p| rest.starts_with(p))?.len();
    let hashes = rest[prefix..].iter().take_while(|&&b| b == b'#').count();
    let body = prefix + hashes + 1;
    if rest.get(body - 1) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let length = rest[body..].windows(close.len()).position(|w| w == close);
    Some(length.map_or(rest.len(), |inside| body + inside + close.len()))
}

fn string(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"\""[..], b"b\"", b"c\""].into_iter().find(|p| rest.starts_with(p))?.len();
    Some(quoted(rest, prefix, b'"'))
}

/// A character literal; `None` for a lifetime or a loop label.
fn character(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"'"[..], b"b'"].into_iter().find(|p| rest.starts_with(p))?.len();
    match rest.get(prefix)? {
        b'\\' => Some(quoted(rest, prefix, b'\'')),
        &first => {
            let width = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (rest.get(prefix + width) == Some(&b'\'')).then_some(prefix + width + 1)
        }
    }
}

/// The length up to and with the closing quote; a backslash takes the byte behind it along.
fn quoted(rest: &[u8], mut at: usize, quote: u8) -> usize {
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn name_length(rest: &[u8]) -> usize {
    rest.iter().take_while(|&&b| is_name_byte(b)).count()
}

/// Whether a byte may stand in an identifier.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Offsets at which `word` stands by itself.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = at.checked_sub(1).map(|i| bytes[i]);
        let after = bytes.get(at + word.len()).copied();
        !before.is_some_and(is_name_byte) && !after.is_some_and(is_name_byte)
    })
}

/// The line (from 1) on which an offset lies.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> String {
        let masked = mask(source);
        assert_eq!(masked.code.len(), source.len());
        assert_eq!(masked.comments.len(), source.len());
        masked.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        assert_eq!(code("a \"fn { \\\" }\" b"), "a b");
        assert_eq!(code("a /* x /* y */ z */ b // c\nd"), "a b d");
        assert_eq!(code("f(r##\"}\"# \"}\"##, br\"\\\", b\"{\", c\"}\")"), "f( , , , )");
        assert_eq!(code("('{', '\\'', '\\u{7d}', b'}', 'é', '→')"), "( , , , , , )");
        assert_eq!(code("f(\"a\\\\\") }"), "f( ) }");
    }

    #[test]
    fn lifetimes_labels_and_raw_names_are_code() {
        assert_eq!(code("fn a<'a>(x: &'a str) { 'top: loop { break 'top } }"), {
            "fn a<'a>(x: &'a str) { 'top: loop { break 'top } }"
        });
        assert_eq!(code("let r#unsafe = r#fn();"), "let ________ = ____();");
        assert_eq!(code("for b in bar { br } "), "for b in bar { br }");
    }

    #[test]
    fn an_unfinished_literal_runs_to_the_end() {
        for source in ["a \"b", "a r#\"b\"", "a /* b", "a '\\", "a b\"\\"] {
            assert_eq!(code(source), "a", "{source}");
        }
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = "\"a\nb\" c\n// d\ne";
        let masked = mask(source);
        assert_eq!(masked.code.lines().count(), source.lines().count());
        assert_eq!(line_of(&masked.code, masked.code.find('e').unwrap()), 4);
        assert!(masked.comments.contains("// d"));
    }

    #[test]
    fn words_have_borders() {
        let found: Vec<_> = words("unsafe_code unsafe not_unsafe (unsafe)", "unsafe").collect();
        assert_eq!(found, [12, 31]);
    }
}
