//! How many at once, how many may wait and for how long; and that no place is ever lost.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{Addr, Evenkeel, Stream, reserve_port, wait_until};
use serde_json::Value;

use crate::peers::{
    Blackhole, Call, End, PATIENCE, Server, ask, connect, ended, fate_of_a_client, in_flight, line, listener,
    of_target, read_to_end,
};
use crate::support::{start, tcp};

/// A pool `app` of these targets with so many connections each.
fn limited(targets: &[&Addr], max: u32, more: &str) -> String {
    let targets: Vec<String> =
        targets.iter().map(|addr| format!("{{ address = \"{addr}\", max_connections = {max} }}")).collect();
    format!(
        "[workers]\ncount = 2\n[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"app\"\n\
         [pool.app]\ntargets = [{}]\n{more}\n",
        targets.join(", ")
    )
}

fn served(proxy: &Evenkeel) -> Stream {
    let mut client = connect(proxy.listener_addr("web"));
    assert_ne!(line(&mut client), "", "the connection was closed");
    client
}

#[track_caller]
fn refused(proxy: &Evenkeel) {
    assert_eq!(fate_of_a_client(proxy.listener_addr("web")), (vec![], End::Reset));
}

fn waiting(proxy: &Evenkeel) -> u64 {
    proxy.admin_json("/api/v1/pools/app")["waiting"].as_u64().unwrap()
}

#[test]
fn a_target_takes_its_max_connections_and_not_one_more() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let proxy = start(&limited(&[a.addr(), b.addr()], 3, "limits = { pending = 0 }"));
    let mut clients: Vec<Stream> = (0..6).map(|_| served(&proxy)).collect();
    assert_eq!((a.open(), b.open()), (3, 3));
    for _ in 0..10 {
        refused(&proxy);
    }
    wait_until("the reasons", PATIENCE, || ended(&proxy, "queue-full") == 10);
    // Everyone who was let in is served still, and a place that is free is given again.
    for turn in 0..20 {
        assert_eq!(ask(&mut clients[turn % 6], "still there"), "still there");
        drop(clients.remove(turn % 6));
        wait_until("a free place", PATIENCE, || in_flight(&proxy) == 5);
        clients.push(served(&proxy));
    }
    assert_eq!((a.open(), b.open()), (3, 3));
}

#[test]
fn who_finds_no_room_waits_and_is_served_in_turn() {
    let server = Server::echo("a");
    let proxy = start(&limited(&[server.addr()], 1, "limits = { pending = 10, queue_timeout = \"10s\" }"));
    let mut first = served(&proxy);
    let mut queue: Vec<Stream> = Vec::new();
    for n in 1..=5 {
        // What a client says while it waits is not lost.
        let mut client = connect(proxy.listener_addr("web"));
        writeln!(client, "I am {n}").unwrap();
        queue.push(client);
        wait_until("the queue to grow", PATIENCE, || waiting(&proxy) == n);
    }
    assert_eq!(ask(&mut first, "x"), "x");
    assert_eq!(server.accepted(), 1);
    drop(first);
    for (n, mut client) in queue.into_iter().enumerate() {
        assert_eq!(line(&mut client), "a");
        assert_eq!(line(&mut client), format!("I am {}", n + 1));
        assert_eq!(of_target(&proxy, server.addr(), "in_flight"), 1);
        wait_until("the queue to shrink", PATIENCE, || waiting(&proxy) == 4 - n as u64);
    }
}

#[test]
fn who_waits_too_long_is_reset_with_its_reason() {
    let server = Server::echo("a");
    let proxy = start(&limited(&[server.addr()], 1, "limits = { queue_timeout = \"300ms\" }"));
    let mut first = served(&proxy);
    let started = Instant::now();
    assert_eq!(fate_of_a_client(proxy.listener_addr("web")), (vec![], End::Reset));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "it took {took:?}");
    wait_until("the reason", PATIENCE, || ended(&proxy, "queue-timeout") == 1);
    assert_eq!((waiting(&proxy), server.accepted()), (0, 1));
    assert_eq!(ask(&mut first, "x"), "x");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let server = Server::echo("a");
    let limits = "limits = { pending = 2, queue_timeout = \"10s\" }";
    let proxy = start(&limited(&[server.addr()], 1, limits));
    let first = served(&proxy);
    let queued: Vec<Stream> = (1..=2)
        .map(|n| {
            let client = connect(proxy.listener_addr("web"));
            wait_until("the queue to grow", PATIENCE, || waiting(&proxy) == n);
            client
        })
        .collect();
    let started = Instant::now();
    refused(&proxy);
    assert!(started.elapsed() < Duration::from_secs(2), "it took {:?}", started.elapsed());
    wait_until("the reason", PATIENCE, || ended(&proxy, "queue-full") == 1);
    drop(first);
    for mut client in queued {
        assert_eq!(line(&mut client), "a");
    }
}

