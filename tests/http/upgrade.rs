//! Switched connections: relayed after the 101 and not a byte before, and ended by nothing but silence.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel_testkit::{Cause, Origin, WebSocket, wait_until};

use crate::support::{http, start};
use crate::talk::{Client, PATIENCE, RawOrigin, assert_quiet, assert_silent, says_close, verdict};

const ASKING: &str =
    "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: echo\r\n\r\n";
const SWITCHED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";

#[test]
fn a_websocket_is_relayed_both_ways() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut socket = WebSocket::connect(proxy.listener_addr("web"), "/ws", PATIENCE).unwrap();
    assert_eq!(socket.response.header("connection"), Some("upgrade"));
    assert_eq!(socket.response.header("upgrade"), Some("websocket"));
    for size in [0, 1, 125, 126, 70_000, 1_000_000] {
        let text = "x".repeat(size);
        socket.send(&text).unwrap();
        assert_eq!(socket.receive().unwrap(), text, "{size} bytes");
    }
    let seen = origin.journal().last().unwrap();
    assert_eq!((seen.header("connection"), seen.header("upgrade")), (Some("upgrade"), Some("websocket")));
    assert!(seen.header("x-forwarded-for").is_some(), "an upgrade is forwarded like any request");
    socket.close().unwrap();
    assert_quiet(&proxy);
    wait_until("the target's end", PATIENCE, || origin.open_connections() == 0);
}

#[test]
fn each_sides_end_reaches_the_other() {
    let mut origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let socket = WebSocket::connect(proxy.listener_addr("web"), "/ws", PATIENCE).unwrap();
    drop(socket);
    wait_until("the client's end at the target", PATIENCE, || origin.open_connections() == 0);
    let mut closed = WebSocket::connect(proxy.listener_addr("web"), "/ws", PATIENCE).unwrap();
    let mut reset = WebSocket::connect(proxy.listener_addr("web"), "/ws", PATIENCE).unwrap();
    origin.close_connections();
    assert!(matches!(closed.receive(), Err(Cause::Closed)));
    assert!(matches!(reset.receive(), Err(Cause::Closed)));
    drop((closed, reset));
    let mut reset = WebSocket::connect(proxy.listener_addr("web"), "/ws", PATIENCE).unwrap();
    origin.kill();
    assert!(matches!(reset.receive(), Err(Cause::Closed | Cause::Reset)));
    drop(reset);
    assert_quiet(&proxy);
}

/// An origin that says nothing until it is told to, and keeps all that it reads.
fn listening(answer: &'static [u8], before: Duration) -> (RawOrigin, Arc<Mutex<Vec<u8>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    let origin = RawOrigin::start(move |_, wire| {
        if wire.head().is_err() {
            return;
        }
        // Whatever follows the head must wait for our word.
        assert_silent(wire, before);
        let _ = wire.stream().write_all(answer);
        while let Ok(bytes) = wire.some() {
            kept.lock().unwrap().extend(bytes);
        }
    });
    (origin, heard)
}

