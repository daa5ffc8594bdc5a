//! A client goes to the target it had before.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use evenkeel_api::{Client, TargetState};
use evenkeel_testkit::{Evenkeel, Origin};

use crate::kit::{Caller, edit, eventually, ms, pool, read, reload, remove, wait_state, who};
use crate::support::{BIN, http, start, tcp};

const AFFINITY: &str = "passive = false\n[pool.app.affinity]\nby = \"client-ip\"\n";

fn clients(n: u8) -> Vec<IpAddr> {
    (1..=n).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 7, last))).collect()
}

/// Where a new connection of this client goes.
fn home(web: SocketAddr, client: IpAddr) -> String {
    who(&Caller::from(client, web).get()).to_owned()
}

fn homes(proxy: &Evenkeel, clients: &[IpAddr]) -> BTreeMap<IpAddr, String> {
    let web = proxy.listener_addr("web");
    clients.iter().map(|client| (*client, home(web, *client))).collect()
}

fn count(homes: &BTreeMap<IpAddr, String>, name: &str) -> usize {
    homes.values().filter(|home| *home == name).count()
}

#[test]
fn every_client_sticks_to_its_target() {
    for kind in ["http", "tcp"] {
        let (a, b) = (Origin::start("a"), Origin::start("b"));
        let of = if kind == "http" { http } else { tcp };
        let proxy = start(&of(&[a.addr(), b.addr()], AFFINITY));
        let clients = clients(24);
        let first = homes(&proxy, &clients);
        assert_eq!([count(&first, "a"), count(&first, "b")], [12, 12], "new clients take turns");
        for _ in 0..4 {
            assert_eq!(homes(&proxy, &clients), first, "{kind}");
        }
        // One connection with many requests, too.
        let mut client = Caller::from(clients[3], proxy.listener_addr("web"));
        for _ in 0..5 {
            assert_eq!(who(&client.get()), first[&clients[3]]);
        }
        assert_eq!(pool(&proxy).clients, Some(24));
    }
}

#[test]
fn a_client_whose_target_dies_moves_once() {
    for fail_back in [false, true] {
        let (mut a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
        let more = format!("{AFFINITY}fail_back = {fail_back}\n");
        let proxy = start(&http(&[a.addr(), b.addr(), c.addr()], &more));
        let clients = clients(18);
        let first = homes(&proxy, &clients);
        a.kill();
        let second = homes(&proxy, &clients);
        assert_eq!(count(&second, "a"), 0);
        for client in clients.iter().filter(|client| first[*client] != "a") {
            assert_eq!(second[client], first[client], "only those of the dead target move");
        }
        assert_eq!(homes(&proxy, &clients), second, "where they went is remembered");
        a.restart();
        let third = homes(&proxy, &clients);
        assert_eq!(third, if fail_back { first } else { second }, "fail_back = {fail_back}");
    }
}

#[test]
fn a_draining_target_keeps_its_clients_and_a_disabled_one_does_not() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], AFFINITY));
    let (old, new) = (clients(10), clients(20).split_off(10));
    let first = homes(&proxy, &old);
    edit(&proxy, a.addr(), "{\"state\": \"draining\"}");
    assert_eq!(homes(&proxy, &old), first);
    assert_eq!(count(&homes(&proxy, &new), "a"), 0, "new clients go elsewhere");
    edit(&proxy, a.addr(), "{\"state\": \"disabled\"}");
    assert_eq!(count(&homes(&proxy, &old), "a"), 0);
}

#[test]
fn the_table_survives_a_reload() {
    let (a, b, c) = (Origin::start("a"), Origin::start("b"), Origin::start("c"));
    let proxy = start(&http(&[a.addr(), b.addr()], AFFINITY));
    let clients = clients(20);
    let first = homes(&proxy, &clients);
    // Another algorithm, another target, other limits: the clients stay.
    let more = format!("algorithm = \"random\"\n{AFFINITY}ttl = \"2h\"\ntable_size = 5000\n");
    reload(&proxy, &http(&[c.addr(), a.addr(), b.addr()], &more));
    assert_eq!(homes(&proxy, &clients), first);
    // A target that is gone takes its clients' places along.
    remove(&proxy, a.addr());
    let second = homes(&proxy, &clients);
    assert_eq!(count(&second, "a"), 0);
    assert_eq!(homes(&proxy, &clients), second);
    for client in clients.iter().filter(|client| first[*client] == "b") {
        assert_eq!(second[client], "b");
    }
}

#[test]
fn clients_are_listed_by_api_and_command_line() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], AFFINITY));
    let clients = clients(6);
    let homes = homes(&proxy, &clients);
    let address_of = |name: &str| if name == "a" { a.addr().to_string() } else { b.addr().to_string() };
    let listed: Vec<Client> = read(&proxy, "/api/v1/clients");
    assert_eq!(listed.len(), 6);
    for client in &listed {
        let ip: IpAddr = client.address.parse().unwrap();
        assert_eq!((client.pool.as_str(), &client.target), ("app", &address_of(&homes[&ip])), "{client:?}");
        assert_eq!(client.uses, 1);
    }
    let api = proxy.admin_addr().to_string();
    let output = Command::new(BIN).args(["status", "clients", "--json", "--api", &api]).output().unwrap();
    let shown: Vec<Client> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(shown.len(), 6);
    let output = Command::new(BIN).args(["status", "clients", "--api", &api]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(clients.iter().all(|client| table.contains(&client.to_string())), "{table}");
}

#[test]
fn a_client_that_stays_away_is_forgotten() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], &format!("{AFFINITY}ttl = \"1s\"\n")));
    homes(&proxy, &clients(9));
    assert_eq!(pool(&proxy).clients, Some(9));
    eventually("them to be forgotten", ms(6000), || pool(&proxy).clients == Some(0));
}

/// The emergency target is nobody's home.
#[test]
fn clients_of_the_emergency_target_go_back() {
    let (mut a, e) = (Origin::start("a"), Origin::start("e"));
    let more = format!(
        "emergency = \"{}\"\n{AFFINITY}[pool.app.health]\ninterval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2\n",
        e.addr()
    );
    let proxy = start(&http(&[a.addr()], &more));
    let clients = clients(5);
    a.kill();
    wait_state(&proxy, a.addr(), TargetState::Down);
    assert_eq!(count(&homes(&proxy, &clients), "e"), 5);
    a.restart();
    wait_state(&proxy, a.addr(), TargetState::Up);
    assert_eq!(count(&homes(&proxy, &clients), "a"), 5);
}
