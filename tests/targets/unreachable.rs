//! F06, F07: servers that cannot be connected to.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use evenkeel_testkit::{
    ClientJournal, Launch, Load, LoadPlan, Netns, Origin, Stream, TempDir, have_namespaces, judge, skip,
};

use crate::kit::{eventually, ms, one_worker, quoted};
use crate::support::{BIN, http, start};

const CONNECT_TIMEOUT: Duration = ms(200);

/// A listener that never accepts and whose queue is full: the kernel drops every further SYN.
struct BlackHole {
    addr: SocketAddr,
    _held: (OwnedFd, Vec<Stream>),
}

fn black_hole() -> BlackHole {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        socket.listen(0).unwrap().into_std().unwrap()
    });
    let addr = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = Stream::connect(&addr.into(), ms(300)) {
        queue.push(stream);
        assert!(queue.len() < 8, "the accept queue never fills");
    }
    BlackHole { addr, _held: (listener.into(), queue) }
}

fn load() -> LoadPlan {
    let methods = vec!["GET", "POST"];
    LoadPlan { connections: 8, methods, body_bytes: 500, requests: Some(120), ..LoadPlan::default() }
}

/// Half of the requests had their first turn at the hole, and waited once for the connect timeout.
fn assert_waited_once(client: &ClientJournal) {
    let mut latencies: Vec<Duration> = client.records.iter().map(|record| record.latency).collect();
    latencies.sort_unstable();
    let slow = latencies[latencies.len() * 3 / 4];
    assert!(slow >= CONNECT_TIMEOUT, "the hole was never tried: {slow:?}");
    assert!(slow < 2 * CONNECT_TIMEOUT, "one try is given up after {CONNECT_TIMEOUT:?}, not {slow:?}");
}

#[test]
fn f06_connect_blackhole_by_a_full_accept_queue() {
    let hole = black_hole();
    let a = Origin::start("a");
    let more = "connect_timeout = \"200ms\"\npassive = false";
    let proxy = start(&http(&[hole.addr.into(), a.addr().clone()], more));
    let client = Load::run(proxy.listener_addr("web"), load());
    judge(&client, &[a.journal()]).assert_all_answered("F06");
    assert_waited_once(&client);
}

/// The SYN leaves on a cable and nobody there has that address.
#[test]
fn f06_connect_blackhole_on_the_wire() {
    if !have_namespaces() {
        skip!("F06 on the wire: network namespaces cannot be made here");
    }
    let (here, there) = (Netns::new().unwrap(), Netns::new().unwrap());
    let (device, _) = here.connect("10.77.0.1/24", &there, "10.77.0.2/24").unwrap();
    let neighbour = ["neigh", "add", "10.77.0.3", "lladdr", "02:00:00:00:00:03", "nud", "permanent", "dev"];
    here.ip(&[&neighbour[..], &[device.as_str()]].concat()).unwrap();
    let dir = TempDir::new();
    let a = Origin::start_unix("a", dir.path().join("a.sock"));
    let targets = [quoted("10.77.0.3:80"), quoted(a.addr())];
    let config = one_worker(&targets, "connect_timeout = \"200ms\"\npassive = false")
        .replace("127.0.0.1:0", "unix:{dir}/web.sock");
    let proxy = Launch::new(BIN, &config).wrap(&here.wrap()).start();
    let client = Load::run(proxy.dir().join("web.sock"), load());
    judge(&client, &[a.journal()]).assert_all_answered("F06 on the wire");
    assert_waited_once(&client);
}

#[test]
fn f07_connect_refused_costs_less_than_five_milliseconds() {
    let (mut a, b) = (Origin::start("a"), Origin::start("b"));
    let targets = [quoted(a.addr()), quoted(b.addr())];
    let proxy = start(&one_worker(&targets, "passive = false"));
    let methods = vec!["GET", "POST"];
    let plan = LoadPlan { methods, body_bytes: 100, requests: Some(400), ..LoadPlan::default() };
    let healthy = Load::run(proxy.listener_addr("web"), plan.clone());
    a.stop();
    eventually("both to be idle", ms(5000), || a.open_connections() == 0);
    let refused = Load::run(proxy.listener_addr("web"), plan);
    let client = healthy.clone().merge(refused.clone());
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("F07");
    assert_eq!(refused.answers_of("b"), 400);
    // Every other request meets the refusal: the median of the slower half is that of those.
    let slower_half = |client: &ClientJournal| {
        let mut latencies: Vec<Duration> = client.records.iter().map(|record| record.latency).collect();
        latencies.sort_unstable();
        latencies[latencies.len() * 3 / 4]
    };
    let (before, after) = (slower_half(&healthy), slower_half(&refused));
    println!("F07: {before:?} with both, {after:?} with one refusing");
    assert!(after < before + ms(5), "a refused connect cost {:?}", after.saturating_sub(before));
}
