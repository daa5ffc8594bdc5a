//! Is the port open?

use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel_base::Reason;

use crate::origin::{Origin, closed_port, full_queue, hold};
use crate::world::{World, probed};

#[tokio::test]
async fn a_target_comes_goes_and_comes_back() {
    let origin = Origin::tcp();
    let addr = origin.addr;
    let mut world = World::new(&[("p", probed(&[addr.to_string()], ""))]);
    assert_eq!(world.until("p", "up").await, (addr.to_string(), Reason::ProbeSucceeded));
    drop(origin);
    assert_eq!(world.until("p", "down").await, (addr.to_string(), Reason::ProbeRefused));
    let _origin = Origin::at(addr, hold);
    assert_eq!(world.until("p", "up").await, (addr.to_string(), Reason::ProbeSucceeded));
}

#[tokio::test]
async fn a_target_that_takes_no_connection_times_out() {
    let (addr, _filler) = full_queue();
    let mut world = World::new(&[("p", probed(&[addr.to_string()], ""))]);
    assert_eq!(world.until("p", "down").await.1, Reason::ProbeTimeout);
}

#[tokio::test]
async fn another_port_is_asked_where_the_configuration_says_so() {
    let (closed, origin) = (closed_port(), Origin::tcp());
    let health = format!("port = {}", origin.addr.port());
    let mut world = World::new(&[("p", probed(&[closed.to_string()], &health))]);
    assert_eq!(world.until("p", "up").await.0, closed.to_string());
}

#[tokio::test]
async fn unix_sockets_are_asked_too() {
    let directory = std::env::temp_dir().join(format!("evenkeel-probe-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("target.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut world = World::new(&[("p", probed(&[format!("unix:{}", path.display())], ""))]);
    world.until("p", "up").await;
    drop(listener);
    assert_eq!(world.until("p", "down").await.1, Reason::ProbeRefused);
    std::fs::remove_file(&path).unwrap();
    let _listener = UnixListener::bind(&path).unwrap();
    world.until("p", "up").await;
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn probes_leave_from_the_pools_source_address() {
    let seen = Arc::new(Mutex::new(None));
    let peer = Arc::clone(&seen);
    let origin = Origin::new(move |stream| {
        *peer.lock().unwrap() = stream.peer_addr().ok();
    });
    let mut world =
        World::new(&[("p", format!("source = \"127.0.0.77\"\n{}", probed(&[origin.addr.to_string()], "")))]);
    world.until("p", "up").await;
    crate::world::wait_for("the origin saw the probe", || seen.lock().unwrap().is_some()).await;
    assert_eq!(seen.lock().unwrap().unwrap().ip().to_string(), "127.0.0.77");
}

#[tokio::test]
async fn f16_when_all_were_down_the_first_one_back_serves_within_a_second() {
    // On a machine that is busy with other things it may take longer, but not each time.
    let mut took = Vec::new();
    for _ in 0..5 {
        took.push(recovery().await);
        if took.last() < Some(&Duration::from_secs(1)) {
            return;
        }
    }
    panic!("{took:?}");
}

/// How long a target of a pool without any other takes to come back.
async fn recovery() -> Duration {
    let (addr, other) = (closed_port(), closed_port());
    // By its own interval it would take ten seconds.
    let health = "[pool.POOL.health]\ninterval = \"5s\"\ntimeout = \"1s\"\nrise = 2\nfall = 1";
    let mut world = World::new(&[("p", format!("targets = [\"{addr}\", \"{other}\"]\n{health}"))]);
    world.until("p", "down").await;
    world.until("p", "down").await;
    let back = Instant::now();
    let _origin = Origin::at(addr, hold);
    assert_eq!(world.until("p", "up").await.0, addr.to_string());
    back.elapsed()
}

#[tokio::test]
async fn a_first_success_alone_does_not_bring_a_target_back() {
    let addr = closed_port();
    let health = "[pool.POOL.health]\ninterval = \"1s\"\ntimeout = \"1s\"\nrise = 3\nfall = 1";
    let mut world = World::new(&[("p", format!("targets = [\"{addr}\"]\n{health}"))]);
    world.until("p", "down").await;
    let back = Instant::now();
    let _origin = Origin::at(addr, hold);
    world.until("p", "up").await;
    // The second and the third probe come 250 ms ± 10 % after the one before.
    assert!(back.elapsed() >= Duration::from_millis(450), "{:?}", back.elapsed());
}