#[test]
fn a_pool_has_a_limit_over_all_its_targets() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let proxy = start(&tcp(&[a.addr(), b.addr()], "limits = { connections = 3, pending = 0 }"));
    let mut clients: Vec<Stream> = (0..3).map(|_| served(&proxy)).collect();
    refused(&proxy);
    clients.pop();
    wait_until("a free place", PATIENCE, || in_flight(&proxy) == 2);
    clients.push(served(&proxy));
    refused(&proxy);
    assert_eq!(a.open() + b.open(), 3);
}

#[test]
fn a_listener_takes_its_max_connections_and_not_one_more() {
    let server = Server::echo("a");
    let config = tcp(&[server.addr()], "").replace("pool = \"app\"", "pool = \"app\"\nmax_connections = 5");
    let proxy = start(&config);
    let mut clients: Vec<Stream> = (0..5).map(|_| served(&proxy)).collect();
    for n in 1..=10 {
        refused(&proxy);
        wait_until("the reason", PATIENCE, || ended(&proxy, "listener-full") == n);
    }
    assert_eq!((server.open(), listener(&proxy)["open"].as_u64()), (5, Some(5)));
    assert_eq!(ask(&mut clients[0], "x"), "x");
    clients.pop();
    wait_until("a free place", PATIENCE, || listener(&proxy)["open"] == 4);
    clients.push(served(&proxy));
    refused(&proxy);
}

#[test]
fn silence_ends_after_the_idle_timeout_and_talk_does_not() {
    let server = Server::echo("a");
    let config = tcp(&[server.addr()], "").replace("pool = \"app\"", "pool = \"app\"\nidle_timeout = \"1s\"");
    let proxy = start(&config);
    let mut talker = served(&proxy);
    let began = Instant::now();
    let mut silent = served(&proxy);
    let talking = thread::spawn(move || {
        while began.elapsed() < Duration::from_millis(2500) {
            assert_eq!(ask(&mut talker, "x"), "x");
            thread::sleep(Duration::from_millis(30));
        }
        talker
    });
    assert_eq!(read_to_end(&mut silent), (vec![], End::Reset));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(2400), "it took {took:?}");
    let _talker = talking.join().unwrap();
    assert_eq!(ended(&proxy, "idle-timeout"), 1);
}

#[test]
fn one_busy_direction_keeps_both_alive() {
    let server = Server::start(|mut call| {
        for _ in 0..40 {
            thread::sleep(Duration::from_millis(50));
            writeln!(call.stream, "tick").unwrap();
        }
    });
    let config = tcp(&[server.addr()], "").replace("pool = \"app\"", "pool = \"app\"\nidle_timeout = \"1s\"");
    let proxy = start(&config);
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(read_to_end(&mut client), (b"tick\n".repeat(40), End::Fin));
}

#[test]
fn an_idle_timeout_of_zero_is_never() {
    let (never, soon) = (Server::echo("never"), Server::echo("soon"));
    let listener = |name: &str, timeout: &str| {
        format!(
            "[listener.{name}]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"{name}\"\nidle_timeout = \"{timeout}\"\n"
        )
    };
    let pools = format!(
        "[pool.web]\ntargets = [\"{}\"]\n[pool.soon]\ntargets = [\"{}\"]\n",
        never.addr(),
        soon.addr()
    );
    let proxy = start(&format!("{}{}{pools}", listener("web", "0"), listener("soon", "100ms")));
    let mut patient = served(&proxy);
    // Five others are cut for their silence, one after another; the patient one has been silent for longer.
    for _ in 0..5 {
        assert_eq!(fate_of_a_client(proxy.listener_addr("soon")).1, End::Reset);
    }
    assert_eq!(ask(&mut patient, "still there"), "still there");
}

