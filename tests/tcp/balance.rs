//! How long-lived connections spread.

use std::collections::HashMap;

use evenkeel_testkit::{Addr, Evenkeel, Stream, wait_until};

use crate::peers::{PATIENCE, Server, connect, in_flight, line};
use crate::support::{start, tcp};

fn open(proxy: &Evenkeel, count: usize) -> Vec<(String, Stream)> {
    let one = |_| {
        let mut client = connect(proxy.listener_addr("web"));
        (line(&mut client), client)
    };
    (0..count).map(one).collect()
}

fn shares(clients: &[(String, Stream)]) -> Vec<(&str, usize)> {
    let mut shares: HashMap<&str, usize> = HashMap::new();
    clients.iter().for_each(|(name, _)| *shares.entry(name).or_default() += 1);
    let mut shares: Vec<_> = shares.into_iter().collect();
    shares.sort_unstable();
    shares
}

const LEAST: &str = "algorithm = \"least-connections\"";

#[test]
fn least_connections_evens_out_what_stays_open() {
    let (a, b, c) = (Server::echo("a"), Server::echo("b"), Server::echo("c"));
    let proxy = start(&tcp(&[a.addr(), b.addr(), c.addr()], LEAST));
    let mut clients = open(&proxy, 60);
    assert_eq!(shares(&clients), [("a", 20), ("b", 20), ("c", 20)]);
    // All that are at `a` leave: whoever comes next goes there, until it has as many as the others.
    clients.retain(|(name, _)| name != "a");
    wait_until("those of a to leave", PATIENCE, || in_flight(&proxy) == 40);
    let fresh = open(&proxy, 20);
    assert_eq!(shares(&fresh), [("a", 20)]);
    clients.extend(fresh);
    clients.extend(open(&proxy, 30));
    assert_eq!(shares(&clients), [("a", 30), ("b", 30), ("c", 30)]);
}

#[test]
fn least_connections_minds_the_weights() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let config = tcp::<Addr>(&[], LEAST).replace(
        "targets = []",
        &format!("targets = [{{ address = \"{}\", weight = 3 }}, \"{}\"]", a.addr(), b.addr()),
    );
    let proxy = start(&config);
    let clients = open(&proxy, 40);
    assert_eq!(shares(&clients), [("a", 30), ("b", 10)]);
}

#[test]
fn least_connections_spreads_a_rush_that_comes_at_once() {
    let (a, b, c, d) = (Server::echo("a"), Server::echo("b"), Server::echo("c"), Server::echo("d"));
    let proxy = start(&tcp(&[a.addr(), b.addr(), c.addr(), d.addr()], LEAST));
    let web = proxy.listener_addr("web");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                let clients: Vec<Stream> = (0..25).map(|_| connect(web)).collect();
                clients.into_iter().map(|mut client| (line(&mut client), client)).collect::<Vec<_>>()
            })
        })
        .collect();
    let clients: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let shares = shares(&clients);
    println!("balance: 200 connections in a rush over two workers: {shares:?}");
    // Two workers may look at the same moment, so that each pair of choices can be off by one.
    assert_eq!(shares.len(), 4);
    assert!(shares.iter().all(|(_, count)| (45..=55).contains(count)), "{shares:?}");
}

#[test]
fn round_robin_alternates_over_both_workers() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let proxy = start(&tcp(&[a.addr(), b.addr()], ""));
    let names: Vec<String> = open(&proxy, 40).into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().enumerate().all(|(n, name)| name == ["a", "b"][n % 2]), "{names:?}");
}

#[test]
fn every_algorithm_serves_tcp() {
    let (a, b, c) = (Server::echo("a"), Server::echo("b"), Server::echo("c"));
    let algorithms = [
        "round-robin",
        "least-connections",
        "random",
        "p2c",
        "peak-ewma",
        "ip-hash",
        "ip-port-hash",
        "consistent-hash",
        "maglev",
        "rendezvous",
        "first",
    ];
    for algorithm in algorithms {
        let proxy = start(&tcp(&[a.addr(), b.addr(), c.addr()], &format!("algorithm = \"{algorithm}\"")));
        let clients = open(&proxy, 30);
        let used = shares(&clients).len();
        // One client address goes to one server, where the address is what decides.
        let wanted = match algorithm {
            "ip-hash" | "maglev" | "rendezvous" | "first" => 1..=1,
            "consistent-hash" => 1..=3,
            "ip-port-hash" | "random" | "p2c" | "peak-ewma" => 2..=3,
            _ => 3..=3,
        };
        assert!(wanted.contains(&used), "{algorithm}: {:?}", shares(&clients));
        assert!(clients.iter().all(|(name, _)| !name.is_empty()), "{algorithm}");
    }
}