#[test]
fn rule_03_nothing_behind_the_head_is_forwarded_before_the_101() {
    let (target, heard) = listening(SWITCHED, Duration::from_millis(250));
    let proxy = start(&http(&[target.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    client.send([ASKING.as_bytes(), b"early "].concat());
    std::thread::sleep(Duration::from_millis(50));
    client.send("and later ");
    let answer = client.answer("GET");
    assert_eq!(answer.status, 101);
    client.send("and after");
    wait_until("all of it, in order", PATIENCE, || {
        heard.lock().unwrap().as_slice() == b"early and later and after"
    });
}

#[test]
fn rule_03_early_bytes_beyond_a_buffer_wait_or_are_refused_but_never_lost() {
    let (target, heard) = listening(SWITCHED, Duration::from_millis(250));
    let proxy = start(&http(&[target.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let early: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    client.send([ASKING.as_bytes(), &early].concat());
    assert_eq!(client.answer("GET").status, 101);
    wait_until("all of it", PATIENCE, || heard.lock().unwrap().len() == early.len());
    assert_eq!(heard.lock().unwrap().as_slice(), early);
}

#[test]
fn f15_early_bytes_of_a_refused_upgrade_are_no_request() {
    const REFUSALS: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ];
    let smuggled = "POST /smuggled HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    for refusal in REFUSALS {
        for late in [false, true] {
            let (target, heard) = listening(refusal, Duration::from_millis(100));
            let proxy = start(&http(&[target.addr()], ""));
            let mut client = Client::connect(proxy.listener_addr("web"));
            client.send(ASKING);
            if !late {
                client.send(smuggled);
            }
            let answer = client.answer("GET");
            assert_ne!(answer.status, 101);
            assert_eq!(answer.header("upgrade"), None);
            assert!(says_close(&answer), "late: {late}: the client is told");
            if late {
                client.send(smuggled);
            }
            client.assert_closed();
            assert_eq!(
                (heard.lock().unwrap().as_slice(), target.connections()),
                (&b""[..], 1),
                "late: {late}"
            );
        }
    }
}

#[test]
fn an_upgrade_is_only_what_connection_says_it_is() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let mut client = Client::connect(proxy.listener_addr("web"));
    let own = "connection: upgrade\r\nupgrade: TLS/1.2\r\n";
    for fields in ["upgrade: echo\r\n", "connection: upgrade\r\n", own] {
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        assert_eq!(client.answer("GET").status, 200, "{fields:?}");
        let seen = origin.journal().last().unwrap();
        assert_eq!((seen.header("connection"), seen.header("upgrade")), (None, None), "{fields:?}");
    }
    let mut old = Client::connect(proxy.listener_addr("web"));
    old.send(ASKING.replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(old.answer("GET").status, 200, "HTTP/1.0 has no upgrades");
    let mut bodied = Client::connect(proxy.listener_addr("web"));
    bodied.send(ASKING.replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\nhi"));
    assert_eq!(verdict(&bodied.answer("GET")), (400, "bad-upgrade"));
}

#[test]
fn a_switched_connection_outlives_every_deadline_of_a_request() {
    let origin = Origin::start("a");
    let deadlines = "[listener.web.timeouts]\nheader = \"1s\"\nbody = \"1s\"\nresponse = \"1s\"\nwrite = \"1s\"\n\
                     keep_alive = \"1s\"\n";
    let proxy = start(&http(&[origin.addr()], deadlines));
    let mut socket = WebSocket::connect(proxy.listener_addr("web"), "/ws", PATIENCE).unwrap();
    for turn in 0..2 {
        std::thread::sleep(Duration::from_millis(1_500));
        socket.send("still here?").unwrap();
        assert_eq!(socket.receive().as_deref(), Ok("still here?"), "turn {turn}");
    }
}

#[test]
fn a_switched_connection_ends_by_silence() {
    let origin = Origin::start("a");
    let idle = http(&[origin.addr()], "").replace("protocol = ", "idle_timeout = \"1500ms\"\nprotocol = ");
    let proxy = start(&idle);
    let mut socket = WebSocket::connect(proxy.listener_addr("web"), "/ws", PATIENCE).unwrap();
    let begun = Instant::now();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(350));
        socket.send("no silence yet").unwrap();
        socket.receive().unwrap();
    }
    assert!(begun.elapsed() > Duration::from_millis(1_500), "traffic of either side keeps it alive");
    let quiet = Instant::now();
    assert!(matches!(socket.receive(), Err(Cause::Closed | Cause::Reset)));
    let after = quiet.elapsed();
    assert!(after >= Duration::from_millis(1_450) && after < Duration::from_secs(4), "ended after {after:?}");
    wait_until("the target's end", PATIENCE, || origin.open_connections() == 0);
    assert_quiet(&proxy);
}
