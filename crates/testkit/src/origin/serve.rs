//! One connection of an origin, from its first request to its end.

use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::{AfterScript, AnswerStyle, Behaviour, Connection, Early, Hang, OnExpect, Shared, entry};
use crate::body::AnswerBody;
use crate::http::{Framing, Head, Wire};
use crate::stream::Stream;
use crate::websocket;

/// How often a blocked write looks whether the connection is to end.
const TICK: Duration = Duration::from_millis(50);
const PIECE_BYTES: usize = 8 * 1024;

/// The connection ends here.
struct Ended;

pub(super) fn connection(shared: &Shared, connection: &Connection, stream: Stream) {
    stream.set_write_timeout(Some(TICK));
    let mut wire = Wire::new(stream);
    for requests in 1.. {
        let idle = shared.lock().behaviour.idle_close;
        wire.stream().set_read_timeout(idle);
        let Ok(head) = wire.head() else { return };
        wire.stream().set_read_timeout(None);
        if !shared.pass(Hang::Read, || connection.ended()) {
            return;
        }
        let mut out = Out { connection, buf: Vec::new(), left: None };
        let result = if head.word(1) == "/healthz" {
            health(shared, &mut wire, &head, &mut out)
        } else {
            Exchange::new(shared, connection, head, requests).run(&mut wire, &mut out)
        };
        if result.is_err() {
            return;
        }
    }
}

fn health(shared: &Shared, wire: &mut Wire<Stream>, head: &Head, out: &mut Out<'_>) -> Result<(), Ended> {
    shared.journal.health_check();
    let status = shared.lock().behaviour.health;
    let body = if head.word(0) == "HEAD" { "" } else { "ok\n" };
    out.put(
        wire.stream(),
        format!("HTTP/1.1 {status} Health\r\ncontent-length: 3\r\n\r\n{body}").as_bytes(),
    )?;
    out.flush(wire.stream())?;
    if head.has_token("connection", "close") { Err(Ended) } else { Ok(()) }
}

/// One request and its answer.
struct Exchange<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    behaviour: Behaviour,
    entry: usize,
    id: String,
    is_head: bool,
    framing: Option<Framing>,
    expects: bool,
    upgrade: Option<String>,
    key: Option<String>,
    answer_bytes: u64,
    close: bool,
    announce: bool,
}

impl<'a> Exchange<'a> {
    fn new(shared: &'a Shared, connection: &'a Connection, head: Head, requests: u32) -> Self {
        let mut state = shared.lock();
        let behaviour = state.once.pop_front().unwrap_or_else(|| state.behaviour.clone());
        drop(state);
        let last = behaviour.requests_per_connection.is_some_and(|max| requests >= max);
        let asked = head.has_token("connection", "close") || head.word(2) != "HTTP/1.1";
        let closes = matches!(behaviour.answer, AnswerStyle::UntilClose | AnswerStyle::PromiseMore(_));
        let field = |name| head.header(name).map(str::to_owned);
        Self {
            id: field("x-request-id").unwrap_or_default(),
            is_head: head.word(0) == "HEAD",
            framing: head.request_framing().ok(),
            expects: head.has_token("expect", "100-continue"),
            upgrade: field("upgrade").filter(|_| head.has_token("connection", "upgrade")),
            key: field("sec-websocket-key"),
            answer_bytes: head.header("x-answer-bytes").and_then(|n| n.parse().ok()).unwrap_or(0),
            close: last || asked || closes,
            announce: asked || (last && behaviour.announce_close),
            entry: shared.journal.begin(entry(head, connection.number, behaviour.keep_heads)),
            shared,
            connection,
            behaviour,
        }
    }

    fn run(&self, wire: &mut Wire<Stream>, out: &mut Out<'_>) -> Result<(), Ended> {
        self.connection.last_entry.store(self.entry, Ordering::SeqCst);
        // A head whose framing cannot be told is in the journal, incomplete: nothing after it can be read.
        let framing = self.framing.ok_or(Ended)?;
        if self.expects && self.behaviour.expect != OnExpect::Ignore {
            self.on_expect(wire, out)?;
        }
        if let Some(early) = self.behaviour.early {
            self.answer(wire, out, None)?;
            return match early {
                Early::ReadOn => self.read_body(wire, framing).map(drop),
                Early::StopReading(time) => {
                    self.shared.sleep(time, self.connection);
                    Err(Ended)
                }
            };
        }
        let hash = self.read_body(wire, framing)?;
        if !self.shared.pass(Hang::Answer, || self.connection.ended()) {
            return Err(Ended);
        }
        self.answer(wire, out, Some(hash))?;
        if self.close { Err(Ended) } else { Ok(()) }
    }

