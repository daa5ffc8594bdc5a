//! A reset stays a reset: nobody takes a part for the whole.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use evenkeel_testkit::{Stream, wait_until};

use crate::peers::{
    End, Noise, PATIENCE, Server, connect, end_of, ended, in_flight, line, listener, read_to_end, receive,
    send,
};
use crate::support::{start, tcp};

const ROUNDS: u64 = 20;

#[test]
fn a_reset_by_the_client_reaches_the_server_as_a_reset() {
    let (tell, ends) = channel();
    let server = Server::start(move |mut call| {
        writeln!(call.stream, "hello").unwrap();
        let _ = tell.send(read_to_end(&mut call.stream).1);
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    for _ in 0..ROUNDS {
        let mut client = connect(proxy.listener_addr("web"));
        assert_eq!(line(&mut client), "hello");
        client.reset_on_close();
        drop(client);
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(End::Reset));
    }
    wait_until("the reasons", PATIENCE, || ended(&proxy, "client-reset") == ROUNDS);
}

#[test]
fn a_reset_after_a_half_close_is_noticed_at_once() {
    let (tell, ends) = channel();
    // It has nothing to say for a long time, so that no write of ours can find out.
    let server = Server::start(move |mut call| {
        let _ = tell.send(read_to_end(&mut call.stream).1);
        thread::sleep(Duration::from_secs(5));
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let client = connect(proxy.listener_addr("web"));
    client.shutdown(Shutdown::Write);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(End::Fin));
    client.reset_on_close();
    drop(client);
    wait_until("the reason", Duration::from_secs(3), || ended(&proxy, "client-reset") == 1);
    assert_eq!((in_flight(&proxy), server.open()), (0, 1));
}

#[test]
fn a_reset_by_the_server_reaches_the_client_as_a_reset() {
    let server = Server::start(|mut call| {
        writeln!(call.stream, "hello").unwrap();
        let _ = call.stream.read(&mut [0; 1]);
        call.stream.reset_on_close();
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    for _ in 0..ROUNDS {
        let mut client = connect(proxy.listener_addr("web"));
        assert_eq!(line(&mut client), "hello");
        client.write_all(b"x").unwrap();
        assert_eq!(read_to_end(&mut client), (vec![], End::Reset));
    }
    wait_until("the reasons", PATIENCE, || ended(&proxy, "target-reset") == ROUNDS);
}

#[test]
fn a_reset_in_the_middle_of_a_long_flow_is_no_end() {
    let server = Server::start(|mut call| {
        send(&mut call.stream, 1, 3 << 20).unwrap();
        // The client has it all; a reset would otherwise overtake what is on the way.
        let _ = call.stream.read(&mut [0; 1]);
        call.stream.reset_on_close();
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(receive(&mut client, 1, 3 << 20), Ok(()));
    client.write_all(b"x").unwrap();
    assert_eq!(read_to_end(&mut client), (vec![], End::Reset));
}

#[test]
fn f03_a_server_that_resets_while_the_client_still_sends_is_seen_as_a_reset() {
    // Whichever of our two directions hears of the reset first, the client must not see an orderly end.
    let server = Server::start(|mut call| {
        let mut some = [0; 4096];
        let _ = call.stream.read(&mut some);
        writeln!(call.stream, "the first half").unwrap();
        let _ = call.stream.read(&mut some);
        call.stream.reset_on_close();
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    for round in 0..ROUNDS {
        let mut client = connect(proxy.listener_addr("web"));
        let mut writer = client.try_clone().unwrap();
        let sending = thread::spawn(move || {
            loop {
                if let Err(error) = send(&mut writer, 1, 1 << 20) {
                    return error.kind();
                }
            }
        });
        let (came, end) = read_to_end(&mut client);
        // The kernel tells of a reset once, to whichever of our two threads it wakes first. Only behind an end in
        // order a write says EPIPE.
        let told = (end, sending.join().unwrap());
        assert!(end == End::Reset || told.1 == ErrorKind::ConnectionReset, "round {round}: {told:?}");
        assert!(b"the first half\n".starts_with(came.as_slice()), "{came:?}");
    }
    wait_until("the reasons", PATIENCE, || ended(&proxy, "target-reset") == ROUNDS);
}

#[test]
fn f12_a_server_that_answers_early_and_closes_is_heard() {
    // It ends its answer in order and then takes no more: what it said arrives whole.
    let server = Server::start(|mut call| {
        let _ = call.stream.read(&mut [0; 4096]);
        send(&mut call.stream, 5, 20_000).unwrap();
        call.stream.shutdown(Shutdown::Write);
        let mut piece = [0; 4096];
        for _ in 0..10 {
            let _ = call.stream.read(&mut piece);
        }
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    for round in 0..ROUNDS {
        let mut client = connect(proxy.listener_addr("web"));
        let mut writer = client.try_clone().unwrap();
        let sending = thread::spawn(move || while send(&mut writer, 1, 1 << 20).is_ok() {});
        let (came, _) = read_to_end(&mut client);
        assert!(came == Noise::new(5, 20_000).bytes(), "{} bytes came, round {round}", came.len());
        drop(client);
        sending.join().unwrap();
    }
}

#[test]
fn a_client_that_vanishes_with_bytes_unread_frees_the_server() {
    let server = Server::start(|mut call| while send(&mut call.stream, 1, 1 << 20).is_ok() {});
    let proxy = start(&tcp(&[server.addr()], ""));
    let clients: Vec<Stream> = (0..10).map(|_| connect(proxy.listener_addr("web"))).collect();
    wait_until("ten flows", PATIENCE, || server.open() == 10);
    drop(clients);
    wait_until("the server to be free", PATIENCE, || server.open() == 0);
    wait_until("no place taken", PATIENCE, || listener(&proxy)["open"] == 0 && in_flight(&proxy) == 0);
}

#[test]
fn a_write_after_the_server_has_gone_fails() {
    let server = Server::start(drop);
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(read_to_end(&mut client), (vec![], End::Fin));
    // Nobody reads there: the client is told, rather than being allowed to talk to the void.
    let mut told = None;
    for _ in 0..1000 {
        if let Err(error) = client.write_all(&[0; 1024]) {
            told = Some(end_of(&error));
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(told, Some(End::Reset));
}
