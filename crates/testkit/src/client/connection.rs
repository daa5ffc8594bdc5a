//! One connection's worth of load, renewed whenever it ends.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{LoadPlan, Outcome, Record, Shared};
use crate::body::{AnswerCheck, BodyCheck, hash, request_body};
use crate::http::{Cause, ReadError, Response, Wire};
use crate::stream::Stream;

/// How often a blocked write looks for an early answer.
const TICK: Duration = Duration::from_millis(20);
/// Pause after a failed connect, so that a dead server is not hammered.
const AFTER_REFUSAL: Duration = Duration::from_millis(5);

pub(super) fn run(shared: &Shared, thread: usize) -> Vec<Record> {
    let mut client = Client { shared, records: Vec::new(), turn: thread, open: None };
    while let Some(batch) = client.next_batch() {
        if client.connect(&batch) {
            client.exchange(&batch);
        }
        if !shared.plan.pause.is_zero() {
            shared.wait_until(Instant::now() + shared.plan.pause);
        }
    }
    client.records
}

struct Client<'a> {
    shared: &'a Shared,
    records: Vec<Record>,
    /// Whose turn it is among the methods.
    turn: usize,
    open: Option<Open>,
}

struct Open {
    wire: Wire<Stream>,
    number: u64,
    requests: u64,
}

struct Request {
    id: String,
    method: &'static str,
    body: Vec<u8>,
    at: Instant,
}

/// Whether the connection can carry another request.
#[derive(PartialEq)]
enum After {
    Keep,
    /// The server announced that it closes.
    Announced,
    Broken,
}