    fn on_expect(&self, wire: &mut Wire<Stream>, out: &mut Out<'_>) -> Result<(), Ended> {
        if self.behaviour.expect == OnExpect::Continue {
            out.put(wire.stream(), b"HTTP/1.1 100 Continue\r\n\r\n")?;
            return out.flush(wire.stream());
        }
        let body = AnswerBody::new(&self.id, &self.shared.name, None, self.answer_bytes);
        self.framed(wire.stream(), out, &body, 417, true)?;
        self.answered(417);
        // FIN first: a close with the body unread would reset the answer away.
        wire.stream().shutdown(Shutdown::Write);
        self.shared.sleep(TICK, self.connection);
        Err(Ended)
    }

    /// Reads the body and enters it; returns its hash.
    fn read_body(&self, wire: &mut Wire<Stream>, framing: Framing) -> Result<u64, Ended> {
        let (mut hasher, mut bytes) = (Xxh3::new(), 0);
        let result = wire.body(framing, &mut |piece| {
            hasher.update(piece);
            bytes += piece.len() as u64;
        });
        self.shared.journal.change(self.entry, |entry| {
            entry.body_bytes = bytes;
            entry.body_hash = hasher.digest();
            entry.complete = result.is_ok();
        });
        result.map(|_| hasher.digest()).map_err(|_| Ended)
    }

    fn answer(&self, wire: &mut Wire<Stream>, out: &mut Out<'_>, hash: Option<u64>) -> Result<(), Ended> {
        let stream = wire.stream();
        for status in &self.behaviour.interim {
            out.put(stream, format!("HTTP/1.1 {status} Interim\r\nlink: </x>\r\n\r\n").as_bytes())?;
        }
        out.flush(stream)?;
        if !self.shared.sleep(self.behaviour.delay_head, self.connection) {
            return Err(Ended);
        }
        out.left = self.behaviour.cut.map(|cut| cut.after_bytes);
        if let Some(protocol) = self.upgrade.as_deref().filter(|_| self.behaviour.upgrade) {
            return self.switch(wire, out, protocol);
        }
        let sent = match &self.behaviour.answer {
            AnswerStyle::Script(bytes, after) => self.script(stream, out, bytes, *after),
            AnswerStyle::EndlessHead => forever(stream, out, "HTTP/1.1 200 OK\r\n", "x-more: and more\r\n"),
            AnswerStyle::EndlessInterim => {
                forever(stream, out, "", "HTTP/1.1 103 Hint\r\nlink: </x>\r\n\r\n")
            }
            _ => {
                let body = AnswerBody::new(&self.id, &self.shared.name, hash, self.answer_bytes);
                self.framed(stream, out, &body, self.behaviour.status, false)
            }
        };
        if out.left == Some(0) {
            self.cut_off(self.behaviour.cut.is_some_and(|cut| cut.reset));
            return Err(Ended);
        }
        sent?;
        self.answered(self.behaviour.status);
        Ok(())
    }

    fn script(
        &self,
        stream: &mut Stream,
        out: &mut Out<'_>,
        bytes: &[u8],
        after: AfterScript,
    ) -> Result<(), Ended> {
        out.put(stream, bytes)?;
        out.flush(stream)?;
        if after == AfterScript::Keep {
            return Ok(());
        }
        self.answered(self.behaviour.status);
        if after == AfterScript::Reset {
            self.connection.stream.reset_on_close();
        }
        Err(Ended)
    }

    /// Sends an answer whose body names its request.
    fn framed(
        &self,
        stream: &mut Stream,
        out: &mut Out<'_>,
        body: &AnswerBody,
        status: u16,
        close: bool,
    ) -> Result<(), Ended> {
        let style = &self.behaviour.answer;
        let mut head = format!(
            "HTTP/1.1 {status} Answer\r\nx-origin: {}\r\nx-answer-id: {}\r\n",
            self.shared.name, self.id
        );
        for (name, value) in &self.behaviour.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let chunked = matches!(style, AnswerStyle::Chunked | AnswerStyle::ChunkedTrailers);
        head += &match style {
            _ if status == 204 || status == 304 => String::new(),
            _ if chunked => "transfer-encoding: chunked\r\n".to_owned(),
            AnswerStyle::UntilClose => String::new(),
            AnswerStyle::PromiseMore(more) => format!("content-length: {}\r\n", body.bytes + more),
            AnswerStyle::PromiseLess(less) => {
                format!("content-length: {}\r\n", body.bytes.saturating_sub(*less))
            }
            _ => format!("content-length: {}\r\n", body.bytes),
        };
        head += if self.announce || close { "connection: close\r\n\r\n" } else { "\r\n" };
        out.put(stream, head.as_bytes())?;
        if !self.is_head && status != 204 && status != 304 {
            let middle = body.bytes / 2;
            self.piece(stream, out, body, 0..middle, chunked)?;
            if !self.behaviour.delay_body.is_zero() {
                out.flush(stream)?;
                if !self.shared.sleep(self.behaviour.delay_body, self.connection) {
                    return Err(Ended);
                }
            }
            self.piece(stream, out, body, middle..body.bytes, chunked)?;
            match style {
                AnswerStyle::Chunked => out.put(stream, b"0\r\n\r\n")?,
                AnswerStyle::ChunkedTrailers => out.put(stream, b"0\r\nx-trailer: last\r\n\r\n")?,
                _ => {}
            }
        }
        out.flush(stream)
    }