#[test]
fn no_place_is_lost_however_a_connection_ends() {
    // By the first byte the client says how the server is to end it.
    let server = Server::start(|mut call: Call| {
        let mut how = [0; 1];
        let _ = call.stream.read(&mut how);
        match how[0] {
            b'f' => call.stream.shutdown(Shutdown::Both),
            b'r' => call.stream.reset_on_close(),
            b'e' => {
                let _ = call.stream.write_all(&how);
                drop(read_to_end(&mut call.stream));
            }
            _ => drop(read_to_end(&mut call.stream)),
        }
    });
    let (dead_port, deaf) = (reserve_port(), Blackhole::start());
    let dead = Addr::from(dead_port.addr());
    let more = "connect_timeout = \"40ms\"\nretry = { attempts = 3 }\npassive = false\n\
                limits = { connections = 8, pending = 4, queue_timeout = \"60ms\" }";
    let config = limited(&[server.addr(), &dead, &deaf.addr().into()], 5, more);
    let proxy =
        start(&config.replace("protocol", "max_connections = 14\nidle_timeout = \"150ms\"\nprotocol"));
    let addr = proxy.listener_addr("web");
    thread::scope(|scope| {
        for thread in 0..16 {
            scope.spawn(move || (0..25).for_each(|n| end_somehow(&addr.into(), thread * 25 + n)));
        }
    });
    wait_until("everyone to have left", PATIENCE, || {
        let seen = listener(&proxy);
        seen["accepted"] == 400 && seen["open"] == 0
    });
    assert_eq!((in_flight(&proxy), waiting(&proxy)), (0, 0));
    let seen = listener(&proxy);
    println!("limits: 400 connections ended: {}", seen["reasons"]);
    let counted: u64 = seen["reasons"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(counted, 400, "each has one reason");
    // Every place can be taken again, and not one more: five at this server, eight in this pool.
    let reload = |targets: &[&Addr]| {
        proxy.write_config(&limited(targets, 5, more));
        assert_eq!(proxy.admin("POST", "/api/v1/reload", "").0, 200);
    };
    reload(&[server.addr()]);
    let _five: Vec<Stream> = (0..5).map(|_| connect(addr)).collect();
    wait_until("five in flight", PATIENCE, || of_target(&proxy, server.addr(), "in_flight") == 5);
    refused(&proxy);
    let second = Server::start(|mut call| drop(read_to_end(&mut call.stream)));
    reload(&[server.addr(), second.addr()]);
    let _three: Vec<Stream> = (0..3).map(|_| connect(addr)).collect();
    wait_until("eight in flight", PATIENCE, || in_flight(&proxy) == 8);
    refused(&proxy);
}

/// One connection, ended in one of ten ways.
fn end_somehow(addr: &Addr, n: u64) {
    // One that is refused may hear of it while it connects.
    let Ok(mut client) = Stream::connect(addr, PATIENCE) else { return };
    client.set_deadline(Some(Instant::now() + PATIENCE));
    let say = |client: &mut Stream, byte: &[u8]| drop(client.write_all(byte));
    match n % 10 {
        0 => drop(client),
        1 => client.reset_on_close(),
        2 => {
            say(&mut client, b"f");
            read_to_end(&mut client);
        }
        3 => {
            say(&mut client, b"r");
            read_to_end(&mut client);
        }
        4 => {
            say(&mut client, b"e");
            let _ = client.read(&mut [0; 1]);
        }
        5 => {
            say(&mut client, b"e");
            let _ = client.read(&mut [0; 1]);
            client.reset_on_close();
        }
        6 => {
            say(&mut client, b"e");
            client.shutdown(Shutdown::Write);
            read_to_end(&mut client);
        }
        // Idle until it is cut.
        7 => drop(read_to_end(&mut client)),
        // Leaves while it may be waiting still.
        8 => thread::sleep(Duration::from_millis(5)),
        _ => {
            say(&mut client, b"f");
            client.shutdown(Shutdown::Write);
            thread::sleep(Duration::from_millis(2));
        }
    }
}
