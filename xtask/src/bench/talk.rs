//! One HTTP/1.1 connection, blocking: for load on a schedule, for checks and for the admin API.

use std::fmt;
use std::io::{ErrorKind, Read, Write};

/// Read at once; also the longest head of an answer.
const CHUNK: usize = 32 * 1024;

/// A connection, and what was read ahead on it.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    /// Empty, or `CHUNK` long.
    buffer: Vec<u8>,
    filled: usize,
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Bytes of its body.
    pub(crate) length: u64,
    /// The body itself, when it was asked for.
    pub(crate) body: Vec<u8>,
    /// `x-evenkeel-reason`.
    pub(crate) reason: Option<String>,
    /// Another request may follow on this connection.
    pub(crate) keeps: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Closed before the first byte of an answer: on a kept connection, a client tries again (RFC 9112 §9.3.1).
    Stale,
    /// Closed within the answer.
    Cut,
    /// No byte for longer than the stream's timeout.
    Timeout,
    /// Not an answer that we can follow.
    Malformed,
    /// Could not be connected to, or failed in another way.
    Io(ErrorKind),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("closed without an answer"),
            Self::Cut => f.write_str("cut within the answer"),
            Self::Timeout => f.write_str("timeout"),
            Self::Malformed => f.write_str("malformed answer"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}

#[derive(Debug)]
struct Head {
    status: u16,
    length: Option<u64>,
    reason: Option<String>,
    closes: bool,
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), filled: 0 }
    }

    /// Sends a request and reads its answer to the end; the body is counted, and kept when `keep_body` says so.
    ///
    /// # Errors
    /// When there is no whole answer; the connection is of no more use then.
    pub(crate) fn ask(&mut self, request: &[u8], keep_body: bool) -> Result<Answer, Failure> {
        self.filled = 0;
        self.buffer.resize(CHUNK, 0);
        // An early refusal may stand in the receive buffer although writing failed: reading tells.
        let written = self.stream.write_all(request);
        let (head, rest) = match (self.head(), written) {
            (Err(Failure::Stale), Err(e)) => return Err(of(&e, Failure::Stale)),
            (head, _) => head?,
        };
        let mut answer = Answer { status: head.status, reason: head.reason, ..Answer::default() };
        answer.length = (self.filled - rest) as u64;
        if keep_body {
            answer.body.extend_from_slice(&self.buffer[rest..self.filled]);
        }
        self.body(&mut answer, head.length, keep_body)?;
        answer.keeps = !head.closes && head.length.is_some();
        Ok(answer)
    }

    /// Gives back the memory for answers.
    pub(crate) fn forget(&mut self) {
        self.buffer = Vec::new();
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The head, and where the body begins in the buffer.
    fn head(&mut self) -> Result<(Head, usize), Failure> {
        loop {
            let early = if self.filled == 0 { Failure::Stale } else { Failure::Cut };
            if self.filled == CHUNK {
                return Err(Failure::Malformed);
            }
            if self.more(early)? == 0 {
                return Err(early);
            }
            if let Some(at) = self.buffer[..self.filled].windows(4).position(|w| w == b"\r\n\r\n") {
                return parse_head(&self.buffer[..at]).map(|head| (head, at + 4)).ok_or(Failure::Malformed);
            }
        }
    }

    /// The rest of the body: up to its length, or to the end of the connection.
    fn body(&mut self, answer: &mut Answer, length: Option<u64>, keep: bool) -> Result<(), Failure> {
        while length.is_none_or(|length| answer.length < length) {
            self.filled = 0;
            let read = self.more(Failure::Cut)?;
            if read == 0 {
                return if length.is_none() { Ok(()) } else { Err(Failure::Cut) };
            }
            answer.length += read as u64;
            if keep {
                answer.body.extend_from_slice(&self.buffer[..read]);
            }
        }
        // More than the length: an answer that nobody asked for.
        if length.is_some_and(|length| answer.length > length) { Err(Failure::Malformed) } else { Ok(()) }
    }

    fn more(&mut self, early: Failure) -> Result<usize, Failure> {
        loop {
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(of(&e, early)),
                Ok(read) => {
                    self.filled += read;
                    return Ok(read);
                }
            }
        }
    }
}

/// A GET for `path`.
pub(crate) fn get(host: impl fmt::Display, path: &str, close: bool) -> String {
    let end = if close { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{end}\r\n")
}

fn of(error: &std::io::Error, early: Failure) -> Failure {
    match error.kind() {
        // What a read timeout looks like on a unix system.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Timeout,
        kind if is_close(kind) => early,
        kind => Failure::Io(kind),
    }
}

fn is_close(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
    )
}

/// Status line and the fields that matter to us.
fn parse_head(bytes: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let mut head = Head { status, length: None, reason: None, closes: text.starts_with("HTTP/1.0") };
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.parse().ok()?);
        } else if name.eq_ignore_ascii_case("x-evenkeel-reason") {
            head.reason = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes |= value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::io;

    /// Gives pieces, then the end; takes anything.
    struct Pieces(VecDeque<Result<&'static str, ErrorKind>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.pop_front() else { return Ok(0) };
            let piece = piece?.as_bytes();
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn asked(pieces: &[Result<&'static str, ErrorKind>]) -> Result<Answer, Failure> {
        Connection::new(Pieces(pieces.iter().copied().collect())).ask(b"GET", true)
    }

    #[test]
    fn an_answer_may_come_in_pieces() {
        let answer = asked(&[
            Ok("HTTP/1.1 503 Service Un"),
            Ok("available\r\nX-Evenkeel-Reason: queue-full\r\nContent-Length: 5\r\n\r"),
            Ok("\nab"),
            Ok("cde"),
        ]);
        let reason = Some("queue-full".to_owned());
        assert_eq!(
            answer,
            Ok(Answer { status: 503, length: 5, body: b"abcde".to_vec(), reason, keeps: true })
        );
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let answer = asked(&[Ok("HTTP/1.1 200 OK\r\n\r\nab"), Ok("c")]).unwrap();
        assert_eq!((answer.length, answer.keeps), (3, false));
        let closes =
            asked(&[Ok("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n")]).unwrap();
        assert!(!closes.keeps);
    }

    #[test]
    fn what_goes_wrong_is_told_apart() {
        let head = Ok("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        for (pieces, failure) in [
            (&[][..], Failure::Stale),
            (&[Err(ErrorKind::ConnectionReset)], Failure::Stale),
            (&[Err(ErrorKind::WouldBlock)], Failure::Timeout),
            (&[Ok("HTTP/1.1 2")], Failure::Cut),
            (&[head, Ok("a")], Failure::Cut),
            (&[head, Err(ErrorKind::ConnectionReset)], Failure::Cut),
            (&[head, Ok("abc")], Failure::Malformed),
            (&[Ok("SSH-2.0 200 \r\n\r\n")], Failure::Malformed),
            (&[Ok("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")], Failure::Malformed),
        ] {
            assert_eq!(asked(pieces), Err(failure), "{pieces:?}");
        }
    }
}
