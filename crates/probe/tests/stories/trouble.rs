//! Trouble of our own is no target's fault; and many targets are no trouble.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

use evenkeel_base::Reason;
use evenkeel_state::{EventKind, Standing};

use crate::origin::{Origin, full_queue, hold, read_head};
use crate::world::{World, http_each, probed_by_http, wait_for};

/// F37, F41: while this thread stands still, answers lie in their sockets, time runs out, and targets close
/// connections that nothing came over. None of it is counted.
#[tokio::test]
async fn f37_probes_that_nobody_listened_to_are_not_counted() {
    let answer = |mut stream: TcpStream| {
        read_head(&mut stream);
        sleep(Duration::from_millis(30));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    };
    // Two addresses. Nobody answers at the first one, so half of each probe's time is spent there; what is left
    // to do then needs this thread several times.
    let (silent, _filler) = full_queue();
    let origin = Origin::at(SocketAddr::from(([127, 0, 0, 2], silent.port())), answer);
    let health =
        "[pool.POOL.health]\ncheck = \"http\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\nrise = 1\nfall = 1";
    let mut world = World::new(&[("p", format!("targets = [\"db.test:{}\"]\n{health}", silent.port()))]);
    world.registry.resolved("db.test", vec![silent.ip(), origin.addr.ip()]);
    while world.until("p", "up").await.1 != Reason::ProbeSucceeded {}
    for _ in 0..4 {
        let asked = origin.accepted.load(SeqCst);
        wait_for("a probe is answered", || origin.accepted.load(SeqCst) > asked).await;
        // The next one has just begun.
        tokio::time::sleep(Duration::from_millis(120)).await;
        sleep(Duration::from_millis(500));
    }
    let asked = origin.accepted.load(SeqCst);
    wait_for("probes go on", || origin.accepted.load(SeqCst) > asked + 1).await;
    assert_eq!(world.target("p", 0).standing(), Standing::Available);
    while let Ok(event) = world.events.try_recv() {
        let EventKind::Target { to, .. } = event.kind else { continue };
        assert_ne!(to, Some("down"), "{event:?}");
    }
}

#[tokio::test]
async fn f04_a_target_that_hangs_is_found_down_and_found_again() {
    let hangs = Arc::new(AtomicUsize::new(1));
    let state = Arc::clone(&hangs);
    let origin = Origin::new(move |mut stream| {
        read_head(&mut stream);
        if state.load(SeqCst) == 1 {
            return hold(stream);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let mut world = World::new(&[("p", http_each("300ms", &[origin.addr.to_string()], ""))]);
    assert_eq!(world.until("p", "down").await.1, Reason::ProbeTimeout);
    hangs.store(0, SeqCst);
    assert_eq!(world.until("p", "up").await.1, Reason::ProbeSucceeded);
}

#[tokio::test]
async fn many_targets_are_asked_a_bounded_number_at_once() {
    // Takes connections as long as the kernel does, and says nothing.
    let silent = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let targets: Vec<String> =
        (0..600).map(|n| format!("127.2.{}.{}:{port}", n / 200, n % 200 + 1)).collect();
    let mut world = World::new(&[("p", http_each("300ms", &targets, ""))]);
    let metrics = tokio::runtime::Handle::current().metrics();
    let mut most = 0;
    for _ in 0..600 {
        world.until("p", "down").await;
        most = most.max(metrics.num_alive_tasks());
    }
    // The prober itself is one.
    assert!((100..=evenkeel_probe::MAX_PROBES + 1).contains(&most), "{most}");
}

#[tokio::test]
async fn nothing_goes_on_when_the_prober_is_dropped() {
    let origin = Origin::new(hold);
    let world = World::new(&[("p", probed_by_http(&[origin.addr.to_string()], ""))]);
    wait_for("a probe is under way", || origin.open.load(SeqCst) == 1).await;
    world.prober.abort();
    wait_for("the probe is cut", || origin.open.load(SeqCst) == 0).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    wait_for("no task is left", || metrics.num_alive_tasks() == 0).await;
}
