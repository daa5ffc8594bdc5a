//! HTTP/1.1 as a test reads it: heads, every body framing of RFC 9112, and raw exchanges.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::stream::{Addr, Stream};

const MAX_HEAD_BYTES: usize = 1 << 20;
const MAX_INTERIM: usize = 1000;

/// A request's or a response's first line and fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// The request or status line, without its CRLF.
    pub first_line: String,
    /// Names as written, values trimmed, in order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of the first field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether a comma-separated field holds `token`, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let fields = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        fields.flat_map(|(_, value)| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    }

    /// The `n`th word of the first line, or nothing.
    pub fn word(&self, n: usize) -> &str {
        self.first_line.split(' ').nth(n).unwrap_or_default()
    }

    /// How the body of a request with this head is delimited (RFC 9112 section 6.3).
    pub fn request_framing(&self) -> Result<Framing, Cause> {
        Ok(self.framing()?.unwrap_or(Framing::Empty))
    }

    fn response_framing(&self, method: &str, status: u16) -> Result<Framing, Cause> {
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(Framing::Empty);
        }
        Ok(self.framing()?.unwrap_or(Framing::UntilClose))
    }

    fn framing(&self) -> Result<Option<Framing>, Cause> {
        if self.header("transfer-encoding").is_some() {
            return match self.has_token("transfer-encoding", "chunked") {
                true if self.header("content-length").is_some() => Err(Cause::malformed("both framings")),
                true => Ok(Some(Framing::Chunked)),
                false => Ok(Some(Framing::UntilClose)),
            };
        }
        let mut lengths = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("content-length"));
        let Some((_, first)) = lengths.next() else { return Ok(None) };
        if lengths.any(|(_, other)| other != first) || !first.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Cause::malformed("content-length"));
        }
        first.parse().map(|n| Some(Framing::Length(n))).map_err(|_| Cause::malformed("content-length"))
    }
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The close of the connection ends it.
    UntilClose,
}

/// A whole response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// Status code of the final response (or 101).
    pub status: u16,
    /// Fields in order, names as written.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Fields after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// Status codes of the interim (1xx) responses before it.
    pub interim: Vec<u16>,
    /// Every byte of it as received, interim responses included.
    pub raw: Vec<u8>,
    /// Bytes that arrived after it, such as the first ones of an upgraded connection.
    pub rest: Vec<u8>,
}

impl Response {
    /// The value of the first field of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Why no whole message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The peer closed in order (FIN).
    Closed,
    /// The connection was reset, or failed otherwise.
    Reset,
    /// Nothing came in time.
    TimedOut,
    /// What came is not HTTP/1.1; says what.
    Malformed(String),
}

impl Cause {
    fn malformed(what: &str) -> Self {
        Self::Malformed(what.to_owned())
    }

    /// What an error of a socket means to the one who waits for a message.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Reset,
        }
    }
}

/// A response that did not arrive whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Why.
    pub cause: Cause,
    /// The status, if the head was whole.
    pub status: Option<u16>,
    /// Every byte of it that did arrive, framing included.
    pub raw: Vec<u8>,
    /// Number of bytes that did arrive (also where `raw` is not kept).
    pub bytes: u64,
}

/// Reads messages one after another off a stream.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    buf: Vec<u8>,
    at: usize,
    consumed: u64,
    raw: Option<Vec<u8>>,
}

impl<S: Read> Wire<S> {
    /// Takes a stream from its first byte.
    pub fn new(stream: S) -> Self {
        Self { stream, buf: Vec::new(), at: 0, consumed: 0, raw: None }
    }

