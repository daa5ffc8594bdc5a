//! What these stories share: single requests, and the admin API in a few words. The pool is always `app`.

use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_api::{Event, EventKind, Pool, Target, TargetState, pool_path, target_path, targets_path};
use evenkeel_testkit::{Addr, Evenkeel, Origin, ReadError, Response, Stream, Wire};
use serde::de::DeserializeOwned;

const PATIENCE: Duration = Duration::from_secs(10);

/// One client connection, used request by request.
#[derive(Debug)]
pub(crate) struct Caller {
    wire: Wire<Stream>,
}

impl Caller {
    pub(crate) fn to(addr: impl Into<Addr>) -> Self {
        Self::over(Stream::connect(&addr.into(), PATIENCE).unwrap())
    }

    /// From one of this machine's addresses; all of 127.0.0.0/8 are.
    pub(crate) fn from(source: IpAddr, addr: SocketAddr) -> Self {
        Self::over(connect_from(source, addr))
    }

    fn over(stream: Stream) -> Self {
        stream.set_read_timeout(Some(PATIENCE));
        Self { wire: Wire::new(stream) }
    }

    /// Sends a request with this id and does not wait for its answer.
    pub(crate) fn send(&mut self, method: &str, id: &str, body: &[u8]) {
        let head = format!(
            "{method} / HTTP/1.1\r\nhost: test.example\r\nx-request-id: {id}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.write(&[head.as_bytes(), body].concat());
    }

    /// Writes these bytes. A connection that is gone already shows when the answer is read.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.wire.stream().write_all(bytes);
    }

    /// The answer to the request sent before.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Response {
        self.try_receive().unwrap()
    }

    pub(crate) fn try_receive(&mut self) -> Result<Response, ReadError> {
        self.wire.response("GET")
    }

    pub(crate) fn stream(&mut self) -> &mut Stream {
        self.wire.stream()
    }

    /// One GET and its answer.
    #[track_caller]
    pub(crate) fn get(&mut self) -> Response {
        self.send("GET", "get", b"");
        self.receive()
    }
}

/// A connection from one of this machine's addresses.
pub(crate) fn connect_from(source: IpAddr, addr: SocketAddr) -> Stream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        socket.connect(addr).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.into()
}

/// One GET over a connection of its own.
#[track_caller]
pub(crate) fn get(addr: impl Into<Addr>) -> Response {
    Caller::to(addr).get()
}

/// So many clients, each of which has sent a GET that is not answered yet.
pub(crate) fn ask(addr: SocketAddr, clients: usize) -> Vec<Caller> {
    let ask_one = |_| {
        let mut caller = Caller::to(addr);
        caller.send("GET", "asked", b"");
        caller
    };
    (0..clients).map(ask_one).collect()
}

/// Which origin answered; empty when none did.
pub(crate) fn who(response: &Response) -> &str {
    response.header("x-origin").unwrap_or_default()
}

/// The reason that we give for an answer of ours; empty for an origin's.
pub(crate) fn why(response: &Response) -> &str {
    response.header("x-evenkeel-reason").unwrap_or_default()
}

/// Panics with the whole answer unless it is a refusal of ours with this status and reason.
#[track_caller]
pub(crate) fn assert_refused(response: &Response, status: u16, reason: &str) {
    assert_eq!((response.status, why(response)), (status, reason), "{response:?}");
    assert_eq!(who(response), "", "{response:?}");
}

/// Waits until the condition holds; panics after `timeout`. Asks less often than `wait_until`: each look costs a
/// connection to the admin API.
#[track_caller]
pub(crate) fn eventually(what: &str, timeout: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {timeout:?} in vain for {what}");
        thread::sleep(Duration::from_millis(4));
    }
}

/// A target of the pool.
#[track_caller]
pub(crate) fn target(proxy: &Evenkeel, address: impl Display) -> Target {
    read(proxy, &target_path("app", &address.to_string()))
}

/// The pool.
#[track_caller]
pub(crate) fn pool(proxy: &Evenkeel) -> Pool {
    read(proxy, &pool_path("app"))
}

