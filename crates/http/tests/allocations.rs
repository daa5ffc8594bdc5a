//! In the steady state a request on a kept connection costs no allocation and no task.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;

use evenkeel_config::LogFormat;
use evenkeel_net::{Buffers, Direct, DrainSignal, Stream};
use evenkeel_state::{Admitted, LogBatch, LogLines};

use steady::{Outside, Spent};

#[path = "../../../tests/steady.rs"]
mod steady;

const WARM_UP: usize = 1_000;
const MEASURED: usize = 10_000;
/// What a run may allocate more than another one by chance, however many requests it serves.
const BY_CHANCE: u64 = 10;
/// When a tick finds the connection to the target in use, it drops the empty list of idle ones; the next request
/// makes a new one.
const PER_TICK: u64 = 1;
/// A batch of log lines goes to the writer with its memory: the lines', and that of the count of whose they are.
const PER_BATCH: u64 = 2;

const GET: &[u8] =
    b"GET /some/where?q=1 HTTP/1.1\r\nHost: www.example\r\nUser-Agent: steady/1\r\nAccept: */*\r\n\r\n";
const SMALL: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Thu, 20 Nov 2025 05:46:00 GMT\r\nContent-Type: text/plain\r\n\
    Content-Length: 16\r\n\r\nsixteen bytes :)";
const CHUNKED: [&[u8]; 2] =
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"6\r\n world\r\n0\r\n\r\n"];

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

struct Http(Rc<evenkeel_http::Plane<Direct>>);

impl steady::Plane for Http {
    const PROTOCOL: &'static str = "http";

    fn new(buffers: Buffers) -> Self {
        Self(evenkeel_http::Plane::new(buffers, Direct))
    }

    fn serve(
        &self,
        open: Admitted,
        client: Stream,
        drain: DrainSignal,
    ) -> impl Future<Output = ()> + 'static {
        Rc::clone(&self.0).serve(open, client, drain)
    }

    fn tick(&self) {
        self.0.tick();
    }
}

/// One exchange, over and over: what client and target write, in so many pieces, and how it ends on the other side.
struct Exchange<'e> {
    request: &'e [&'e [u8]],
    answer: &'e [&'e [u8]],
}

impl Exchange<'_> {
    fn run(&self, times: usize, log: LogBatch) -> Spent {
        steady::run::<Http>(log, |outside: &mut Outside| {
            let mut space = vec![0; 64 * 1024];
            let mut target = None;
            for _ in 0..times {
                for piece in self.request {
                    outside.client.write_all(piece).unwrap();
                }
                let target = target.get_or_insert_with(|| outside.accept());
                let forwarded = read_to(target, self.request, &mut space);
                assert!(forwarded.starts_with(&self.request[0][..10]));
                outside.look();
                for piece in self.answer {
                    target.write_all(piece).unwrap();
                }
                let answered = read_to(&mut outside.client, self.answer, &mut space);
                assert!(answered.starts_with(b"HTTP/1.1 200 OK\r\n"));
            }
        })
    }

    /// Serves few and many: what the difference allocates, and how often the worker ticked over the many.
    #[track_caller]
    fn extra(&self, log: impl Fn() -> LogBatch) -> (u64, u64) {
        let (short, long) = (self.run(WARM_UP, log()), self.run(WARM_UP + MEASURED, log()));
        long.assert_no_further_task();
        (long.beyond(&short), long.ticks)
    }

    #[track_caller]
    fn assert_free(&self) {
        let (extra, ticks) = self.extra(|| LogBatch::new(None));
        println!("{extra} allocations, {ticks} ticks, {MEASURED} requests");
        assert!(extra <= BY_CHANCE + PER_TICK * ticks, "{extra} allocations for {MEASURED} requests");
    }
}

/// Reads until the bytes end as the last of `pieces` does: with a last chunk, a blank line, or its last bytes.
fn read_to<'s>(from: &mut TcpStream, pieces: &[&[u8]], space: &'s mut [u8]) -> &'s [u8] {
    let last = pieces.last().unwrap();
    let end = if last.ends_with(LAST_CHUNK) { LAST_CHUNK } else { &last[last.len().saturating_sub(4)..] };
    let mut len = 0;
    while len == 0 || !space[..len].ends_with(end) {
        let read = from.read(&mut space[len..]).unwrap();
        assert!(read > 0, "the connection ended");
        len += read;
    }
    &space[..len]
}

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!("POST /form HTTP/1.1\r\nHost: www.example\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn a_get_allocates_nothing() {
    Exchange { request: &[GET], answer: &[SMALL] }.assert_free();
}

#[test]
fn a_post_of_one_kib_allocates_nothing() {
    let mut body = [b'x'; 1024];
    body[1020..].copy_from_slice(b"end.");
    let request = post(&body);
    Exchange { request: &[&request], answer: &[SMALL] }.assert_free();
    // The body behind its head, as most clients send it.
    let (head, body) = request.split_at(request.len() - body.len());
    Exchange { request: &[head, body], answer: &[SMALL] }.assert_free();
}

#[test]
fn a_chunked_answer_allocates_nothing() {
    Exchange { request: &[GET], answer: &CHUNKED }.assert_free();
}

#[test]
fn a_large_answer_allocates_nothing() {
    let mut body = [b'x'; 40_000];
    body[39_996..].copy_from_slice(b"end.");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), &body].concat();
    Exchange { request: &[GET], answer: &[&answer] }.assert_free();
}

/// The only allocations are those of batches, two for some hundred lines.
#[test]
fn a_logged_get_allocates_two_per_batch() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let (sender, batches) = sync_channel(1024);
        let log = || LogBatch::new(Some((sender.clone(), format)));
        let (extra, ticks) = Exchange { request: &[GET], answer: &[SMALL] }.extra(log);
        let batches: Vec<_> = batches.try_iter().collect();
        let lines = |batch: &LogLines| batch.bytes().iter().filter(|b| **b == b'\n').count();
        let lines: usize = batches.iter().map(lines).sum();
        assert_eq!(lines, 2 * WARM_UP + MEASURED, "every request has its line");
        println!("{extra} allocations, {ticks} ticks, {MEASURED} requests, {} batches", batches.len());
        let most = BY_CHANCE + PER_TICK * ticks + PER_BATCH * batches.len() as u64;
        assert!(extra <= most, "{extra} allocations for {MEASURED} requests");
    }
}