    /// The stream, to write to.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// What was read from the stream but not yet taken.
    pub fn buffered(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    /// The next head. After `Closed`, `buffered` holds the part of it that did come.
    pub fn head(&mut self) -> Result<Head, Cause> {
        let mut searched = 0;
        let end = loop {
            let new = &self.buffered()[searched..];
            if let Some(at) = new.windows(4).position(|w| w == b"\r\n\r\n") {
                break searched + at + 4;
            }
            searched = self.buffered().len().saturating_sub(3);
            if searched > MAX_HEAD_BYTES {
                return Err(Cause::malformed("endless head"));
            }
            self.fill()?;
        };
        let text = String::from_utf8_lossy(&self.buffered()[..end]).into_owned();
        self.take(end);
        parse_head(&text)
    }

    /// Passes the body to `sink` piece by piece; returns the trailers.
    pub fn body(&mut self, framing: Framing, sink: &mut dyn FnMut(&[u8])) -> Result<Fields, Cause> {
        match framing {
            Framing::Empty => Ok(Fields::new()),
            Framing::Length(bytes) => self.exactly(bytes, sink).map(|()| Fields::new()),
            Framing::Chunked => self.chunks(sink),
            Framing::UntilClose => loop {
                let bytes = self.buffered().len() as u64;
                self.exactly(bytes, sink)?;
                match self.fill() {
                    Ok(()) => {}
                    Err(Cause::Closed) => return Ok(Fields::new()),
                    Err(cause) => return Err(cause),
                }
            },
        }
    }

    /// Whatever comes next, at least one byte.
    pub fn some(&mut self) -> Result<Vec<u8>, Cause> {
        if self.buffered().is_empty() {
            self.fill()?;
        }
        let bytes = self.buffered().to_vec();
        self.take(bytes.len());
        Ok(bytes)
    }

    /// Exactly the next `bytes` bytes.
    pub fn bytes(&mut self, bytes: usize) -> Result<Vec<u8>, Cause> {
        let mut out = Vec::with_capacity(bytes);
        self.exactly(bytes as u64, &mut |piece| out.extend_from_slice(piece))?;
        Ok(out)
    }

    /// The next response, as the answer to a request of `method`.
    pub fn response(&mut self, method: &str) -> Result<Response, ReadError> {
        self.raw = Some(Vec::new());
        let mut body = Vec::new();
        let result = self.response_into(method, &mut |piece| body.extend_from_slice(piece));
        let raw = self.raw.take().unwrap_or_default();
        match result {
            Ok(response) => Ok(Response { body, raw, rest: self.buffered().to_vec(), ..response }),
            Err(error) => Err(ReadError { raw: [raw.as_slice(), self.buffered()].concat(), ..error }),
        }
    }

    /// Like `response`, with the body passed to `sink` instead of kept; `raw` and `rest` stay empty.
    pub fn response_into(
        &mut self,
        method: &str,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<Response, ReadError> {
        let before = self.consumed;
        let mut response = Response::default();
        self.read_into(&mut response, method, sink).map_err(|cause| ReadError {
            cause,
            status: (response.status != 0).then_some(response.status),
            raw: Vec::new(),
            bytes: self.consumed - before + self.buffered().len() as u64,
        })?;
        Ok(response)
    }

    fn read_into(
        &mut self,
        response: &mut Response,
        method: &str,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Cause> {
        let head = loop {
            let head = self.head()?;
            let status = status_of(&head)?;
            if status >= 200 || status == 101 {
                response.status = status;
                break head;
            }
            response.interim.push(status);
            if response.interim.len() > MAX_INTERIM {
                return Err(Cause::malformed("endless interim responses"));
            }
        };
        let framing = head.response_framing(method, response.status)?;
        response.headers = head.headers;
        response.trailers = self.body(framing, sink)?;
        Ok(())
    }

    fn chunks(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<Fields, Cause> {
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| Cause::malformed("chunk size"))?;
            if size == 0 {
                break;
            }
            self.exactly(size, sink)?;
            if !self.line()?.is_empty() {
                return Err(Cause::malformed("chunk end"));
            }
        }
        let mut trailers = Fields::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(parse_field(&line)?);
        }
    }

    fn line(&mut self) -> Result<String, Cause> {
        loop {
            if let Some(at) = self.buffered().windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffered()[..at]).into_owned();
                self.take(at + 2);
                return Ok(line);
            }
            if self.buffered().len() > MAX_HEAD_BYTES {
                return Err(Cause::malformed("endless line"));
            }
            self.fill()?;
        }
    }

    fn exactly(&mut self, mut bytes: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Cause> {
        while bytes > 0 {
            if self.buffered().is_empty() {
                self.fill()?;
            }
            let n = self.buffered().len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            sink(&self.buf[self.at..self.at + n]);
            self.take(n);
            bytes -= n as u64;
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) {
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(&self.buf[self.at..self.at + bytes]);
        }
        self.at += bytes;
        self.consumed += bytes as u64;
    }

    fn fill(&mut self) -> Result<(), Cause> {
        if self.at == self.buf.len() {
            self.buf.clear();
            self.at = 0;
        }
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(Cause::Closed),
                Ok(n) => {
                    self.buf.extend_from_slice(&piece[..n]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Cause::of(&error)),
            }
        }
    }
}

