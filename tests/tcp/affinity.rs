//! A client goes to the target it had before.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use evenkeel_testkit::{Addr, Evenkeel, wait_until};

use crate::peers::{PATIENCE, Server, connect_from, line};
use crate::support::{start, tcp};

fn source(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, n)
}

/// The name of the server that client `n` is sent to.
fn server_of(proxy: &Evenkeel, n: u8) -> String {
    line(&mut connect_from(source(n), proxy.listener_addr("web")))
}

fn servers_of(proxy: &Evenkeel, clients: u8) -> Vec<String> {
    (1..=clients).map(|n| server_of(proxy, n)).collect()
}

#[test]
fn each_client_keeps_its_target() {
    let (a, b, c) = (Server::echo("a"), Server::echo("b"), Server::echo("c"));
    let proxy = start(&tcp(&[a.addr(), b.addr(), c.addr()], "[pool.app.affinity]"));
    let first = servers_of(&proxy, 12);
    // A new client is placed by the algorithm: equal shares.
    let mut shares: HashMap<&str, u32> = HashMap::new();
    first.iter().for_each(|name| *shares.entry(name).or_default() += 1);
    assert_eq!(shares, HashMap::from([("a", 4), ("b", 4), ("c", 4)]));
    for _ in 0..10 {
        assert_eq!(servers_of(&proxy, 12), first);
    }
    let clients = proxy.admin_json("/api/v1/clients");
    let clients = clients.as_array().unwrap();
    assert_eq!(clients.len(), 12);
    for client in clients {
        let n: u8 = client["address"].as_str().unwrap().rsplit('.').next().unwrap().parse().unwrap();
        let name = &first[usize::from(n) - 1];
        let server = [("a", &a), ("b", &b), ("c", &c)].into_iter().find(|(one, _)| one == name).unwrap().1;
        assert_eq!(client["target"], server.addr().to_string());
        assert_eq!(client["uses"], 11);
    }
}

/// Two servers, of which `b` dies and returns; who served client 1 and client 2 before, meanwhile and after.
fn over_a_death(more: &str) -> [Vec<String>; 3] {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let place: Addr = b.addr().clone();
    let affinity = format!("passive = false\n[pool.app.affinity]\n{more}");
    let proxy = start(&tcp(&[a.addr(), &place], &affinity));
    let before = servers_of(&proxy, 2);
    drop(b);
    let meanwhile = servers_of(&proxy, 2);
    let again = servers_of(&proxy, 2);
    assert_eq!(meanwhile, again);
    let _b = Server::echo_on(&place, "b");
    [before, meanwhile, servers_of(&proxy, 2)]
}

#[test]
fn a_client_whose_target_died_stays_with_the_new_one() {
    let [before, meanwhile, after] = over_a_death("");
    assert_eq!(
        (before, meanwhile, after),
        (vec!["a".into(), "b".into()], vec!["a".into(); 2], vec!["a".into(); 2])
    );
}

#[test]
fn with_fail_back_a_client_returns_to_its_first_target() {
    let [before, meanwhile, after] = over_a_death("fail_back = true");
    assert_eq!((&before, meanwhile), (&vec!["a".into(), "b".into()], vec!["a".to_owned(); 2]));
    assert_eq!(after, before);
}

#[test]
fn a_client_is_forgotten_after_the_ttl_and_no_sooner() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let proxy = start(&tcp(&[a.addr(), b.addr()], "[pool.app.affinity]\nttl = \"2s\""));
    let known = || proxy.admin_json("/api/v1/clients").as_array().unwrap().len();
    assert_eq!(server_of(&proxy, 1), "a");
    // Each visit renews it.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(server_of(&proxy, 1), "a");
    }
    assert_eq!(known(), 1);
    std::thread::sleep(Duration::from_millis(2100));
    // Unknown again, it is placed by whose turn it is.
    assert_eq!(server_of(&proxy, 1), "b");
    assert_eq!(server_of(&proxy, 1), "b");
}

#[test]
fn the_table_is_bounded_and_the_least_recent_client_leaves() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let proxy = start(&tcp(&[a.addr(), b.addr()], "[pool.app.affinity]\ntable_size = 64"));
    for n in 1..=250 {
        assert_ne!(server_of(&proxy, n), "");
    }
    wait_until("a bounded table", PATIENCE, || {
        let known = proxy.admin_json("/api/v1/clients").as_array().unwrap().len();
        (1..=64).contains(&known)
    });
    // Whoever came last is known still: the turn passes it by.
    let last = server_of(&proxy, 251);
    for _ in 0..3 {
        assert_eq!(server_of(&proxy, 251), last);
    }
}

#[test]
fn a_drained_target_keeps_its_clients_and_gets_no_new_ones() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let proxy = start(&tcp(&[a.addr(), b.addr()], "[pool.app.affinity]"));
    assert_eq!(servers_of(&proxy, 2), ["a", "b"]);
    let path = format!("/api/v1/pools/app/targets/{}/drain", b.addr());
    assert_eq!(proxy.admin("POST", &path, "").0 / 100, 2);
    assert_eq!(servers_of(&proxy, 6), ["a", "b", "a", "a", "a", "a"]);
}
