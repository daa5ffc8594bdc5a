//! The UDP link's fates are what the plan says, and the same again for the same seed.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use evenkeel_testkit::{Fate, Fates, UdpLink, UdpPlan};

fn plan() -> UdpPlan {
    UdpPlan {
        seed: 5,
        drop_one_in: Some(10),
        duplicate_one_in: Some(10),
        swap_one_in: Some(10),
        corrupt_one_in: Some(10),
        ..UdpPlan::default()
    }
}

fn fates(seed: u64, plan: &UdpPlan) -> Vec<Fate> {
    let mut fates = Fates::new(seed);
    (0..1000).map(|_| fates.next(plan)).collect()
}

#[test]
fn fates_follow_from_the_seed() {
    let first = fates(1, &plan());
    assert_eq!(fates(1, &plan()), first);
    assert_ne!(fates(2, &plan()), first);
    for count in [
        first.iter().filter(|fate| fate.dropped).count(),
        first.iter().filter(|fate| fate.duplicated).count(),
        first.iter().filter(|fate| fate.swapped).count(),
        first.iter().filter(|fate| fate.flip.is_some()).count(),
    ] {
        assert!((60..150).contains(&count), "{count} of 1000");
    }
    let fair = fates(1, &UdpPlan::default());
    assert!(
        fair.iter().all(|fate| !fate.dropped && !fate.duplicated && !fate.swapped && fate.flip.is_none())
    );
}

/// The numbers that arrive of 0 to 99, sent one way through the link.
fn through(plan: UdpPlan) -> Vec<u8> {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let link = UdpLink::start(server.local_addr().unwrap(), plan);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = link.addr();
    let sender = thread::spawn(move || (0..100).for_each(|n: u8| drop(client.send_to(&[n], addr))));
    let mut received = Vec::new();
    let mut byte = [0];
    while server.recv(&mut byte).is_ok() {
        received.push(byte[0]);
    }
    sender.join().unwrap();
    received
}

#[test]
fn datagrams_meet_their_fates() {
    let in_order: Vec<u8> = (0..100).collect();
    assert_eq!(through(UdpPlan::default()), in_order);
    let dropped = through(UdpPlan { seed: 3, drop_one_in: Some(4), ..UdpPlan::default() });
    assert!(dropped.is_sorted() && (50..95).contains(&dropped.len()), "{dropped:?}");
    assert_eq!(through(UdpPlan { seed: 3, drop_one_in: Some(4), ..UdpPlan::default() }), dropped);
    let doubled = through(UdpPlan { duplicate_one_in: Some(1), ..UdpPlan::default() });
    assert_eq!(doubled.len(), 200);
    let mut swapped = through(UdpPlan { seed: 3, swap_one_in: Some(4), ..UdpPlan::default() });
    assert!(!swapped.is_sorted());
    swapped.sort_unstable();
    assert_eq!(swapped, in_order);
    let corrupted = through(UdpPlan { corrupt_one_in: Some(1), ..UdpPlan::default() });
    assert!(corrupted.iter().zip(&in_order).all(|(a, b)| (a ^ b).count_ones() == 1));
}

#[test]
fn answers_come_back_to_the_client_that_asked() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let link = UdpLink::start(
        server.local_addr().unwrap(),
        UdpPlan { delay: Duration::from_millis(20), ..UdpPlan::default() },
    );
    let clients = [UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap()];
    for (n, client) in (0..).zip(&clients) {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send_to(&[n], link.addr()).unwrap();
        let mut bytes = [0; 9];
        let (len, from) = server.recv_from(&mut bytes).unwrap();
        server.send_to(&[bytes[0] + 100], from).unwrap();
        let (answered, from) = client.recv_from(&mut bytes).unwrap();
        assert_eq!((len, answered, bytes[0], from), (1, 1, n + 100, link.addr()));
    }
}
