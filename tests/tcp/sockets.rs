//! How sockets are set: source address, nodelay, keep-alive, backlog, many at once.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{Addr, Launch, Load, LoadPlan, Origin, Stream, have, judge, skip, wait_until};

use crate::peers::{
    PATIENCE, Server, ask, connect, connect_from, ended, in_flight, line, listener, try_connect_from,
    try_line,
};
use crate::support::{BIN, start, tcp};

#[test]
fn targets_are_dialled_from_the_source_address() {
    let server = Server::start(|mut call| writeln!(call.stream, "{}", call.from.unwrap().ip()).unwrap());
    for (source, seen) in [("source = \"127.0.0.9\"", "127.0.0.9"), ("", "127.0.0.1")] {
        let proxy = start(&tcp(&[server.addr()], source));
        for _ in 0..20 {
            assert_eq!(line(&mut connect(proxy.listener_addr("web"))), seen);
        }
    }
}

#[test]
fn a_source_that_cannot_reach_a_target_is_refused_at_the_start() {
    let target: SocketAddr = "[::1]:80".parse().unwrap();
    let failed = Launch::new(BIN, &tcp(&[target], "source = \"127.0.0.9\"")).try_start().err().unwrap();
    assert_eq!(failed.status.and_then(|status| status.code()), Some(78), "{failed}");
    assert!(failed.stderr.contains("[::1]:80 cannot be dialled from 127.0.0.9"), "{failed}");
}