/// Names and values in order.
type Fields = Vec<(String, String)>;

/// Sends all of `bytes`, then reads until the peer closes or `timeout` is over. Fails only to connect.
pub fn raw_exchange(addr: impl Into<Addr>, bytes: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let mut stream = Stream::connect(&addr.into(), timeout)?;
    stream.set_deadline(Some(Instant::now() + timeout));
    // A peer that refuses half-way still has something to say, so a failed write is no reason to stop.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(answer)
}

/// The response on `stream` to a request of `method`; `Response::rest` has what was read beyond it.
pub fn read_response<S: Read>(stream: &mut S, method: &str) -> Result<Response, ReadError> {
    Wire::new(stream).response(method)
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn status_of(head: &Head) -> Result<u16, Cause> {
    let code = head.word(1);
    let fine = head.word(0).starts_with("HTTP/1.") && code.len() == 3;
    match code.parse() {
        Ok(status) if fine && status >= 100 => Ok(status),
        _ => Err(Cause::Malformed(format!("status line {:?}", head.first_line))),
    }
}

fn parse_head(text: &str) -> Result<Head, Cause> {
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let first_line = lines.next().unwrap_or_default().to_owned();
    Ok(Head { first_line, headers: lines.map(parse_field).collect::<Result<_, _>>()? })
}

fn parse_field(line: &str) -> Result<(String, String), Cause> {
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t', '\n', '\r']) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        _ => Err(Cause::Malformed(format!("field {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str, method: &str) -> Result<Response, ReadError> {
        read_response(&mut bytes.as_bytes(), method)
    }

    #[test]
    fn every_framing_ends_where_it_should() {
        let length = read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP", "GET").unwrap();
        assert_eq!((length.text().as_str(), length.rest.as_slice()), ("abc", &b"HTTP"[..]));
        assert!(length.raw.ends_with(b"\r\n\r\nabc"));
        let chunked = "HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                       3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-t: 1\r\n\r\n";
        let response = read(chunked, "GET").unwrap();
        assert_eq!((response.interim, response.body.len()), (vec![103], 13));
        assert_eq!(response.trailers, [("x-t".to_owned(), "1".to_owned())]);
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\nto the end", "GET").unwrap().text(), "to the end");
        for (bytes, method) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD"),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET"),
            ("HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        ] {
            assert_eq!(read(bytes, method).unwrap().body, b"");
        }
    }

    #[test]
    fn what_is_cut_or_not_http_is_an_error() {
        let cut = read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "GET").unwrap_err();
        assert_eq!((cut.cause, cut.status), (Cause::Closed, Some(200)));
        assert!(cut.raw.ends_with(b"ab") && cut.bytes == cut.raw.len() as u64);
        let no_last_chunk = read("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", "GET");
        assert_eq!(no_last_chunk.unwrap_err().cause, Cause::Closed);
        assert_eq!(read("", "GET").unwrap_err().bytes, 0);
        for bytes in [
            "garbage\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad field: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let error = read(bytes, "GET").unwrap_err();
            assert!(matches!(error.cause, Cause::Malformed(_)), "{bytes:?}: {error:?}");
        }
    }
}