impl Client<'_> {
    fn next_batch(&mut self) -> Option<Vec<Request>> {
        let plan = &self.shared.plan;
        let mut batch = Vec::new();
        while batch.len() < plan.pipelining.max(1) {
            let Some(number) = self.shared.next() else { break };
            let mut at = Instant::now();
            if plan.rate > 0 {
                at = self.shared.started
                    + Duration::from_secs(1).mul_f64(number as f64 / f64::from(plan.rate));
                self.shared.wait_until(at);
            }
            let method = plan.methods[self.turn % plan.methods.len()];
            self.turn += 1;
            let id = format!("{}-{number:x}", self.shared.prefix);
            let body_bytes = if has_body(method) { plan.body_bytes } else { 0 };
            batch.push(Request { body: request_body(&id, body_bytes), id, method, at });
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Sees to an open connection; if there is none to be had, that is the batch's outcome.
    fn connect(&mut self, batch: &[Request]) -> bool {
        if self.open.is_some() {
            return true;
        }
        match Stream::connect(&self.shared.addr, self.shared.plan.timeout) {
            Ok(stream) => {
                let number = self.shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
                self.open = Some(Open { wire: Wire::new(stream), number, requests: 0 });
                true
            }
            Err(error) => {
                let timed_out = Cause::of(&error) == Cause::TimedOut;
                for request in batch {
                    let outcome = if timed_out { Outcome::ConnectTimedOut } else { Outcome::ConnectRefused };
                    self.record(request, 0, false, outcome);
                }
                self.shared.wait_until(Instant::now() + AFTER_REFUSAL);
                false
            }
        }
    }

    fn exchange(&mut self, batch: &[Request]) {
        let Some(mut open) = self.open.take() else { return };
        let plan = &self.shared.plan;
        let first = open.requests;
        let limit = plan.requests_per_connection.unwrap_or(u64::MAX);
        open.requests += batch.len() as u64;
        let last = !plan.keep_alive || open.requests >= limit;
        let mut bytes = Vec::new();
        for (n, request) in batch.iter().enumerate() {
            encode(&mut bytes, request, plan, last && n + 1 == batch.len());
        }
        let deadline = Instant::now() + plan.timeout;
        let whole = send(open.wire.stream(), &bytes, deadline);
        open.wire.stream().set_deadline(Some(deadline));
        let mut after = After::Keep;
        for (n, request) in (first..).zip(batch) {
            let outcome = match after {
                After::Keep => {
                    let outcome = receive(&mut open.wire, request, plan.answer_bytes);
                    after = then(&outcome);
                    outcome
                }
                After::Announced => Outcome::Unprocessed,
                After::Broken => Outcome::Closed,
            };
            self.record(request, open.number, n > 0, outcome);
        }
        if after == After::Keep && whole && !last {
            open.wire.stream().set_deadline(None);
            self.open = Some(open);
        }
    }

    fn record(&mut self, request: &Request, connection: u64, reused: bool, outcome: Outcome) {
        let answered = matches!(outcome, Outcome::Answered { .. });
        let counter = if answered { &self.shared.answered } else { &self.shared.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.records.push(Record {
            id: request.id.clone(),
            method: request.method,
            body_hash: hash(&request.body),
            at: request.at,
            latency: request.at.elapsed(),
            connection,
            reused,
            outcome,
        });
    }
}

fn has_body(method: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH")
}

fn encode(out: &mut Vec<u8>, request: &Request, plan: &LoadPlan, close: bool) {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\nx-request-id: {}\r\n",
        request.method, plan.path, plan.host, request.id
    );
    if plan.answer_bytes > 0 {
        let _ = write!(head, "x-answer-bytes: {}\r\n", plan.answer_bytes);
    }
    for (name, value) in &plan.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if close {
        head += "connection: close\r\n";
    }
    match (has_body(request.method), plan.chunked) {
        (false, _) => head += "\r\n",
        (true, false) => {
            let _ = write!(head, "content-length: {}\r\n\r\n", request.body.len());
        }
        (true, true) => head += "transfer-encoding: chunked\r\n\r\n",
    }
    out.extend_from_slice(head.as_bytes());
    if has_body(request.method) && plan.chunked {
        for piece in request.body.chunks(4096) {
            let _ = write!(&mut *out, "{:x}\r\n", piece.len());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
    } else {
        out.extend_from_slice(&request.body);
    }
}

/// Writes until done, refused, late, or answered early; false unless all went out.
fn send(stream: &mut Stream, mut bytes: &[u8], deadline: Instant) -> bool {
    stream.set_write_timeout(Some(TICK));
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stream.readable() || Instant::now() >= deadline {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

fn receive(wire: &mut Wire<Stream>, request: &Request, answer_bytes: u64) -> Outcome {
    let mut check = AnswerCheck::new(&request.id, hash(&request.body), answer_bytes);
    match wire.response_into(request.method, &mut |piece| check.feed(piece)) {
        Ok(response) => answered(&response, request, check),
        Err(ReadError { cause: Cause::TimedOut, .. }) => Outcome::TimedOut,
        Err(ReadError { cause: Cause::Malformed(what), .. }) => Outcome::Malformed(what),
        Err(ReadError { cause: Cause::Closed, bytes: 0, .. }) => Outcome::Closed,
        Err(ReadError { cause: Cause::Reset, bytes: 0, .. }) => Outcome::Reset,
        Err(ReadError { status, .. }) => Outcome::Truncated { status },
    }
}

fn answered(response: &Response, request: &Request, check: AnswerCheck<'_>) -> Outcome {
    let origin = response.header("x-origin").map(str::to_owned);
    let bodyless = request.method == "HEAD" || matches!(response.status, 101 | 204 | 304);
    let body = match response.header("x-answer-id") {
        _ if origin.is_none() => BodyCheck::Right,
        Some(id) if id != request.id => BodyCheck::OtherId(id.to_owned()),
        _ if bodyless => BodyCheck::Right,
        _ => check.finish(),
    };
    let close = response.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("connection") && value.to_ascii_lowercase().contains("close")
    });
    Outcome::Answered { status: response.status, origin, body, close_seen: close }
}

fn then(outcome: &Outcome) -> After {
    match outcome {
        Outcome::Answered { close_seen: true, .. } => After::Announced,
        // A connection that answered out of turn, or switched, is of no more use.
        Outcome::Answered { body: BodyCheck::Right, status, .. } if *status != 101 => After::Keep,
        _ => After::Broken,
    }
}
