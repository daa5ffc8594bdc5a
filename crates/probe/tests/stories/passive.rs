//! What real traffic saw reaches the registry, and time passes there.

use std::time::Duration;

use evenkeel_base::{ClientAddr, Reason, WorkerId};
use evenkeel_state::{Caller, Lease, Standing, Tried, Turn, uptime};

use crate::world::{World, wait_for};

/// A lease on some target, as a plane takes it.
fn leased(world: &World, pool: &str, use_it: impl FnOnce(&Lease<'_>)) {
    let client = ClientAddr::from_socket("192.0.2.1:1".parse().unwrap());
    let caller = Caller { worker: WorkerId(0), client, random: 1, now: uptime() };
    let snapshot = world.registry.snapshot();
    match snapshot.pools[pool].lease(&caller, &Tried::default()).unwrap() {
        Turn::Now(lease) => use_it(&lease),
        Turn::Wait(_) => panic!("there is no limit"),
    }
}

/// Two targets; the first serves alone as long as it is available.
fn pool(passive: &str) -> String {
    format!(
        "algorithm = \"first\"\ntargets = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\n[pool.POOL.passive]\n\
         eject_for = \"300ms\"\n{passive}"
    )
}

#[tokio::test]
async fn failures_in_a_row_eject_and_time_ends_it() {
    let mut world = World::new(&[("p", pool("connect_errors = 3"))]);
    for _ in 0..3 {
        leased(&world, "p", |lease| lease.failed(Reason::ConnectRefused));
    }
    assert_eq!(world.until("p", "ejected").await, ("10.0.0.1:1".to_owned(), Reason::ConnectErrors));
    assert_eq!(world.until("p", "up").await, ("10.0.0.1:1".to_owned(), Reason::EjectionOver));
}

#[tokio::test]
async fn a_share_of_server_errors_ejects() {
    let mut world = World::new(&[("p", pool("min_requests = 10\nhttp_5xx_percent = 50"))]);
    // What was before the sampler looked first is not counted.
    (0..20).for_each(|_| leased(&world, "p", |lease| lease.answered(500, 1)));
    tokio::time::sleep(evenkeel_probe::SAMPLE_EVERY * 2).await;
    assert_eq!(world.target("p", 0).standing(), Standing::Available);
    for _ in 0..6 {
        leased(&world, "p", |lease| lease.answered(200, 1));
        leased(&world, "p", |lease| lease.answered(503, 1));
    }
    assert_eq!(world.until("p", "ejected").await, ("10.0.0.1:1".to_owned(), Reason::ErrorShare));
}

#[tokio::test]
async fn of_thousands_of_targets_each_one_is_looked_at() {
    let address = |n: usize| format!("10.0.{}.{}:1", n / 250, n % 250 + 1);
    let all: Vec<_> = (0..6_000).map(|n| format!("\"{}\"", address(n))).collect();
    let passive = "[pool.POOL.passive]\nmin_requests = 10\nhttp_5xx_percent = 50";
    let mut world = World::new(&[("p", format!("targets = [{}]\n{passive}", all.join(", ")))]);
    // Three turns, and one more to be sure: what was before is not counted.
    tokio::time::sleep(evenkeel_probe::SAMPLE_EVERY * 4).await;
    for bad in [0, 2_501, 5_999] {
        let snapshot = world.registry.snapshot();
        let live = &snapshot.pools["p"].targets[bad].live;
        live.cell(WorkerId(0)).answers[4].add(20);
        assert_eq!(world.until("p", "ejected").await, (address(bad), Reason::ErrorShare));
    }
}

#[tokio::test]
async fn f05_requests_that_get_no_answer_in_time_count_as_server_errors() {
    let mut world =
        World::new(&[("p", pool("min_requests = 10\nhttp_5xx_percent = 50\nconnect_errors = 0"))]);
    leased(&world, "p", |lease| lease.answered(200, 1));
    tokio::time::sleep(evenkeel_probe::SAMPLE_EVERY * 2).await;
    for _ in 0..12 {
        leased(&world, "p", |lease| lease.failed(Reason::RequestTimeout));
    }
    assert_eq!(world.until("p", "ejected").await, ("10.0.0.1:1".to_owned(), Reason::ErrorShare));
}

#[tokio::test]
async fn clients_not_seen_for_long_are_forgotten() {
    let pool = "targets = [\"10.0.0.1:1\"]\n[pool.POOL.affinity]\nttl = \"1s\"".to_owned();
    let world = World::new(&[("p", pool)]);
    leased(&world, "p", |_| ());
    let snapshot = world.registry.snapshot();
    let clients = snapshot.pools["p"].clients.as_ref().unwrap();
    assert_eq!(clients.len(), 1);
    wait_for("the client is forgotten", || clients.is_empty()).await;
    assert!(uptime() > Duration::from_secs(1));
}
