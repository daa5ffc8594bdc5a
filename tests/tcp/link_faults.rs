//! Links that delay, throttle and cut, on either side of us: what arrives is right, and an end is an end.

use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use evenkeel_testkit::{Addr, Evenkeel, Link, LinkPlan, Way, wait_until};

use crate::peers::{
    End, Noise, PATIENCE, Server, connect, ended, in_flight, listener, read_to_end, receive, receive_all,
    send,
};
use crate::support::{start, tcp};

/// Where a link lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Target,
}

const SIDES: [Side; 2] = [Side::Client, Side::Target];

/// A balancer before this server, with a faulty link on one side of it.
struct Road {
    proxy: Evenkeel,
    link: Link,
    /// Where the client connects to.
    entry: SocketAddr,
}

fn road(server: &Addr, side: Side, plan: LinkPlan) -> Road {
    if side == Side::Target {
        let link = Link::start(server, plan);
        let proxy = start(&tcp(&[link.addr()], ""));
        let entry = proxy.listener_addr("web");
        return Road { proxy, link, entry };
    }
    let proxy = start(&tcp(&[server], ""));
    let link = Link::start(proxy.listener_addr("web"), plan);
    let entry = link.addr();
    Road { proxy, link, entry }
}

/// Both ways at once over this road, byte by byte.
fn crosses(side: Side, way: &Way, bytes: u64) {
    let (tell, verdict) = channel();
    let server = Server::start(move |mut call| {
        let mut writer = call.stream.try_clone().unwrap();
        let sending = thread::spawn(move || {
            let sent = send(&mut writer, 2, bytes);
            writer.shutdown(Shutdown::Write);
            sent
        });
        let received = receive_all(&mut call.stream, 1, bytes);
        let sent = sending.join().unwrap().map_err(|error| error.to_string());
        let _ = tell.send(received.and(sent));
    });
    let road = road(server.addr(), side, LinkPlan { seed: 7, up: way.clone(), down: way.clone() });
    let mut client = connect(road.entry);
    let mut writer = client.try_clone().unwrap();
    let sending = thread::spawn(move || {
        send(&mut writer, 1, bytes).unwrap();
        writer.shutdown(Shutdown::Write);
    });
    assert_eq!(receive_all(&mut client, 2, bytes), Ok(()), "{side:?} {way:?}");
    assert_eq!(verdict.recv_timeout(PATIENCE), Ok(Ok(())), "{side:?} {way:?}");
    sending.join().unwrap();
    wait_until("the end", PATIENCE, || listener(&road.proxy)["open"] == 0 && in_flight(&road.proxy) == 0);
}

#[test]
fn delay_and_jitter_change_no_byte() {
    let way = Way { delay: Duration::from_millis(30), jitter: Duration::from_millis(20), ..Way::default() };
    SIDES.into_iter().for_each(|side| crosses(side, &way, 3_000_000));
}

#[test]
fn a_narrow_link_changes_no_byte() {
    let way = Way { bandwidth: Some(1_000_000), ..Way::default() };
    SIDES.into_iter().for_each(|side| crosses(side, &way, 700_000));
}

#[test]
fn a_narrow_link_holds_the_sender_back() {
    // A server that is faster than the client's link must not fill our memory.
    let server = Server::start(|mut call| drop(send(&mut call.stream, 1, 256 << 20)));
    let down = Way { bandwidth: Some(4_000_000), ..Way::default() };
    let road = road(server.addr(), Side::Client, LinkPlan { down, ..LinkPlan::default() });
    let mut client = connect(road.entry);
    assert_eq!(receive(&mut client, 1, 2_000_000), Ok(()));
    let taken = listener(&road.proxy)["bytes_out"].as_u64().unwrap();
    // What lies in the kernel's and the link's buffers, no more.
    assert!(taken < 64 << 20, "{taken} bytes were taken from the server");
}

/// Places of a cut: at once, in the first piece, at the edges of buffers, and where splicing has begun.
const CUTS: [u64; 8] = [0, 1, 1000, 16_384, 65_536, 65_537, 300_000, 2_000_000];
const FLOW: u64 = 3_000_000;

