//! Limits hold exactly, and who cannot be served waits in a bounded queue for a bounded time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use evenkeel_testkit::{Evenkeel, Hang, Load, LoadPlan, Origin, Outcome, Stream, Wire};

use crate::kit::{Caller, ask, assert_refused, eventually, get, ms, one_worker, pool, read, target, who};
use crate::support::{start, tcp};

/// A target that takes so many at once.
fn limited(address: impl std::fmt::Display, max: usize) -> String {
    format!("{{ address = \"{address}\", max_connections = {max} }}")
}

/// Two workers before these targets.
fn start_limited(targets: &[String], more: &str) -> Evenkeel {
    start(&one_worker(targets, more).replace("count = 1", "count = 2"))
}

/// Counts how many requests are under way at the same time, and lets each last for two milliseconds.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    /// An origin on a port of its own; several may share a gauge.
    fn listen(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let gauge = Arc::clone(self);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let gauge = Arc::clone(&gauge);
                thread::spawn(move || gauge.serve(stream.unwrap()));
            }
        });
        addr
    }

    fn serve(&self, stream: TcpStream) {
        let mut wire = Wire::new(Stream::from(stream));
        while wire.head().is_ok() {
            let now = self.now.fetch_add(1, SeqCst) + 1;
            self.most.fetch_max(now, SeqCst);
            thread::sleep(ms(2));
            self.now.fetch_sub(1, SeqCst);
            let _ = wire.stream().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    }
}

fn run_all(proxy: &Evenkeel, connections: usize) {
    let plan = LoadPlan { connections, requests: Some(600), ..LoadPlan::default() };
    let client = Load::run(proxy.listener_addr("web"), plan);
    let good = client.count(|outcome| matches!(outcome, Outcome::Answered { status: 200, .. }));
    assert_eq!(good, 600, "{:?}", client.records.iter().find(|r| format!("{r:?}").contains("503")));
}

#[test]
fn a_targets_limit_holds_exactly_under_load() {
    let gauges = [Arc::new(Gauge::default()), Arc::new(Gauge::default())];
    let targets = [limited(gauges[0].listen(), 3), limited(gauges[1].listen(), 5)];
    let proxy = start_limited(&targets, "[pool.app.limits]\nqueue_timeout = \"20s\"\n");
    run_all(&proxy, 24);
    assert_eq!(gauges.map(|gauge| gauge.most.load(SeqCst)), [3, 5], "used to the full and never beyond");
}

#[test]
fn a_pools_limit_holds_exactly_under_load() {
    let gauge = Arc::new(Gauge::default());
    let targets: Vec<String> = (0..3).map(|_| format!("\"{}\"", gauge.listen())).collect();
    let proxy = start_limited(&targets, "[pool.app.limits]\nconnections = 5\nqueue_timeout = \"20s\"\n");
    run_all(&proxy, 24);
    assert_eq!(gauge.most.load(SeqCst), 5, "used to the full and never beyond");
}

#[test]
fn the_rest_waits_and_is_served_when_there_is_room() {
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    for origin in [&a, &b] {
        origin.set(|o| o.hang = Some(Hang::Answer));
    }
    let targets = [limited(a.addr(), 3), limited(b.addr(), 5)];
    let proxy = start_limited(&targets, "[pool.app.limits]\nqueue_timeout = \"20s\"\n");
    let clients = ask(proxy.listener_addr("web"), 20);
    eventually("12 to wait", ms(5000), || pool(&proxy).waiting == 12);
    a.wait_requests(3);
    b.wait_requests(5);
    assert_eq!([a.journal().len(), b.journal().len()], [3, 5]);
    for origin in [&a, &b] {
        origin.set(|o| o.hang = None);
    }
    for mut client in clients {
        assert_eq!(client.receive().status, 200);
    }
    assert_eq!(a.journal().len() + b.journal().len(), 20);
    assert_eq!(pool(&proxy).waiting, 0);
}

/// An origin that holds one request for ever, behind a limit of one.
fn start_busy(more: &str) -> (Origin, Evenkeel, Vec<Caller>) {
    let a = Origin::start("a");
    a.set(|o| o.hang = Some(Hang::Answer));
    let proxy = start_limited(&[limited(a.addr(), 1)], &format!("[pool.app.limits]\n{more}\n"));
    let first = ask(proxy.listener_addr("web"), 1);
    a.wait_requests(1);
    (a, proxy, first)
}

#[test]
fn nobody_waits_for_longer_than_the_queue_timeout() {
    let (a, proxy, mut first) = start_busy("queue_timeout = \"200ms\"");
    for _ in 0..3 {
        let asked = Instant::now();
        assert_refused(&get(proxy.listener_addr("web")), 503, "queue-timeout");
        let waited = asked.elapsed();
        assert!(waited >= ms(200) && waited < ms(500), "{waited:?}");
    }
    a.set(|o| o.hang = None);
    assert_eq!(who(&first[0].receive()), "a", "the first one was not disturbed");
    assert_eq!(who(&get(proxy.listener_addr("web"))), "a");
    let listeners: Vec<evenkeel_api::Listener> = read(&proxy, "/api/v1/listeners");
    assert_eq!(listeners[0].reasons.get("queue-timeout"), Some(&3));
}