    fn piece(
        &self,
        stream: &mut Stream,
        out: &mut Out<'_>,
        body: &AnswerBody,
        range: std::ops::Range<u64>,
        chunked: bool,
    ) -> Result<(), Ended> {
        let mut bytes = [0; PIECE_BYTES];
        let mut offset = range.start;
        while offset < range.end {
            let n = usize::try_from(range.end - offset).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            body.fill(offset, &mut bytes[..n]);
            if chunked {
                out.put(stream, format!("{n:x}\r\n").as_bytes())?;
            }
            out.put(stream, &bytes[..n])?;
            if chunked {
                out.put(stream, b"\r\n")?;
            }
            offset += n as u64;
        }
        Ok(())
    }

    fn switch(&self, wire: &mut Wire<Stream>, out: &mut Out<'_>, protocol: &str) -> Result<(), Ended> {
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\nx-origin: {}\r\n",
            self.shared.name
        );
        let accept = self.key.as_deref().filter(|_| protocol.eq_ignore_ascii_case("websocket"));
        if let Some(key) = accept {
            head += &format!("sec-websocket-accept: {}\r\n", websocket::accept_key(key));
        }
        out.put(wire.stream(), format!("{head}\r\n").as_bytes())?;
        out.flush(wire.stream())?;
        self.answered(101);
        loop {
            let echo = if accept.is_some() {
                let frame = websocket::read_frame(wire).map_err(|_| Ended)?;
                let close = frame.opcode == websocket::CLOSE;
                out.put(wire.stream(), &frame.encode(None))?;
                if close {
                    return out.flush(wire.stream()).and(Err(Ended));
                }
                Vec::new()
            } else {
                wire.some().map_err(|_| Ended)?
            };
            out.put(wire.stream(), &echo)?;
            out.flush(wire.stream())?;
        }
    }

    fn answered(&self, status: u16) {
        let honest = !matches!(
            self.behaviour.answer,
            AnswerStyle::PromiseMore(_) | AnswerStyle::PromiseLess(_) | AnswerStyle::Script(..)
        );
        self.shared.journal.change(self.entry, |entry| {
            entry.answered = Some(status);
            entry.spoilt |= !honest;
        });
    }

    fn cut_off(&self, reset: bool) {
        self.shared.journal.change(self.entry, |entry| entry.spoilt = true);
        if reset {
            self.connection.stream.reset_on_close();
        }
    }
}

fn forever(stream: &mut Stream, out: &mut Out<'_>, first: &str, again: &str) -> Result<(), Ended> {
    out.put(stream, first.as_bytes())?;
    loop {
        out.put(stream, again.as_bytes())?;
    }
}

/// Gathers small writes, and stops at exactly the byte where the answer is to be cut.
struct Out<'a> {
    connection: &'a Connection,
    buf: Vec<u8>,
    left: Option<u64>,
}

impl Out<'_> {
    fn put(&mut self, stream: &mut Stream, bytes: &[u8]) -> Result<(), Ended> {
        self.buf.extend_from_slice(bytes);
        if self.buf.len() >= 2 * PIECE_BYTES { self.flush(stream) } else { Ok(()) }
    }

    fn flush(&mut self, stream: &mut Stream) -> Result<(), Ended> {
        let allowed = self
            .left
            .map_or(self.buf.len(), |left| usize::try_from(left).unwrap_or(usize::MAX).min(self.buf.len()));
        let mut rest = &self.buf[..allowed];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !self.connection.ended() => {}
                Err(_) => return Err(Ended),
            }
        }
        self.buf.clear();
        match &mut self.left {
            Some(left) => {
                *left -= allowed as u64;
                if *left == 0 { Err(Ended) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }
}
