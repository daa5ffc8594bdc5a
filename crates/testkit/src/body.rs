//! Bodies that follow from a request's id, so that every byte of an answer can be checked.

use std::fmt::Write as _;

use evenkeel_base::SplitMix64;
use xxhash_rust::xxh3::xxh3_64;

/// The hash of bodies in both journals (XXH3, 64 bits).
pub fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// What the client found in the body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyCheck {
    /// The answer to this request, whole and unchanged.
    Right,
    /// The answer to the request of another id.
    OtherId(String),
    /// Something else than the origin sent for this request; says what.
    Wrong(String),
}

/// `bytes` bytes that only the request `id` sends.
pub(crate) fn request_body(id: &str, bytes: usize) -> Vec<u8> {
    let mut body = vec![0; bytes];
    pattern(seed("request", id), 0, &mut body);
    body
}

/// The body of the answer to one request: a line that names it, then a pattern only it has.
pub(crate) struct AnswerBody {
    line: Vec<u8>,
    seed: u64,
    /// Length in bytes; never less than the line.
    pub(crate) bytes: u64,
}

impl AnswerBody {
    /// `request_hash` is `None` when the origin answers without having read the request's body.
    pub(crate) fn new(id: &str, origin: &str, request_hash: Option<u64>, bytes: u64) -> Self {
        let mut line = format!("id={id} origin={origin} hash=");
        match request_hash {
            Some(hash) => write!(line, "{hash:016x}").unwrap(),
            None => line.push('-'),
        }
        line.push('\n');
        let line = line.into_bytes();
        Self { bytes: bytes.max(line.len() as u64), line, seed: seed("answer", id) }
    }

    /// Writes the bytes from `offset` on into `out`; `offset + out.len()` must not exceed `bytes`.
    pub(crate) fn fill(&self, offset: u64, out: &mut [u8]) {
        let of_line = self.line.get(offset as usize..).unwrap_or_default();
        let n = of_line.len().min(out.len());
        out[..n].copy_from_slice(&of_line[..n]);
        pattern(self.seed, offset + n as u64, &mut out[n..]);
    }
}

/// Checks an answer's body while it arrives, in memory that does not grow with it.
pub(crate) struct AnswerCheck<'a> {
    id: &'a str,
    request_hash: u64,
    want_bytes: u64,
    line: Vec<u8>,
    line_ended: bool,
    seen: u64,
    found: Option<BodyCheck>,
}

const MAX_LINE_BYTES: usize = 1024;

impl<'a> AnswerCheck<'a> {
    pub(crate) fn new(id: &'a str, request_hash: u64, want_bytes: u64) -> Self {
        Self { id, request_hash, want_bytes, line: Vec::new(), line_ended: false, seen: 0, found: None }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let rest = if self.line_ended { bytes } else { self.feed_line(bytes) };
        let mut expected = [0; 4096];
        let mut offset = self.seen + (bytes.len() - rest.len()) as u64;
        for piece in rest.chunks(expected.len()) {
            if self.found.is_some() {
                break;
            }
            pattern(seed("answer", self.id), offset, &mut expected[..piece.len()]);
            if piece != &expected[..piece.len()] {
                self.found = Some(BodyCheck::Wrong(format!("differs after byte {offset}")));
            }
            offset += piece.len() as u64;
        }
        self.seen += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> BodyCheck {
        if let Some(found) = self.found {
            return found;
        }
        let want = self.want_bytes.max(self.line.len() as u64);
        if !self.line_ended || self.seen != want {
            return BodyCheck::Wrong(format!("{} bytes instead of {want}", self.seen));
        }
        BodyCheck::Right
    }

    /// Takes what belongs to the first line; returns what follows it.
    fn feed_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let end = bytes.iter().position(|&b| b == b'\n').map(|at| at + 1);
        self.line.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
        if end.is_none() && self.line.len() > MAX_LINE_BYTES {
            self.found.get_or_insert_with(|| BodyCheck::Wrong("no line names its request".into()));
        }
        let Some(end) = end else { return &[] };
        self.line_ended = true;
        self.found = self.found.take().or_else(|| self.judge_line());
        &bytes[end..]
    }

