//! The threads that send.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::schedule::Schedule;
use super::{Plan, Told};
use crate::bench::talk::{Answer, Connection, Failure, get};
use crate::shell::Outcome;

/// An answer that stalls for so long is an error.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// From the start of the threads to the first request.
const HEAD_START: Duration = Duration::from_millis(200);
/// Who was refused or failed at connecting does not come back at once.
const BACK_OFF: Duration = Duration::from_millis(100);
/// A sending thread holds little.
const STACK: usize = 128 * 1024;
/// Digits in the number of a route.
const DIGITS: usize = 5;

/// Sends all that is due, and tells what came of it.
pub(super) fn send(plan: &Plan) -> Outcome<Told> {
    // Wake at the time asked for, not up to 50 µs later (proc(5)); threads inherit it. Without it figures are coarser.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let schedule =
        Schedule { per_second: plan.per_second, connections: plan.connections, length: plan.length };
    let start = Instant::now() + HEAD_START;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..plan.connections {
            let client = Client::new(plan, schedule, number, start);
            let thread = thread::Builder::new().stack_size(STACK);
            threads.push(
                thread.spawn_scoped(scope, move || client.run()).map_err(|e| format!("no thread: {e}"))?,
            );
        }
        let mut told = Told::default();
        for thread in threads {
            told.merge(&thread.join().map_err(|_| "a sending thread panicked")?);
        }
        Ok(told)
    })
}

/// One connection, and what is due on it.
struct Client<'a> {
    plan: &'a Plan,
    schedule: Schedule,
    number: u32,
    start: Instant,
    request: Vec<u8>,
    connection: Option<Connection<TcpStream>>,
    not_before: Instant,
    told: Told,
}

impl<'a> Client<'a> {
    fn new(plan: &'a Plan, schedule: Schedule, number: u32, start: Instant) -> Self {
        let request = get(plan.address, if plan.routes == 0 { "/" } else { "/r00000/x" }, false).into_bytes();
        let told = Told::default();
        Self { plan, schedule, number, start, request, connection: None, not_before: start, told }
    }

    fn run(mut self) -> Told {
        let mut turn = 0;
        while let Some(due) = self.schedule.due(self.number, turn) {
            self.aim(turn);
            turn += 1;
            let due = self.start + due;
            sleep(due.max(self.not_before).saturating_duration_since(Instant::now()));
            if due.elapsed() > self.plan.patience {
                self.told.abandoned += 1;
                continue;
            }
            let sent = Instant::now();
            let outcome = self.ask();
            self.count(outcome, due, sent);
        }
        // A user who has nothing more to ask stays, and holds the connection.
        sleep((self.start + self.schedule.length).saturating_duration_since(Instant::now()));
        self.told
    }

    /// Writes the route's number into the request.
    fn aim(&mut self, turn: u64) {
        if self.plan.routes == 0 {
            return;
        }
        // A stride that shares no factor with round numbers: neighbours in time are not neighbours in the table.
        let number = (turn * 7919 + u64::from(self.number) * 104_729) % self.plan.routes as u64;
        let digits = format!("{number:0DIGITS$}");
        let at = b"GET /r".len();
        self.request[at..at + DIGITS].copy_from_slice(&digits.as_bytes()[..DIGITS]);
    }

    /// Sends once; and once more, on a new connection, when a kept one turns out closed.
    fn ask(&mut self) -> Result<Answer, Failure> {
        if let Some(connection) = &mut self.connection {
            match connection.ask(&self.request, false) {
                Err(Failure::Stale) => self.told.retried += 1,
                other => return other,
            }
        }
        let connection = self.connection.insert(connect(self.plan.address)?);
        connection.ask(&self.request, false)
    }

