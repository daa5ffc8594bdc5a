//! Every algorithm of the configuration, through the real binary.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use evenkeel_testkit::{Evenkeel, Load, LoadPlan, Origin, OriginJournal, judge};

use crate::kit::{Caller, get, ms, one_worker, quoted, reload, remove, wait_idle, who};
use crate::places::ALGORITHMS;
use crate::support::{http, start};

fn start_with(algorithm: &str, targets: &[String], more: &str) -> Evenkeel {
    let config = one_worker(targets, &format!("algorithm = \"{algorithm}\"\n{more}"));
    start(&config.replace("count = 1", "count = 2"))
}

fn plain(origins: &[Origin]) -> Vec<String> {
    origins.iter().map(|origin| quoted(origin.addr())).collect()
}

fn weighted(origins: &[Origin], weights: &[u16]) -> Vec<String> {
    let entry = |(origin, weight): (&Origin, &u16)| {
        format!("{{ address = \"{}\", weight = {weight} }}", origin.addr())
    };
    origins.iter().zip(weights).map(entry).collect()
}

fn start_origins<const N: usize>(names: [&str; N]) -> [Origin; N] {
    names.map(Origin::start)
}

/// Which share of so many requests the first origin got, in percent.
fn first_share(proxy: &Evenkeel, origins: &[Origin], connections: usize, requests: u64) -> usize {
    let plan = LoadPlan { connections, requests: Some(requests), ..LoadPlan::default() };
    origins.iter().for_each(|origin| drop(origin.journal().take()));
    let client = Load::run(proxy.listener_addr("web"), plan);
    let journals: Vec<&OriginJournal> = origins.iter().map(Origin::journal).collect();
    judge(&client, &journals).assert_all_answered("algorithms");
    client.answers_of(origins[0].name()) * 100 / client.records.len()
}

#[test]
fn equal_targets_get_about_the_same_and_weights_count() {
    // Not for hashing, whose shares are those of the clients; nor for `first`; nor for `peak-ewma`, which goes by
    // measured times, and on a busy machine those are what they are.
    for algorithm in ["round-robin", "least-connections", "random", "p2c"] {
        let origins = start_origins(["a", "b"]);
        // The same time for every answer, so that those who look at the load see the same.
        origins.iter().for_each(|origin| origin.set(|o| o.delay_head = ms(4)));
        let even = first_share(&start_with(algorithm, &plain(&origins), ""), &origins, 12, 900);
        // Five standard deviations of 900 fair draws are 8 %.
        assert!(even.abs_diff(50) <= 8, "{algorithm}: {even} % instead of 50");
        let proxy = start_with(algorithm, &weighted(&origins, &[3, 1]), "");
        let heavy = first_share(&proxy, &origins, 12, 900);
        assert!(heavy.abs_diff(75) <= 8, "{algorithm}: {heavy} % instead of 75");
        println!("{algorithm}: {even} % of equal weights, {heavy} % of 3:1");
    }
}

#[test]
fn a_slow_target_gets_less_where_the_load_is_looked_at() {
    for algorithm in ["least-connections", "p2c", "peak-ewma"] {
        let origins = start_origins(["slow", "b", "c"]);
        origins[0].set(|o| o.delay_head = ms(60));
        origins[1].set(|o| o.delay_head = ms(3));
        origins[2].set(|o| o.delay_head = ms(3));
        let share = first_share(&start_with(algorithm, &plain(&origins), ""), &origins, 9, 600);
        println!("{algorithm}: the slow one got {share} %");
        assert!(share < 20, "{algorithm}: the slow one got {share} % instead of less than a third");
    }
}

/// What is known of a target fades, or a single slow answer would send it away for good.
#[test]
fn a_target_that_was_slow_once_is_tried_again_by_peak_ewma() {
    let origins = start_origins(["a", "b"]);
    origins.iter().for_each(|origin| origin.set(|o| o.delay_head = ms(10)));
    let proxy = start_with("peak-ewma", &plain(&origins), "");
    let mut client = Caller::to(proxy.listener_addr("web"));
    let mut until = |name: &str| (1..2000).find(|_| who(&client.get()) == name).expect("it to be used");
    until("a");
    until("b");
    origins[1].once(|o| o.delay_head = ms(80));
    until("b");
    let turns = until("b");
    println!("peak-ewma: tried again after {turns} requests");
    assert!(turns > 20, "a slow answer counts at once: tried again after {turns} requests of 10 ms");
}

fn sources() -> Vec<IpAddr> {
    (1..=60).map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 9, last))).collect()
}

fn homes(web: SocketAddr) -> BTreeMap<IpAddr, String> {
    let home = |client: IpAddr| (client, who(&Caller::from(client, web).get()).to_owned());
    sources().into_iter().map(home).collect()
}

