//! Many listeners and pools in one process, each with work of its own.

use std::fmt::Write as _;
use std::thread;

use evenkeel_testkit::{Load, LoadPlan, Origin, judge, wait_until};

use crate::peers::{PATIENCE, Server, ask, connect, line};
use crate::support::start;

const NAMES: [&str; 8] = ["alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"];

#[test]
fn forty_listeners_lead_to_eight_pools() {
    let servers = NAMES.map(Server::echo);
    let mut config = String::new();
    for n in 0..40 {
        let pool = NAMES[n % NAMES.len()];
        let bind = "bind = \"127.0.0.1:0\"\nprotocol = \"tcp\"";
        writeln!(config, "[listener.l{n}]\n{bind}\npool = \"{pool}\"").unwrap();
    }
    for (name, server) in NAMES.iter().zip(&servers) {
        writeln!(config, "[pool.{name}]\ntargets = [\"{}\"]", server.addr()).unwrap();
    }
    let proxy = start(&config);
    let addrs: Vec<_> = (0..40).map(|n| proxy.listener_addr(&format!("l{n}"))).collect();
    // All at once, several times over, and every connection to the one pool it was meant for.
    let clients: Vec<_> = addrs
        .into_iter()
        .enumerate()
        .map(|(n, addr)| {
            thread::spawn(move || {
                for round in 0..10 {
                    let mut client = connect(addr);
                    assert_eq!(line(&mut client), NAMES[n % NAMES.len()], "listener l{n}");
                    let words = format!("{n} {round}");
                    assert_eq!(ask(&mut client, &words), words);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    for server in &servers {
        assert_eq!(server.accepted(), 50);
    }
    wait_until("all counted", PATIENCE, || {
        let all = proxy.admin_json("/api/v1/listeners");
        all.as_array().unwrap().iter().all(|one| one["accepted"] == 10 && one["open"] == 0)
    });
}

#[test]
fn two_listeners_share_a_pool_and_its_turns() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let listener =
        |name| format!("[listener.{name}]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"app\"\n");
    let pool = format!("[pool.app]\ntargets = [\"{}\", \"{}\"]\n", a.addr(), b.addr());
    let proxy = start(&format!("{}{}{pool}", listener("one"), listener("two")));
    let (one, two) = (proxy.listener_addr("one"), proxy.listener_addr("two"));
    let names: Vec<_> = [one, two, two, two, one, one].map(|addr| line(&mut connect(addr))).to_vec();
    assert_eq!(names, ["a", "b", "a", "b", "a", "b"]);
}

#[test]
fn tcp_and_http_stand_side_by_side_before_the_same_servers() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let listener = |protocol| {
        format!("[listener.{protocol}]\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\npool = \"app\"\n")
    };
    let pool = format!("[pool.app]\ntargets = [\"{}\", \"{}\"]\n", a.addr(), b.addr());
    let proxy = start(&format!("{}{}{pool}", listener("tcp"), listener("http")));
    let plan = LoadPlan { connections: 4, requests: Some(500), answer_bytes: 20_000, ..LoadPlan::default() };
    let load = |name| Load::start(proxy.listener_addr(name), plan.clone());
    let (tcp, http) = (load("tcp"), load("http"));
    let client = tcp.finish().merge(http.finish());
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("tcp beside http");
}