#[test]
fn small_writes_in_a_row_are_not_held_back() {
    // Without TCP_NODELAY on our side the second small write waits for the peer's delayed acknowledgement, 40 ms.
    let server = Server::start(|mut call| {
        let mut two = [0; 2];
        while call.stream.read_exact(&mut two[..1]).is_ok() {
            // Half of the answer, too, comes alone.
            if call.stream.read_exact(&mut two[1..]).is_err() || call.stream.write_all(&two[..1]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(2));
            let _ = call.stream.write_all(&two[1..]);
        }
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let mut client = connect(proxy.listener_addr("web"));
    let mut took: Vec<Duration> = (0..60)
        .map(|_| {
            let started = Instant::now();
            client.write_all(b"a").unwrap();
            thread::sleep(Duration::from_millis(2));
            client.write_all(b"b").unwrap();
            client.read_exact(&mut [0; 2]).unwrap();
            started.elapsed()
        })
        .collect();
    took.sort();
    println!("sockets: two small writes each way: median {:?}", took[30]);
    assert!(took[30] < Duration::from_millis(25), "{took:?}");
}

/// What `ss` tells, one socket a line.
fn ss(words: &str) -> Vec<String> {
    let told = Command::new("ss").args(words.split(' ')).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8_lossy(&told.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn both_sides_are_kept_alive() {
    if !have("ss") {
        skip!("ss (iproute2) is not installed");
    }
    let server = Server::echo("a");
    let Addr::Tcp(target) = server.addr().clone() else { unreachable!() };
    let proxy = start(&tcp(&[server.addr()], ""));
    let web = proxy.listener_addr("web");
    let mut client = connect(web);
    assert_eq!(line(&mut client), "a");
    // Ours are those whose local port is the listener's, and whose remote port is the target's.
    let accepted = ss(&format!("-Htno state established sport = :{}", web.port()));
    let dialled = ss(&format!("-Htno state established dport = :{}", target.port()));
    for (what, sockets) in [("accepted", accepted), ("dialled", dialled)] {
        assert_eq!(sockets.len(), 1, "{what}: {sockets:?}");
        assert!(sockets[0].contains("timer:(keepalive,"), "{what}: {sockets:?}");
    }
}

#[test]
fn the_backlog_is_what_the_configuration_says() {
    if !have("ss") {
        skip!("ss (iproute2) is not installed");
    }
    let server = Server::echo("a");
    let config = tcp(&[server.addr()], "").replace("pool = \"app\"", "pool = \"app\"\nbacklog = 77");
    let proxy = start(&config);
    let listening = ss(&format!("-Hltn sport = :{}", proxy.listener_addr("web").port()));
    let backlogs: Vec<_> = listening.iter().map(|socket| socket.split_whitespace().nth(2)).collect();
    assert_eq!(backlogs, [Some("77"), Some("77")], "one per worker: {listening:?}");
}

#[test]
fn a_thousand_connections_at_once_are_all_served() {
    evenkeel_net::raise_descriptor_limit().unwrap();
    // An accept queue that holds all of them: the limits of the server are not the story here.
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let origin = Origin::start_on("a", local, 4096);
    let proxy = start(&tcp(&[origin.addr()], ""));
    let plan = LoadPlan { connections: 1000, requests: Some(3000), ..LoadPlan::default() };
    let load = Load::start(proxy.listener_addr("web"), plan);
    let client = load.finish();
    judge(&client, &[origin.journal()]).assert_all_answered("a thousand connections at once");
    wait_until("all to have left", PATIENCE, || listener(&proxy)["open"] == 0);
    assert_eq!(in_flight(&proxy), 0);
}

#[test]
fn a_thousand_connections_stay_open_together() {
    evenkeel_net::raise_descriptor_limit().unwrap();
    let (tell, numbers) = channel();
    let server = Server::start(move |mut call| {
        let mut byte = [0; 1];
        while let Ok(1) = call.stream.read(&mut byte) {
            let _ = tell.send(call.number);
            let _ = call.stream.write_all(&byte);
        }
    });
    let proxy = start(&tcp(&[server.addr()], ""));
    let addr = proxy.listener_addr("web");
    let mut clients: Vec<Stream> = (0..1000).map(|_| connect(addr)).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
        for client in &mut clients {
            client.read_exact(&mut [0; 1]).unwrap();
        }
        let mut seen: Vec<u64> = numbers.try_iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<u64>>());
    }
    assert_eq!(listener(&proxy)["open"], 1000);
    let resident = proxy.rss_bytes();
    println!("sockets: 1000 open connections, {} KiB resident", resident / 1024);
    drop(clients);
    wait_until("all to have left", PATIENCE, || listener(&proxy)["open"] == 0 && in_flight(&proxy) == 0);
}

#[test]
fn clients_are_admitted_by_their_address() {
    let server = Server::echo("a");
    let rules = "pool = \"app\"\nallow = [\"127.0.0.0/24\"]\ndeny = [\"127.0.0.66\"]";
    let proxy = start(&tcp(&[server.addr()], "").replace("pool = \"app\"", rules));
    let web = proxy.listener_addr("web");
    let admitted = |last: [u8; 4]| {
        let client = try_connect_from(Ipv4Addr::from(last), web);
        client.and_then(|mut client| try_line(&mut client)).is_ok_and(|line| line == "a")
    };
    assert!(admitted([127, 0, 0, 1]) && admitted([127, 0, 0, 65]));
    assert!(!admitted([127, 0, 0, 66]) && !admitted([127, 0, 1, 1]));
    wait_until("the reasons", PATIENCE, || ended(&proxy, "address-denied") == 2);
    assert_eq!(server.accepted(), 2);
}

#[test]
fn the_api_names_the_client() {
    let server = Server::echo("a");
    let proxy = start(&tcp(&[server.addr()], ""));
    let source = Ipv4Addr::new(127, 0, 0, 77);
    let mut client = connect_from(source, proxy.listener_addr("web"));
    assert_eq!(line(&mut client), "a");
    assert_eq!(ask(&mut client, "x"), "x");
    let all = proxy.admin_json("/api/v1/connections");
    let shown: SocketAddr = all[0]["client"].as_str().unwrap().parse().unwrap();
    assert_eq!(shown.ip(), IpAddr::V4(source));
}
