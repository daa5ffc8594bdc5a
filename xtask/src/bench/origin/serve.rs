//! `bench origin ADDRESS BODY DELAY_US`: a small HTTP/1.1 server that reads every body to its end and counts it.
//!
//! One thread for each connection: a proxy keeps few. It speaks what proxies speak to origins, bodies with a length,
//! and refuses anything else loudly.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::shell::Outcome;

/// Says what was counted; asking is not counted itself.
pub(super) const COUNT_PATH: &str = "/count";
/// Longest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// Read at once: a large body should cost few calls.
const CHUNK: usize = 256 * 1024;
const STACK: usize = 64 * 1024;

#[derive(Debug)]
struct Server {
    answer: Vec<u8>,
    delay: Duration,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Serves until it is killed.
///
/// # Errors
/// When the words are wrong or the address cannot be had.
pub(crate) fn serve(words: &[String]) -> Outcome {
    let usage = || "origin needs ADDRESS BODY DELAY_US".to_owned();
    let [address, body, delay_us] = words else { return Err(usage()) };
    let address: SocketAddr = address.parse().map_err(|_| usage())?;
    let body: usize = body.parse().map_err(|_| usage())?;
    let delay = Duration::from_micros(delay_us.parse().map_err(|_| usage())?);
    let listener = TcpListener::bind(address).map_err(|e| format!("{address}: {e}"))?;
    accept(&listener, &Arc::new(Server::new(body, delay)))
}

fn accept(listener: &TcpListener, server: &Arc<Server>) -> Outcome {
    for stream in listener.incoming() {
        // One that came and went is nothing to us.
        let Ok(stream) = stream else { continue };
        let server = Arc::clone(server);
        let thread = thread::Builder::new().stack_size(STACK);
        thread.spawn(move || server.talk(stream)).map_err(|e| format!("no thread: {e}"))?;
    }
    Ok(())
}

impl Server {
    fn new(body: usize, delay: Duration) -> Self {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + body, b'x');
        Self { answer, delay, requests: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Answers until the other side is gone.
    fn talk(&self, mut stream: TcpStream) {
        // Small answers would wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let mut buffer = vec![0; CHUNK];
        let mut filled = 0;
        while let Some(head) = read_head(&mut stream, &mut buffer, &mut filled) {
            let Some(request) = parse(&buffer[..head]) else {
                let _ = stream.write_all(
                    b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
                return;
            };
            let ahead = (filled - head) as u64;
            let mut left = request.length.saturating_sub(ahead);
            let rest = ahead.saturating_sub(request.length) as usize;
            buffer.copy_within(filled - rest..filled, 0);
            filled = rest;
            while left > 0 {
                match read(&mut stream, &mut buffer) {
                    // More than the body is pipelining, which no proxy does to us.
                    0 => return,
                    count => left = left.saturating_sub(count as u64),
                }
            }
            let written = if request.asks_count {
                stream.write_all(self.count().as_bytes())
            } else {
                self.requests.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(request.length, Ordering::Relaxed);
                sleep(self.delay);
                stream.write_all(&self.answer)
            };
            if written.is_err() {
                return;
            }
        }
    }

    fn count(&self) -> String {
        let (requests, bytes) = (self.requests.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let body = format!("{{\"requests\":{requests},\"bytes\":{bytes}}}");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    length: u64,
    asks_count: bool,
}

/// Reads up to the end of a head, and gives its length; `None` when the other side is gone or sends none.
fn read_head(stream: &mut TcpStream, buffer: &mut [u8], filled: &mut usize) -> Option<usize> {
    loop {
        if let Some(at) = buffer[..*filled].windows(4).position(|w| w == b"\r\n\r\n") {
            return Some(at + 4);
        }
        if *filled > MAX_HEAD {
            return None;
        }
        match read(stream, &mut buffer[*filled..]) {
            0 => return None,
            count => *filled += count,
        }
    }
}

/// 0 when there is no more, for whatever cause.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    loop {
        match stream.read(buffer) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other.unwrap_or(0),
        }
    }
}

/// `None` when the body is framed in a way that we do not speak.
fn parse(head: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let asks_count = lines.next()?.split(' ').nth(1)? == COUNT_PATH;
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("expect") {
            return None;
        }
    }
    Some(Request { length, asks_count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::talk::{Connection, get};
    use std::time::Instant;

    fn started(body: usize, delay: Duration) -> (SocketAddr, Connection<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || accept(&listener, &Arc::new(Server::new(body, delay))));
        (address, Connection::new(TcpStream::connect(address).unwrap()))
    }

    #[test]
    fn bodies_are_read_to_the_end_and_counted() {
        let (address, mut connection) = started(3, Duration::ZERO);
        for size in [0, 5, 400_000] {
            let mut request =
                format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            request.resize(request.len() + size, b'y');
            let answer = connection.ask(&request, true).unwrap();
            assert_eq!((answer.status, &*answer.body, answer.keeps), (200, &b"xxx"[..], true));
        }
        let answer = connection.ask(get(address, COUNT_PATH, false).as_bytes(), true).unwrap();
        assert_eq!(super::super::parse_count(&answer.body).unwrap().bytes, 400_005);
    }

    #[test]
    fn it_may_take_its_time() {
        let (address, mut connection) = started(0, Duration::from_millis(20));
        let start = Instant::now();
        connection.ask(get(address, "/", false).as_bytes(), false).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn what_it_does_not_speak_it_refuses() {
        let (_, mut connection) = started(0, Duration::ZERO);
        let request = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(connection.ask(request, false).unwrap().status, 501);
        assert_eq!(parse(b"GET /count HTTP/1.1\r\n\r\n"), Some(Request { length: 0, asks_count: true }));
        assert!(serve(&["127.0.0.1:0".to_owned()]).is_err());
    }
}
