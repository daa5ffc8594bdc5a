//! What changes while probes go on.

use std::net::IpAddr;
use std::sync::atomic::Ordering::SeqCst;

use evenkeel_base::{Reason, Weight};
use evenkeel_config::Target;
use evenkeel_state::{Duty, Standing, TargetEdit};

use crate::origin::{Origin, closed_port, hold};
use crate::world::{World, config, probed, probed_by_http, wait_for};

fn target(address: &impl ToString) -> Target {
    let address = address.to_string().parse().unwrap();
    Target { address, weight: Weight::ONE, priority: 0, max_connections: None }
}

/// Long enough for several probes: until this origin was asked three times more.
async fn some_probes_of(origin: &Origin) {
    let before = origin.accepted.load(SeqCst);
    wait_for("the origin is probed", || origin.accepted.load(SeqCst) >= before + 3).await;
}

#[tokio::test]
async fn targets_come_and_go_while_others_are_probed() {
    let (first, second) = (Origin::tcp(), Origin::tcp());
    let mut world = World::new(&[("p", probed(&[first.addr.to_string()], ""))]);
    world.until("p", "up").await;
    world.registry.add_target("p", target(&second.addr)).unwrap();
    loop {
        // Added it is unknown, which shows as up already; then its first probe succeeds.
        if world.until("p", "up").await == (second.addr.to_string(), Reason::ProbeSucceeded) {
            break;
        }
    }
    world.registry.remove_target("p", &target(&second.addr).address).unwrap();
    some_probes_of(&first).await;
    let before = second.accepted.load(SeqCst);
    some_probes_of(&first).await;
    assert_eq!(second.accepted.load(SeqCst), before, "a removed target is left alone");
}

#[tokio::test]
async fn another_policy_is_followed_at_once() {
    let origin = Origin::http("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
    let addr = origin.addr.to_string();
    let slowly = format!("targets = [\"{addr}\"]\n[pool.POOL.health]\ninterval = \"1h\"\nrise = 1\nfall = 1");
    let mut world = World::new(&[("p", slowly)]);
    world.until("p", "up").await;
    world.registry.apply(config(&[("p", probed_by_http(std::slice::from_ref(&addr), ""))]));
    assert_eq!(world.until("p", "down").await, (addr.clone(), Reason::ProbeStatus));
    world.registry.apply(config(&[("p", format!("targets = [\"{addr}\"]"))]));
    wait_for("without probes there is no verdict", || world.target("p", 0).standing() == Standing::Available)
        .await;
}

#[tokio::test]
async fn a_name_is_probed_once_it_has_an_address_and_anew_with_each() {
    let origin = Origin::at(([127, 0, 0, 1], 0).into(), hold);
    let health = "[pool.POOL.health]\ninterval = \"1h\"\nrise = 1\nfall = 1";
    let named = format!("targets = [\"db.test:{}\"]\n{health}", origin.addr.port());
    let mut world = World::new(&[("p", named), ("clock", probed(&[origin.addr.to_string()], ""))]);
    some_probes_of(&origin).await;
    assert_eq!(world.target("p", 0).standing(), Standing::Unresolved);
    world.registry.resolved("db.test", vec![IpAddr::from([127, 0, 0, 1])]);
    while world.until("p", "up").await.1 != Reason::ProbeSucceeded {}
    // An hour is a long time: new addresses are asked at once. Nobody listens on this one.
    world.registry.resolved("db.test", vec![IpAddr::from([127, 0, 0, 2])]);
    assert_eq!(world.until("p", "down").await.1, Reason::ProbeRefused);
}

#[tokio::test]
async fn a_disabled_target_rests_and_keeps_its_verdict() {
    let (clock, closed) = (Origin::tcp(), closed_port());
    let pools = [
        ("p", probed(&[closed.to_string(), clock.addr.to_string()], "")),
        ("clock", probed(&[clock.addr.to_string()], "")),
    ];
    let mut world = World::new(&pools);
    world.until("p", "down").await;
    let edit = |duty| {
        let edit = TargetEdit { duty: Some(duty), ..TargetEdit::default() };
        world.registry.edit_target("p", &target(&closed).address, edit).unwrap();
    };
    edit(Duty::Disabled);
    let origin = Origin::at(closed, hold);
    some_probes_of(&clock).await;
    assert_eq!(origin.accepted.load(SeqCst), 0);
    edit(Duty::Enabled);
    assert_eq!(world.target("p", 0).standing(), Standing::Down(Reason::ProbeRefused));
    while world.until("p", "up").await.0 != closed.to_string() {}
}

#[tokio::test]
async fn a_thousand_targets_that_come_and_go_leave_nothing_behind() {
    let origin = Origin::at(([0, 0, 0, 0], 0).into(), hold);
    let port = origin.addr.port();
    let hanging =
        "targets = []\n[pool.POOL.health]\ncheck = \"http\"\ninterval = \"50ms\"\ntimeout = \"50ms\"";
    let world = World::new(&[("p", hanging.to_owned())]);
    for round in 0..50 {
        let targets = (1..=20).map(|n| target(&format!("127.1.{round}.{n}:{port}"))).collect::<Vec<_>>();
        for target in &targets {
            world.registry.add_target("p", target.clone()).unwrap();
        }
        let open = || origin.open.load(SeqCst);
        wait_for("probes are under way", || open() >= 5).await;
        for target in &targets {
            world.registry.remove_target("p", &target.address).unwrap();
        }
        wait_for("probes are cut", || open() == 0).await;
    }
    assert!(origin.accepted.load(SeqCst) >= 250);
    let metrics = tokio::runtime::Handle::current().metrics();
    wait_for("the prober alone is left", || metrics.num_alive_tasks() == 1).await;
    // Other tests of this process have descriptors, too; a thousand would show.
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(descriptors < 800, "{descriptors} descriptors");
}
