//! Unix sockets, IPv4 and IPv6 as listener and as target, mixed freely; and the address we dial from.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use evenkeel_testkit::{Addr, Load, LoadPlan, Origin, TempDir, judge};

use crate::kit::{get, ms, target, who};
use crate::support::{http, start, tcp};

const LOOPBACK_V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

fn origins(dir: &TempDir) -> [Origin; 3] {
    [
        Origin::start("four"),
        Origin::start_on("six", LOOPBACK_V6, 1024),
        Origin::start_unix("unix", dir.path().join("origin.sock")),
    ]
}

#[test]
fn every_kind_of_listener_serves_every_kind_of_target() {
    let dir = TempDir::new();
    let origins = origins(&dir);
    let targets = origins.each_ref().map(|origin| origin.addr().clone());
    for of in [http, tcp] {
        let config = of(&targets, "").replace(
            "bind = \"127.0.0.1:0\"",
            "bind = [\"127.0.0.1:0\", \"[::1]:0\", \"unix:{dir}/web.sock\"]",
        );
        let proxy = start(&config);
        let bound = proxy.listener_addrs("web");
        assert_eq!(bound.iter().filter(|addr| addr.is_ipv6()).count(), 1, "{bound:?}");
        let mut listeners: Vec<Addr> = bound.into_iter().map(Addr::from).collect();
        listeners.push(proxy.dir().join("web.sock").into());
        assert_eq!(listeners.len(), 3);
        for listener in listeners {
            let methods = vec!["GET", "POST"];
            let plan = LoadPlan {
                connections: 3,
                methods,
                body_bytes: 30_000,
                answer_bytes: 30_000,
                keep_alive: false,
                requests: Some(60),
                ..LoadPlan::default()
            };
            origins.iter().for_each(|origin| drop(origin.journal().take()));
            let client = Load::run(listener.clone(), plan);
            let journals = origins.each_ref().map(Origin::journal);
            judge(&client, &journals).assert_all_answered(&format!("mixed, {listener}"));
            for name in ["four", "six", "unix"] {
                assert_eq!(client.answers_of(name), 20, "{listener} to {name}");
            }
        }
        for addr in &targets {
            assert_eq!(target(&proxy, addr).address, addr.to_string());
        }
    }
}

#[test]
fn a_missing_unix_socket_counts_as_refused_and_is_passed_over() {
    let dir = TempDir::new();
    let [four, _, mut unix] = origins(&dir);
    let proxy = start(&http(&[unix.addr(), four.addr()], "passive = false"));
    let web = proxy.listener_addr("web");
    unix.stop();
    let answers: Vec<_> = (0..10).map(|_| who(&get(web)).to_owned()).collect();
    assert_eq!(answers, ["four"; 10]);
    assert!(target(&proxy, unix.addr()).connect_errors >= 5);
    unix.restart();
    let answers: Vec<_> = (0..10).map(|_| who(&get(web)).to_owned()).collect();
    assert_eq!(answers.iter().filter(|name| *name == "unix").count(), 5, "{answers:?}");
}

/// Says the address of each caller and closes.
fn who_calls(bind: &str) -> SocketAddr {
    let listener = TcpListener::bind(bind).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let caller = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(caller.to_string().as_bytes());
        }
    });
    addr
}

#[test]
fn targets_are_dialled_from_the_source_address() {
    let (four, six) = (who_calls("127.0.0.1:0"), who_calls("[::1]:0"));
    let caller = |target: SocketAddr, source: &str| {
        let proxy = start(&tcp(&[target], source));
        let mut client = TcpStream::connect(proxy.listener_addr("web")).unwrap();
        client.set_read_timeout(Some(ms(5000))).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(caller(four, ""), "127.0.0.1");
    assert_eq!(caller(four, "source = \"127.0.0.77\""), "127.0.0.77");
    assert_eq!(caller(six, "source = \"::1\""), "::1");
}

/// A whole chain of them, without a port in between.
#[test]
fn a_balancer_behind_a_balancer_over_unix_sockets() {
    let dir = TempDir::new();
    let unix = Origin::start_unix("unix", dir.path().join("origin.sock"));
    let inner =
        start(&http(&[unix.addr()], "").replace("bind = \"127.0.0.1:0\"", "bind = \"unix:{dir}/web.sock\""));
    let outer = start(&http(&[Addr::Unix(inner.dir().join("web.sock"))], ""));
    let plan = LoadPlan { connections: 4, requests: Some(200), answer_bytes: 10_000, ..LoadPlan::default() };
    let client = Load::run(outer.listener_addr("web"), plan);
    judge(&client, &[unix.journal()]).assert_all_answered("a chain over unix sockets");
}
