//! Each direction ends by itself, and its end is passed on at once.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{Evenkeel, wait_until};

use crate::peers::{End, PATIENCE, Server, connect, ended, line, listener, read_to_end, receive_all, send};
use crate::support::{start, tcp};

const ROUNDS: usize = 21;
/// The promise of F11.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The median, so that one pause of a busy machine does not decide; a timer on the way would show in every round.
fn assert_at_once(what: &str, mut took: Vec<Duration>) {
    took.sort();
    println!(
        "half-close: {what}: median {:?}, worst {:?} of {}",
        took[took.len() / 2],
        took.last(),
        took.len()
    );
    assert_eq!(took.len(), ROUNDS);
    assert!(took[took.len() / 2] < AT_ONCE, "{what} took {took:?}");
}

fn wait_closed(proxy: &Evenkeel) {
    wait_until("all connections to end", PATIENCE, || listener(proxy)["open"] == 0);
}

#[test]
fn f10_a_client_that_has_finished_gets_the_full_answer() {
    let answer = 5 << 20;
    let server = Server::start(move |mut call| {
        let (request, end) = read_to_end(&mut call.stream);
        assert_eq!(end, End::Fin);
        send(&mut call.stream, request.len() as u64, answer).unwrap();
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    for request in [0, 1, 300_000] {
        let mut client = connect(proxy.listener_addr("web"));
        send(&mut client, 9, request).unwrap();
        client.shutdown(Shutdown::Write);
        assert_eq!(receive_all(&mut client, request, answer), Ok(()), "a request of {request} bytes");
    }
    wait_closed(&proxy);
    assert_eq!(ended(&proxy, "client-closed"), 3);
}

#[test]
fn f10_the_answer_may_come_long_after_the_client_has_finished() {
    let server = Server::start(|mut call| {
        read_to_end(&mut call.stream);
        thread::sleep(Duration::from_millis(700));
        writeln!(call.stream, "done").unwrap();
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut client = connect(proxy.listener_addr("web"));
    client.shutdown(Shutdown::Write);
    assert_eq!(line(&mut client), "done");
    assert_eq!(read_to_end(&mut client), (vec![], End::Fin));
}

#[test]
fn f11_the_end_of_the_client_is_passed_on_within_100_ms() {
    let (tell, at_server) = channel();
    let server = Server::start(move |mut call| {
        let end = read_to_end(&mut call.stream).1;
        let _ = tell.send((end, Instant::now()));
        let _ = call.stream.write_all(b"x");
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let took = (0..ROUNDS).map(|_| {
        let mut client = connect(proxy.listener_addr("web"));
        client.write_all(b"all I have to say").unwrap();
        let finished = Instant::now();
        client.shutdown(Shutdown::Write);
        let (end, at) = at_server.recv_timeout(PATIENCE).unwrap();
        assert_eq!(end, End::Fin);
        assert_eq!(read_to_end(&mut client), (b"x".to_vec(), End::Fin));
        at.saturating_duration_since(finished)
    });
    assert_at_once("client to server", took.collect());
    wait_closed(&proxy);
}

#[test]
fn f11_the_end_of_the_server_is_passed_on_within_100_ms_and_the_client_may_go_on() {
    let (tell, at_server) = channel();
    let server = Server::start(move |mut call| {
        writeln!(call.stream, "that is all").unwrap();
        let finished = Instant::now();
        call.stream.shutdown(Shutdown::Write);
        let received = receive_all(&mut call.stream, 7, 1 << 20);
        let _ = tell.send((finished, received));
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let took = (0..ROUNDS).map(|_| {
        let mut client = connect(proxy.listener_addr("web"));
        let (came, end) = read_to_end(&mut client);
        let at = Instant::now();
        assert_eq!((came.as_slice(), end), (&b"that is all\n"[..], End::Fin));
        // The other direction is open still.
        send(&mut client, 7, 1 << 20).unwrap();
        client.shutdown(Shutdown::Write);
        let (finished, received) = at_server.recv_timeout(PATIENCE).unwrap();
        assert_eq!(received, Ok(()));
        at.saturating_duration_since(finished)
    });
    assert_at_once("server to client", took.collect());
    wait_closed(&proxy);
    assert_eq!(ended(&proxy, "target-closed"), ROUNDS as u64);
}

#[test]
fn f11_the_end_of_a_spliced_flow_is_passed_on_within_100_ms() {
    let bytes = 4 << 20;
    let (tell, finished_at) = channel();
    let server = Server::start(move |mut call| {
        send(&mut call.stream, 3, bytes).unwrap();
        let _ = tell.send(Instant::now());
        // Both directions at once.
        call.stream.shutdown(Shutdown::Both);
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let took = (0..ROUNDS).map(|_| {
        let mut client = connect(proxy.listener_addr("web"));
        assert_eq!(receive_all(&mut client, 3, bytes), Ok(()));
        let at = Instant::now();
        at.saturating_duration_since(finished_at.recv_timeout(PATIENCE).unwrap())
    });
    assert_at_once("a spliced flow", took.collect());
    wait_closed(&proxy);
}

#[test]
fn a_client_that_never_finishes_keeps_its_direction() {
    let server = Server::start(|mut call| {
        call.stream.shutdown(Shutdown::Write);
        let mut byte = [0; 1];
        while let Ok(1) = call.stream.read(&mut byte) {}
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(read_to_end(&mut client), (vec![], End::Fin));
    for _ in 0..20 {
        client.write_all(b"still here").unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((server.open(), listener(&proxy)["open"].as_u64()), (1, Some(1)));
    wait_until("what it said to be counted", PATIENCE, || {
        listener(&proxy)["bytes_in"] == 20 * b"still here".len()
    });
    drop(client);
    wait_closed(&proxy);
    wait_until("the server to see the end", PATIENCE, || server.open() == 0);
}
