//! The TCP link keeps its plan to the byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel_testkit::{Link, LinkPlan, Load, LoadPlan, Origin, Way, judge, wait_until};

/// Accepts one connection, sends `answer`, closes its half, and returns all it read and how that ended.
fn peer(answer: Vec<u8>) -> (SocketAddr, JoinHandle<(Vec<u8>, bool)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.write_all(&answer);
        let _ = stream.shutdown(Shutdown::Write);
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes);
        (bytes, end.is_ok())
    });
    (addr, thread)
}

fn open(link: &Link) -> TcpStream {
    let stream = TcpStream::connect(link.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

fn counting(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

/// What arrives of 100 kB sent down a link with this plan, and whether it ended in order.
fn down(plan: LinkPlan) -> (Vec<u8>, bool) {
    let (addr, _peer) = peer(counting(100_000));
    let link = Link::start(addr, plan);
    let mut received = Vec::new();
    let end = open(&link).read_to_end(&mut received);
    (received, end.is_ok())
}

#[test]
fn a_plain_link_changes_nothing_and_passes_half_closes_on() {
    let (addr, peer) = peer(counting(300_000));
    let link = Link::start(addr, LinkPlan::default());
    let mut stream = open(&link);
    stream.write_all(&counting(200_000)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert!(received == counting(300_000));
    assert!(peer.join().unwrap() == (counting(200_000), true));
    wait_until("the link to forget it", Duration::from_secs(5), || link.connections() == 0);
    assert_eq!(link.accepted(), 1);
}

#[test]
fn load_through_a_plain_link_is_whole() {
    let origin = Origin::start("a");
    let link = Link::start(origin.addr(), LinkPlan::default());
    let plan = LoadPlan { connections: 4, requests: Some(400), answer_bytes: 3000, ..LoadPlan::default() };
    judge(&Load::run(link.addr(), plan), &[origin.journal()]).assert_all_answered("link");
}

#[test]
fn a_cut_falls_after_exactly_that_byte_in_either_direction() {
    for bytes in [0, 1, 1000, 16_384, 65_537] {
        for rst_instead_of_fin in [false, true] {
            let way = Way { cut_after_bytes: Some(bytes), rst_instead_of_fin, ..Way::default() };
            let (received, in_order) = down(LinkPlan { down: way.clone(), ..LinkPlan::default() });
            assert_eq!((received.len() as u64, in_order), (bytes, !rst_instead_of_fin));
            assert!(received == counting(bytes as usize));

            let (addr, peer) = peer(Vec::new());
            let link = Link::start(addr, LinkPlan { up: way, ..LinkPlan::default() });
            let mut stream = open(&link);
            let _ = stream.write_all(&counting(100_000));
            let (received, in_order) = peer.join().unwrap();
            assert_eq!((received.len() as u64, in_order), (bytes, !rst_instead_of_fin));
        }
    }
}

#[test]
fn the_same_seed_corrupts_the_same_bytes() {
    let plan = |seed| {
        let way = Way { corrupt_one_in: Some(1000), ..Way::default() };
        LinkPlan { seed, down: way, ..LinkPlan::default() }
    };
    let (first, second, other) = (down(plan(1)).0, down(plan(1)).0, down(plan(2)).0);
    assert!(first == second && first != other);
    let changed = first.iter().zip(counting(100_000)).filter(|(a, b)| *a != b).count();
    assert!((50..200).contains(&changed), "{changed} of 100000");
}

#[test]
fn delay_and_bandwidth_take_their_time() {
    let started = Instant::now();
    let way = Way { delay: Duration::from_millis(100), jitter: Duration::from_millis(20), ..Way::default() };
    let (received, in_order) = down(LinkPlan { down: way, ..LinkPlan::default() });
    assert!(received == counting(100_000) && in_order);
    let took = started.elapsed();
    // A delay is a longer way, not a slower one: many pieces are on it at once.
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(600), "{took:?}");
    let started = Instant::now();
    let way = Way { bandwidth: Some(400_000), ..Way::default() };
    assert!(down(LinkPlan { down: way, ..LinkPlan::default() }).0 == counting(100_000));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(245) && took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_stall_is_exact_and_ends_when_the_plan_says_so() {
    let (addr, _peer) = peer(counting(50_000));
    let way = Way { stall_after_bytes: Some(12_345), ..Way::default() };
    let link = Link::start(addr, LinkPlan { down: way, ..LinkPlan::default() });
    let mut stream = open(&link);
    let mut received = vec![0; 12_345];
    stream.read_exact(&mut received).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "no byte may pass");
    link.set(|plan| plan.down.stall_after_bytes = None);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read_to_end(&mut received).unwrap();
    assert!(received == counting(50_000));
}

#[test]
fn a_cut_by_hand_and_a_dead_far_end_are_passed_on() {
    let origin = Origin::start("a");
    let link = Link::start(origin.addr(), LinkPlan::default());
    let arrived = |n| {
        wait_until("the origin to accept", Duration::from_secs(5), || origin.journal().connections() == n);
        wait_until("the link to carry", Duration::from_secs(5), || link.connections() == 1);
    };
    for (n, reset) in [(1, false), (2, true)] {
        let mut stream = open(&link);
        arrived(n);
        link.cut(reset);
        let end = stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(end, if reset { Err(ErrorKind::ConnectionReset) } else { Ok(0) });
        wait_until("the link to forget it", Duration::from_secs(5), || link.connections() == 0);
        wait_until("the origin's end", Duration::from_secs(5), || origin.open_connections() == 0);
    }
    let mut stream = open(&link);
    arrived(3);
    origin.reset_connections();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}