#[test]
fn f03_an_answer_that_is_cut_reaches_the_client_as_a_cut() {
    let whole = Noise::new(1, FLOW).bytes();
    for side in SIDES {
        for reset in [false, true] {
            let server = Server::start(|mut call| {
                drop(send(&mut call.stream, 1, FLOW));
                drop(read_to_end(&mut call.stream));
            });
            let road = road(server.addr(), side, LinkPlan::default());
            for cut in CUTS {
                road.link.set(|plan| {
                    let way = Way { cut_after_bytes: Some(cut), rst_instead_of_fin: reset, ..Way::default() };
                    plan.down = way;
                });
                let mut client = connect(road.entry);
                let (came, end) = read_to_end(&mut client);
                let what =
                    format!("{side:?}, cut after {cut}, reset: {reset}: {} bytes, {end:?}", came.len());
                assert!(came.len() as u64 <= cut && whole.starts_with(&came), "{what}");
                if reset {
                    assert_eq!(end, End::Reset, "{what}");
                } else {
                    // An orderly end is passed on in order, behind every byte.
                    assert_eq!((came.len() as u64, end), (cut, End::Fin), "{what}");
                }
                drop(client);
                wait_until("the end", PATIENCE, || {
                    listener(&road.proxy)["open"] == 0 && in_flight(&road.proxy) == 0
                });
            }
        }
    }
}

#[test]
fn a_request_that_is_cut_reaches_the_server_as_a_cut() {
    let whole = Noise::new(1, FLOW).bytes();
    for side in SIDES {
        for reset in [false, true] {
            let (tell, received) = channel();
            let server = Server::start(move |mut call| drop(tell.send(read_to_end(&mut call.stream))));
            let road = road(server.addr(), side, LinkPlan::default());
            for cut in CUTS {
                road.link.set(|plan| {
                    let way = Way { cut_after_bytes: Some(cut), rst_instead_of_fin: reset, ..Way::default() };
                    plan.up = way;
                });
                let mut client = connect(road.entry);
                let _ = send(&mut client, 1, FLOW);
                let (came, end) = received.recv_timeout(PATIENCE).unwrap();
                let what =
                    format!("{side:?}, cut after {cut}, reset: {reset}: {} bytes, {end:?}", came.len());
                assert!(came.len() as u64 <= cut && whole.starts_with(&came), "{what}");
                if reset {
                    assert_eq!(end, End::Reset, "{what}");
                } else {
                    assert_eq!((came.len() as u64, end), (cut, End::Fin), "{what}");
                }
                drop(client);
                wait_until("the end", PATIENCE, || {
                    listener(&road.proxy)["open"] == 0 && in_flight(&road.proxy) == 0
                });
            }
        }
    }
}

#[test]
fn a_stalled_link_before_the_target_is_cut_by_the_idle_timeout() {
    let server = endless();
    let link = Link::start(server.addr(), LinkPlan { down: stalling(), ..LinkPlan::default() });
    let proxy = start(&impatient(&link.addr().into()));
    let mut client = connect(proxy.listener_addr("web"));
    assert_eq!(read_to_end(&mut client), (Noise::new(1, 100_000).bytes(), End::Reset));
    wait_until("the reason", PATIENCE, || ended(&proxy, "idle-timeout") == 1);
    wait_until("the end", PATIENCE, || in_flight(&proxy) == 0 && server.open() == 0);
}

#[test]
fn a_stalled_link_to_the_client_is_cut_by_the_idle_timeout() {
    let server = endless();
    let proxy = start(&impatient(server.addr()));
    let link = Link::start(proxy.listener_addr("web"), LinkPlan { down: stalling(), ..LinkPlan::default() });
    let mut client = connect(link.addr());
    assert_eq!(receive(&mut client, 1, 100_000), Ok(()));
    // The link tells the client nothing more; we have given up all the same, and the server is free.
    wait_until("the reason", PATIENCE, || ended(&proxy, "idle-timeout") == 1);
    wait_until("the end", PATIENCE, || in_flight(&proxy) == 0 && server.open() == 0);
    link.cut(true);
    assert_eq!(read_to_end(&mut client), (vec![], End::Reset));
}

fn endless() -> Server {
    Server::start(|mut call| while send(&mut call.stream, 1, 64 << 20).is_ok() {})
}

fn stalling() -> Way {
    Way { stall_after_bytes: Some(100_000), ..Way::default() }
}

fn impatient(target: &Addr) -> String {
    tcp(&[target], "").replace("pool = \"app\"", "pool = \"app\"\nidle_timeout = \"300ms\"")
}