#[test]
fn hashing_sends_a_source_address_to_the_same_target_each_time() {
    for algorithm in ["ip-hash", "consistent-hash", "maglev", "rendezvous"] {
        let origins = start_origins(["a", "b", "c", "d"]);
        // One worker gives a request up before it reads the next one: with more, the bounded load of a
        // consistent hash would now and then still see the last one, and spread the two.
        let proxy = start(&one_worker(&plain(&origins), &format!("algorithm = \"{algorithm}\"")));
        let web = proxy.listener_addr("web");
        let first = homes(web);
        for name in ["a", "b", "c", "d"] {
            let share = first.values().filter(|home| *home == name).count();
            assert!((3..=30).contains(&share), "{algorithm}: {name} got {share} of 60: {first:?}");
        }
        assert_eq!(homes(web), first, "{algorithm}");

        remove(&proxy, origins[3].addr());
        let second = homes(web);
        let moved = sources().iter().filter(|client| first[*client] != second[*client]).count();
        let of_d = first.values().filter(|home| *home == "d").count();
        println!("{algorithm}: {of_d} lost their target, {moved} moved");
        assert!(second.values().all(|home| home != "d"));
        // A plain hash gives no such promise; Maglev's is a small disturbance beyond those that must move.
        match algorithm {
            "ip-hash" => {}
            "maglev" => assert!(moved <= of_d + 9, "{moved} moved, {of_d} had to"),
            _ => assert_eq!(moved, of_d, "{algorithm}: only those of the target that left move"),
        }
        crate::kit::add(&proxy, origins[3].addr());
        assert_eq!(homes(web), first, "{algorithm}: all are back");
    }
}

/// Behind a proxy all clients share an address; their ports differ.
#[test]
fn ip_port_hash_tells_the_connections_of_one_address_apart() {
    let origins = start_origins(["a", "b", "c"]);
    let proxy = start_with("ip-port-hash", &plain(&origins), "");
    let mut clients: Vec<Caller> = (0..60).map(|_| Caller::to(proxy.listener_addr("web"))).collect();
    let homes = |clients: &mut Vec<Caller>| -> Vec<String> {
        clients.iter_mut().map(|client| who(&client.get()).to_owned()).collect()
    };
    let first = homes(&mut clients);
    for name in ["a", "b", "c"] {
        let share = first.iter().filter(|home| *home == name).count();
        assert!(share >= 6, "{name} got {share} of 60");
    }
    assert_eq!(homes(&mut clients), first, "a connection stays where it is");
}

#[test]
fn first_takes_the_first_by_priority_and_then_by_order() {
    let [mut a, mut b, c] = start_origins(["a", "b", "c"]);
    let entry = |origin: &Origin, priority: u16| {
        format!("{{ address = \"{}\", priority = {priority} }}", origin.addr())
    };
    let targets = [entry(&c, 2), entry(&a, 1), entry(&b, 1)];
    let proxy = start_with("first", &targets, "passive = false");
    let web = proxy.listener_addr("web");
    let answers = || (0..4).map(|_| who(&get(web)).to_owned()).collect::<Vec<_>>();
    assert_eq!(answers(), ["a"; 4]);
    a.stop();
    assert_eq!(answers(), ["b"; 4]);
    b.stop();
    assert_eq!(answers(), ["c"; 4]);
    a.restart();
    assert_eq!(answers(), ["a"; 4]);
    crate::kit::edit(&proxy, c.addr(), "{\"priority\": 0}");
    assert_eq!(answers(), ["c"; 4]);
}

/// Priorities hold for every algorithm: the others are used only when the preferred ones are not available.
#[test]
fn a_higher_priority_number_waits_for_all_lower_ones_to_fail() {
    for algorithm in ALGORITHMS {
        let [mut a, b] = start_origins(["a", "b"]);
        let targets = [
            format!("{{ address = \"{}\", priority = 5 }}", b.addr()),
            format!("{{ address = \"{}\", priority = 0 }}", a.addr()),
        ];
        let proxy = start_with(algorithm, &targets, "passive = false");
        let web = proxy.listener_addr("web");
        let answers = || (0..6).map(|_| who(&get(web)).to_owned()).collect::<Vec<_>>();
        assert_eq!(answers(), ["a"; 6], "{algorithm}");
        a.stop();
        assert_eq!(answers(), ["b"; 6], "{algorithm}");
    }
}

#[test]
fn every_algorithm_serves_through_a_dead_target() {
    for algorithm in ALGORITHMS {
        let mut origins = start_origins(["a", "b", "c"]);
        let proxy = start_with(algorithm, &plain(&origins), "");
        let web = proxy.listener_addr("web");
        let load = Load::start(web, LoadPlan { connections: 4, keep_alive: false, ..LoadPlan::default() });
        load.wait_answers(40);
        origins[0].kill();
        load.wait_answers(60);
        let journals = origins.each_ref().map(Origin::journal);
        judge(&load.stop(), &journals).assert_all_answered(&format!("a dead target, {algorithm}"));
    }
}

#[test]
fn the_algorithm_changes_live() {
    let origins = start_origins(["a", "b", "c"]);
    let targets = origins.each_ref().map(|origin| origin.addr().clone());
    let proxy = start(&http(&targets, ""));
    let load = Load::start(proxy.listener_addr("web"), LoadPlan { connections: 6, ..LoadPlan::default() });
    for algorithm in ALGORITHMS {
        load.wait_answers(60);
        reload(&proxy, &http(&targets, &format!("algorithm = \"{algorithm}\"")));
        assert_eq!(crate::kit::pool(&proxy).algorithm, algorithm);
    }
    // What was under way at the last change has come to its end.
    targets[1..].iter().for_each(|addr| wait_idle(&proxy, addr));
    let before = [1, 2].map(|n: usize| origins[n].journal().len());
    load.wait_answers(100);
    assert_eq!([1, 2].map(|n: usize| origins[n].journal().len()), before, "the last one was `first`");
    let journals = origins.each_ref().map(Origin::journal);
    judge(&load.stop(), &journals).assert_all_answered("algorithms, live");
}
