//! What these stories share: verbs run to their end, raw calls of the admin API, and clients that keep their
//! connection.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Addr, Cause, Evenkeel, ReadError, Response, Running, Stream, Wire, read_response, wait_until,
};
use serde_json::Value;

use crate::support::BIN;

/// More than anything that should take a moment takes on a busy machine.
pub(crate) const MOMENT: Duration = Duration::from_secs(10);

/// What a verb said, and the code it ended with.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// What it printed; panics unless it ended well and complained about nothing.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert!(self.code == Some(0) && self.stderr.is_empty(), "{self:?}");
        self.stdout
    }

    /// What it complained about; panics unless it ended with this code and printed no result.
    #[track_caller]
    pub(crate) fn refused(self, code: i32) -> String {
        assert!(self.code == Some(code) && self.stdout.is_empty(), "{self:?}");
        assert!(!self.stderr.is_empty(), "it ended with {code} and said nothing");
        self.stderr
    }
}

/// Runs a verb to its end.
#[track_caller]
pub(crate) fn verb(args: &[&str]) -> Said {
    verb_with(args, &[])
}

/// Runs a verb with these variables to its end. Nothing of our own environment leads it to another process.
#[track_caller]
pub(crate) fn verb_with(args: &[&str], env: &[(&str, &str)]) -> Said {
    let mut command = Command::new(BIN);
    command.args(args).env_remove("EVENKEEL_ADMIN").env_remove("EVENKEEL_ADMIN_TOKEN").env("NO_COLOR", "1");
    command.envs(env.iter().copied());
    let running = Running::spawn(command).unwrap();
    let code = running.wait_exit(MOMENT).code();
    // Neither stream holds a NUL: this waits for the end of both.
    running.wait_stdout("\0", MOMENT);
    running.wait_stderr("\0", MOMENT);
    Said { code, stdout: running.stdout(), stderr: running.stderr() }
}

/// Runs a verb that talks to this process.
#[track_caller]
pub(crate) fn tell(proxy: &Evenkeel, args: &[&str]) -> Said {
    let api = proxy.admin_addr().to_string();
    verb(&[args, &["--api", api.as_str()]].concat())
}

/// Asks the admin API with these fields and no others, but for the length of the body.
#[track_caller]
pub(crate) fn ask(
    proxy: &Evenkeel,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Response {
    ask_at(proxy.admin_addr(), method, path, fields, body)
}

/// `ask` at this address.
#[track_caller]
pub(crate) fn ask_at(
    admin: &Addr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let mut stream = Stream::connect(admin, MOMENT).unwrap_or_else(|error| panic!("{admin}: {error}"));
    stream.set_deadline(Some(Instant::now() + MOMENT));
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    // A refusal may come before the whole body went out, so a failed write is no reason to stop.
    let _ = stream.write_all(&[head.as_bytes(), b"\r\n", body].concat());
    read_response(&mut stream, method).unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
}

/// The recent events, oldest first.
#[track_caller]
pub(crate) fn events(proxy: &Evenkeel) -> Vec<Value> {
    proxy.admin_json("/api/v1/events?follow=0").as_array().cloned().unwrap_or_default()
}

/// Waits for an event that satisfies `test`, and returns it.
#[track_caller]
pub(crate) fn wait_event(proxy: &Evenkeel, what: &str, test: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, MOMENT, || events(proxy).iter().any(&test));
    events(proxy).into_iter().find(test).unwrap()
}

/// How often routing state was published.
#[track_caller]
pub(crate) fn generation(proxy: &Evenkeel) -> u64 {
    number(&proxy.admin_json("/api/v1/status")["generation"])
}

/// The configuration in force.
#[track_caller]
pub(crate) fn config_text(proxy: &Evenkeel) -> String {
    let (status, text) = proxy.admin_get("/api/v1/config");
    assert_eq!(status, 200, "{text}");
    text
}

/// The entry of a listener in the admin API.
#[track_caller]
pub(crate) fn listener(proxy: &Evenkeel, name: &str) -> Value {
    let listeners = proxy.admin_json("/api/v1/listeners");
    let mut list = listeners.as_array().into_iter().flatten();
    list.find(|listener| listener["name"] == name).cloned().unwrap_or(Value::Null)
}

/// The entry of a target in the admin API.
#[track_caller]
pub(crate) fn target(proxy: &Evenkeel, pool: &str, address: &str) -> Value {
    let targets = proxy.admin_json(&format!("/api/v1/pools/{pool}/targets"));
    let mut list = targets.as_array().into_iter().flatten();
    list.find(|target| target["address"] == address).cloned().unwrap_or(Value::Null)
}

/// A JSON number that must be there.
#[track_caller]
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

/// A client that keeps its connection. Each answer has `MOMENT`.
#[derive(Debug)]
pub(crate) struct Kept(Wire<Stream>);

impl Kept {
    #[track_caller]
    pub(crate) fn connect(addr: impl Into<Addr>) -> Self {
        let addr = addr.into();
        let stream = Stream::connect(&addr, MOMENT).unwrap_or_else(|error| panic!("{addr}: {error}"));
        Self(Wire::new(stream))
    }

    /// Connects, and gets one answer that keeps the connection.
    #[track_caller]
    pub(crate) fn idle(addr: impl Into<Addr>) -> Self {
        let mut client = Self::connect(addr);
        let answer = client.get("/").unwrap();
        assert!(answer.status == 200 && !closes(&answer), "{answer:?}");
        client
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Response, ReadError> {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test.example\r\n\r\n"));
        self.answer()
    }

    /// A write that fails shows in the answer that does not come.
    pub(crate) fn send(&mut self, text: &str) {
        let _ = self.0.stream().write_all(text.as_bytes());
    }

    pub(crate) fn answer(&mut self) -> Result<Response, ReadError> {
        self.0.stream().set_deadline(Some(Instant::now() + MOMENT));
        self.0.response("GET")
    }

    /// How it ends, without a byte more; panics if it does not end in a moment.
    #[track_caller]
    pub(crate) fn end(mut self) -> Cause {
        self.0.stream().set_deadline(Some(Instant::now() + MOMENT));
        let end = self.0.some();
        match end {
            Err(cause) if cause != Cause::TimedOut => cause,
            other => panic!("the connection did not end: {other:?}"),
        }
    }

    /// Whether it ended, or has something to say.
    pub(crate) fn stirs(&mut self) -> bool {
        self.0.stream().readable()
    }
}

impl From<Stream> for Kept {
    fn from(stream: Stream) -> Self {
        Self(Wire::new(stream))
    }
}

/// Whether the answer announces the end of its connection.
pub(crate) fn closes(answer: &Response) -> bool {
    let fields = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    fields.flat_map(|(_, value)| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"))
}