#[track_caller]
pub(crate) fn read<T: DeserializeOwned>(proxy: &Evenkeel, path: &str) -> T {
    serde_json::from_value(proxy.admin_json(path)).unwrap()
}

/// Waits until the target is in this state, and returns it as it is then.
#[track_caller]
pub(crate) fn wait_state(proxy: &Evenkeel, address: impl Display, state: TargetState) -> Target {
    let address = address.to_string();
    let is_there = || target(proxy, &address).state == state;
    eventually(&format!("target {address} to be {state}"), PATIENCE, is_there);
    target(proxy, &address)
}

/// Waits until nothing is in flight at this target.
#[track_caller]
pub(crate) fn wait_idle(proxy: &Evenkeel, address: impl Display) {
    let address = address.to_string();
    let is_idle = || target(proxy, &address).in_flight == 0;
    eventually(&format!("target {address} to finish"), PATIENCE, is_idle);
}

/// Waits until whoever was connected to this origin has heard that the connections are closed: a kernel that paces
/// what it sends (BBR) holds a FIN back for a moment.
#[track_caller]
pub(crate) fn wait_told(origin: &Origin) {
    let Addr::Tcp(addr) = origin.addr() else { return };
    let remote = format!("0100007F:{:04X}", addr.port());
    let is_open = |line: &str| {
        let mut words = line.split_whitespace().skip(2);
        words.next() == Some(remote.as_str()) && words.next() == Some("01")
    };
    let all_told = || !std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(is_open);
    eventually(&format!("the ends of {addr} to arrive"), PATIENCE, all_told);
}

/// Changes a target: the body of a PATCH.
#[track_caller]
pub(crate) fn edit(proxy: &Evenkeel, address: impl Display, body: &str) {
    change(proxy, "PATCH", &target_path("app", &address.to_string()), body);
}

/// Adds a target.
#[track_caller]
pub(crate) fn add(proxy: &Evenkeel, address: impl Display) {
    change(proxy, "POST", &targets_path("app"), &format!("{{\"address\": \"{address}\"}}"));
}

/// Removes a target.
#[track_caller]
pub(crate) fn remove(proxy: &Evenkeel, address: impl Display) {
    change(proxy, "DELETE", &target_path("app", &address.to_string()), "");
}

/// Asks the admin API for a change; panics unless it was made.
#[track_caller]
pub(crate) fn change(proxy: &Evenkeel, method: &str, path: &str, body: &str) {
    let (status, answer) = proxy.admin(method, path, body);
    assert!((200..300).contains(&status), "{method} {path} {body}: {status} {answer}");
}

/// Writes this configuration and has it adopted.
#[track_caller]
pub(crate) fn reload(proxy: &Evenkeel, config: &str) {
    proxy.write_config(config);
    change(proxy, "POST", "/api/v1/reload", "");
}

/// When an event happened, in milliseconds of its day; stories do not last over midnight twice.
pub(crate) fn time_of(event: &Event) -> u64 {
    let (_, time) = event.time.split_once('T').unwrap();
    let mut parts = time.trim_end_matches('Z').split([':', '.']).map(|part| part.parse::<u64>().unwrap());
    let mut part = || parts.next().unwrap();
    ((part() * 60 + part()) * 60 + part()) * 1000 + part()
}

/// Every event about a target of the pool so far, oldest first.
#[track_caller]
pub(crate) fn target_events(proxy: &Evenkeel, address: impl Display) -> Vec<Event> {
    let address = address.to_string();
    let all: Vec<Event> = read(proxy, "/api/v1/events?follow=0");
    let concerns = |event: &Event| event.target.as_deref() == Some(address.as_str());
    all.into_iter().filter(|event| event.kind == EventKind::Target && concerns(event)).collect()
}

/// A configuration with one worker, an HTTP listener `web`, and a pool of these targets, each in TOML.
pub(crate) fn one_worker(targets: &[String], more: &str) -> String {
    format!(
        "[workers]\ncount = 1\n[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n\
         [pool.app]\ntargets = [{}]\n{more}\n",
        targets.join(", ")
    )
}

/// An address as a target in TOML.
pub(crate) fn quoted(address: impl Display) -> String {
    format!("\"{address}\"")
}

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