    fn count(&mut self, outcome: Result<Answer, Failure>, due: Instant, sent: Instant) {
        if !outcome.as_ref().is_ok_and(|answer| answer.keeps) {
            self.connection = None;
        }
        match outcome {
            Ok(answer) if answer.status == 200 && answer.length == self.plan.body => {
                self.told.good += 1;
                self.told.latency.record(us(due.elapsed()));
            }
            Ok(answer) if answer.status == 503 => {
                let reason = answer.reason.unwrap_or_else(|| "no reason given".to_owned());
                *self.told.refused.entry(reason).or_default() += 1;
                self.told.refusal.record(us(sent.elapsed()));
                if self.connection.is_none() {
                    self.not_before = Instant::now() + BACK_OFF;
                }
            }
            Ok(Answer { status: 200, .. }) => self.error("200 with a wrong body"),
            Ok(answer) => {
                let reason = answer.reason.unwrap_or_default();
                self.error(format!("{} {reason}", answer.status).trim());
            }
            Err(failure) => {
                self.not_before = Instant::now() + BACK_OFF;
                self.error(&failure.to_string());
            }
        }
    }

    fn error(&mut self, kind: &str) {
        *self.told.errors.entry(kind.to_owned()).or_default() += 1;
    }
}

fn connect(address: SocketAddr) -> Result<Connection<TcpStream>, Failure> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT).map_err(|e| Failure::Io(e.kind()))?;
    let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(ANSWER_LIMIT)));
    set.and_then(|()| stream.set_write_timeout(Some(ANSWER_LIMIT))).map_err(|e| Failure::Io(e.kind()))?;
    Ok(Connection::new(stream))
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers request number n on its one connection at a time with what `answer` gives; `None` closes.
    fn origin(answer: fn(usize) -> Option<&'static str>, requests: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut number = 0;
            while number < requests {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 1024];
                while number < requests && stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    let answer = answer(number);
                    number += 1;
                    let Some(answer) = answer else { break };
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        address
    }

    fn plan(address: SocketAddr, per_second: u64, ms: u64) -> Plan {
        let second = Duration::from_secs(1);
        Plan {
            address,
            per_second,
            length: Duration::from_millis(ms),
            connections: 1,
            body: 2,
            patience: second,
            routes: 0,
        }
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";

    #[test]
    fn one_stall_shows_in_every_request_that_fell_into_it() {
        let answer = |number| {
            if number == 1 {
                sleep(Duration::from_millis(60));
            }
            Some(GOOD)
        };
        let told = send(&plan(origin(answer, 10), 100, 100)).unwrap();
        assert_eq!((told.good, told.due()), (10, 10), "{told:?}");
        // Due every 10 ms while one answer takes 60: a closed loop would have seen one slow request.
        let slow = told.latency.percentile_ms(0.6);
        assert!(slow >= 19.0, "{slow} ms");
        assert!(told.latency.max_ms() >= 60.0);
    }

    #[test]
    fn every_end_has_its_count() {
        let answer = |number| match number {
            0 | 2 => Some(GOOD),
            // A kept connection that closes: sent again as request 2.
            1 => None,
            3 => Some("HTTP/1.1 503 Busy\r\nX-Evenkeel-Reason: queue-full\r\nContent-Length: 0\r\n\r\n"),
            4 => Some("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
            _ => Some("HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"),
        };
        let told = send(&plan(origin(answer, 6), 1000, 5)).unwrap();
        assert_eq!((told.good, told.retried, told.refused["queue-full"]), (2, 1, 1), "{told:?}");
        assert_eq!(told.error_list(), "1 × 200 with a wrong body, 1 × 502");
        assert_eq!((told.due(), told.refusal.total()), (5, 1));
    }

    #[test]
    fn what_nobody_waits_for_is_not_sent() {
        let answer = |_| {
            sleep(Duration::from_millis(50));
            Some(GOOD)
        };
        let plan = Plan { patience: Duration::from_millis(10), ..plan(origin(answer, 100), 1000, 60) };
        let told = send(&plan).unwrap();
        assert_eq!(told.due(), 60);
        assert!(told.abandoned >= 40 && told.good >= 1, "{told:?}");
    }

    #[test]
    fn routes_are_asked_for_in_turn() {
        let address = "127.0.0.1:80".parse().unwrap();
        let plan = Plan { routes: 10_000, ..plan(address, 1, 1) };
        let schedule = Schedule { per_second: 1, connections: 1, length: plan.length };
        let mut client = Client::new(&plan, schedule, 0, Instant::now());
        client.aim(2);
        assert!(client.request.starts_with(b"GET /r05838/x HTTP/1.1\r\n"));
    }
}