/// The time in the queue is not the target's: neither its deadline nor its latency counts it.
#[test]
fn who_has_waited_still_has_all_of_the_response_timeout() {
    let a = Origin::start("a");
    a.set(|o| o.delay_head = ms(200));
    let more = "[pool.app.limits]\nqueue_timeout = \"20s\"\n[listener.web.timeouts]\nresponse = \"400ms\"\n";
    let proxy = start(&one_worker(&[limited(a.addr(), 1)], more));
    let clients = ask(proxy.listener_addr("web"), 5);
    for mut client in clients {
        assert_eq!(client.receive().status, 200);
    }
    let latency = target(&proxy, a.addr()).latency;
    assert!(latency.count == 5 && latency.mean_us < 350_000, "{latency:?}");
}

#[test]
fn a_full_queue_refuses_at_once() {
    for pending in [0, 2] {
        let more = format!("queue_timeout = \"10s\"\npending = {pending}");
        let (a, proxy, mut first) = start_busy(&more);
        let waiting = ask(proxy.listener_addr("web"), pending);
        eventually("the queue to fill", ms(5000), || pool(&proxy).waiting == pending as u64);
        for _ in 0..5 {
            let asked = Instant::now();
            assert_refused(&get(proxy.listener_addr("web")), 503, "queue-full");
            assert!(asked.elapsed() < ms(500), "{:?}", asked.elapsed());
        }
        a.set(|o| o.hang = None);
        assert_eq!(who(&first[0].receive()), "a");
        for mut client in waiting {
            assert_eq!(who(&client.receive()), "a", "who waited is served");
        }
    }
}

#[test]
fn who_waits_longest_is_served_first() {
    let (a, proxy, first) = start_busy("queue_timeout = \"20s\"");
    let ids: Vec<String> = (0..12).map(|n| format!("turn-{n:02}")).collect();
    let mut clients: Vec<Caller> = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let mut client = Caller::to(proxy.listener_addr("web"));
        client.send("GET", id, b"");
        clients.push(client);
        eventually("it to wait in line", ms(5000), || pool(&proxy).waiting == n as u64 + 1);
    }
    a.set(|o| o.hang = None);
    for client in first.into_iter().chain(clients).collect::<Vec<_>>().iter_mut() {
        assert_eq!(who(&client.receive()), "a");
    }
    let served: Vec<String> = a.journal().entries().into_iter().skip(1).map(|entry| entry.id).collect();
    assert_eq!(served, ids);
}

#[test]
fn a_full_listener_refuses_http_clients_by_name() {
    let a = Origin::start("a");
    let config = one_worker(&[format!("\"{}\"", a.addr())], "")
        .replace("pool = \"app\"", "pool = \"app\"\nmax_connections = 3");
    let proxy = start(&config);
    let web = proxy.listener_addr("web");
    let mut held: Vec<Caller> = (0..3).map(|_| Caller::to(web)).collect();
    for client in &mut held {
        assert_eq!(client.get().status, 200);
    }
    for _ in 0..5 {
        let answer = get(web);
        assert_refused(&answer, 503, "listener-full");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    for client in &mut held {
        assert_eq!(client.get().status, 200, "those that are in stay in");
    }
    held.pop();
    eventually("a place", ms(5000), || get(web).status == 200);
    let listeners: Vec<evenkeel_api::Listener> = read(&proxy, "/api/v1/listeners");
    assert!(listeners[0].reasons["listener-full"] >= 5);
}

#[test]
fn a_full_listener_resets_tcp_clients() {
    let a = Origin::start("a");
    let config = tcp(&[a.addr()], "").replacen("pool = \"app\"", "pool = \"app\"\nmax_connections = 2", 1);
    let proxy = start(&config);
    let web = proxy.listener_addr("web");
    let mut held: Vec<Caller> = (0..2).map(|_| Caller::to(web)).collect();
    for client in &mut held {
        assert_eq!(client.get().status, 200);
    }
    // The reset may come while the client still connects.
    let talk = || -> std::io::Result<usize> {
        let mut client = TcpStream::connect(web)?;
        client.set_read_timeout(Some(ms(5000)))?;
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
        client.read(&mut [0; 100])
    };
    for _ in 0..5 {
        let error = talk().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
    held.pop();
    eventually("a place", ms(5000), || talk().is_ok());
}

#[test]
fn a_tcp_client_waits_for_a_place_or_is_reset() {
    let a = Origin::start("a");
    let more = "[pool.app.limits]\nconnections = 1\nqueue_timeout = \"300ms\"\n";
    let proxy = start(&tcp(&[a.addr()], more));
    let web = proxy.listener_addr("web");
    let mut first = Caller::to(web);
    assert_eq!(first.get().status, 200);
    let asked = Instant::now();
    let mut late = TcpStream::connect(web).unwrap();
    late.set_read_timeout(Some(ms(5000))).unwrap();
    let error = late.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(asked.elapsed() >= ms(300), "{:?}", asked.elapsed());
    let mut waiting = ask(web, 1);
    eventually("it to wait", ms(5000), || pool(&proxy).waiting == 1);
    drop(first);
    assert_eq!(waiting[0].receive().status, 200);
    assert_eq!(target(&proxy, a.addr()).in_flight, 1);
}