    fn judge_line(&self) -> Option<BodyCheck> {
        let line = String::from_utf8_lossy(&self.line);
        let field = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
        match (field("id="), field("hash=")) {
            (Some(id), _) if id != self.id => Some(BodyCheck::OtherId(id.to_owned())),
            (Some(_), Some("-")) => None,
            (Some(_), Some(hash)) if hash == format!("{:016x}", self.request_hash) => None,
            (Some(_), _) => Some(BodyCheck::Wrong("the origin read another request body".into())),
            (None, _) => Some(BodyCheck::Wrong(format!("begins {:?}", line.trim_end()))),
        }
    }
}

fn seed(role: &str, id: &str) -> u64 {
    hash(id.as_bytes()) ^ hash(role.as_bytes())
}

/// The pattern of `seed` from byte `offset` on; any part can be made without what is before it.
fn pattern(seed: u64, offset: u64, out: &mut [u8]) {
    let word = |index: u64| SplitMix64::new(seed.wrapping_add(index)).next_u64().to_le_bytes();
    let skip = ((8 - offset % 8) % 8).min(out.len() as u64) as usize;
    let (first, rest) = out.split_at_mut(skip);
    if !first.is_empty() {
        let from = (offset % 8) as usize;
        first.copy_from_slice(&word(offset / 8)[from..from + skip]);
    }
    for (index, piece) in (offset.div_ceil(8)..).zip(rest.chunks_mut(8)) {
        piece.copy_from_slice(&word(index)[..piece.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: &str, bytes: u64) -> Vec<u8> {
        let body = AnswerBody::new(id, "a", Some(7), bytes);
        let mut out = vec![0; body.bytes as usize];
        body.fill(0, &mut out);
        out
    }

    fn check(id: &str, want: u64, body: &[u8], step: usize) -> BodyCheck {
        let mut check = AnswerCheck::new(id, 7, want);
        body.chunks(step).for_each(|piece| check.feed(piece));
        check.finish()
    }

    #[test]
    fn any_piece_of_a_body_can_be_made_alone() {
        let whole = answer("x-1", 300);
        let body = AnswerBody::new("x-1", "a", Some(7), 300);
        for offset in 0..300 {
            for bytes in [0, 1, 5, 9] {
                let end = whole.len().min(offset + bytes);
                let mut piece = vec![0; end - offset];
                body.fill(offset as u64, &mut piece);
                assert_eq!(piece, whole[offset..end], "{offset}+{bytes}");
            }
        }
    }

    #[test]
    fn right_bodies_pass_in_any_pieces_and_every_change_is_found() {
        for step in [1, 3, 64, 10_000] {
            assert_eq!(check("x-1", 5000, &answer("x-1", 5000), step), BodyCheck::Right);
            assert_eq!(check("x-1", 0, &answer("x-1", 0), step), BodyCheck::Right);
            assert_eq!(check("x-2", 5000, &answer("x-1", 5000), step), BodyCheck::OtherId("x-1".into()));
            let mut short = answer("x-1", 5000);
            short.pop();
            assert!(matches!(check("x-1", 5000, &short, step), BodyCheck::Wrong(_)));
            for at in [60, 2500, 4999] {
                let mut changed = answer("x-1", 5000);
                changed[at] ^= 1;
                assert!(matches!(check("x-1", 5000, &changed, step), BodyCheck::Wrong(_)), "byte {at}");
            }
            assert!(matches!(check("x-1", 0, b"<html>Bad Gateway</html>", step), BodyCheck::Wrong(_)));
            assert!(matches!(check("x-1", 0, b"", step), BodyCheck::Wrong(_)));
        }
        let mut other_request = AnswerCheck::new("x-1", 8, 0);
        other_request.feed(&answer("x-1", 0));
        assert!(matches!(other_request.finish(), BodyCheck::Wrong(_)));
    }
}
