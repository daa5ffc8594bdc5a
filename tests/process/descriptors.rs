//! F35: descriptors run out. Nothing spins, what stands goes on, and accepting resumes by itself.

use std::cell::Cell;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Addr, Evenkeel, Launch, Load, LoadPlan, Origin, Stream, WebSocket, have, judge, skip, wait_until,
};

use crate::support::BIN;
use crate::world::{Kept, MOMENT, number, target};

const LIMIT: usize = 64;

/// One worker, so that most descriptors are left for connections; `limit` is soft and hard, since the soft one is
/// raised.
fn start(origin: &Origin, more: &str) -> Evenkeel {
    let config = format!(
        "[workers]\ncount = 1\n[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\n\
         [listener.db]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"app\"\n[pool.app]\ntargets = [\"{}\"]\n{more}",
        origin.addr()
    );
    Launch::new(BIN, &config).wrap(&["prlimit", &format!("--nofile={LIMIT}:{LIMIT}")]).start()
}

/// Descriptors in use, of those that the limit allows: what was inherited from us may lie beyond it.
fn used(proxy: &Evenkeel) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap().flatten();
    open.filter(|entry| entry.file_name().to_string_lossy().parse().is_ok_and(|fd: usize| fd < LIMIT)).count()
}

/// Waits until every descriptor is taken for good: one that was lent to the admin API comes back, and goes to the next
/// client, who is let in within 50 ms.
fn wait_until_exhausted(proxy: &Evenkeel) {
    let last_free = Cell::new(Instant::now());
    wait_until("every descriptor to be taken", MOMENT, || {
        if used(proxy) < LIMIT {
            last_free.set(Instant::now());
        }
        last_free.get().elapsed() > Duration::from_millis(200)
    });
}

/// Opens connections that say nothing; the kernel takes them whether we do or not.
fn flood(addr: &Addr, connections: usize) -> Vec<Stream> {
    (0..connections).map(|_| Stream::connect(addr, MOMENT).unwrap()).collect()
}

#[test]
fn f35_without_descriptors_nothing_spins_and_what_stands_goes_on() {
    if !have("prlimit") {
        skip!("prlimit is not installed");
    }
    let origin = Origin::start("a");
    let proxy = start(&origin, "");
    let web: Addr = proxy.listener_addr("web").into();
    let mut socket = WebSocket::connect(&web, "/", Duration::from_secs(60)).unwrap();
    let mut stream = Kept::idle(proxy.listener_addr("db"));
    // The last one: its connection to the target is kept for it, and for nobody else.
    let mut kept = Kept::idle(&web);
    let flood = flood(&web, 300);
    wait_until_exhausted(&proxy);

    // How much is burnt while nothing can be done is a matter of time, not of an event.
    let (before, asked) = (proxy.cpu_seconds(), Instant::now());
    let mut answers = 0;
    while asked.elapsed() < Duration::from_secs(2) {
        assert_eq!(kept.get("/").unwrap().status, 200, "a kept connection");
        socket.send("x").unwrap();
        assert_eq!(socket.receive().unwrap(), "x", "a WebSocket");
        assert_eq!(stream.get("/").unwrap().status, 200, "a TCP stream");
        answers += 3;
        std::thread::sleep(Duration::from_millis(20));
    }
    let burnt = proxy.cpu_seconds() - before;
    println!("F35: {answers} answers over what stood, {burnt:.2} s of CPU in {:?}", asked.elapsed());
    assert!(burnt < 0.5, "it spins: {burnt} s of CPU in {:?}", asked.elapsed());
    assert_eq!(used(&proxy), LIMIT);

    drop(flood);
    let plan = LoadPlan { connections: 4, requests: Some(200), ..LoadPlan::default() };
    judge(&Load::run(&web, plan), &[origin.journal()]).assert_all_answered("F35 after");
    let refused = proxy.metric("evenkeel_ends_total", &[r#"listener="web""#, r#"reason="overloaded""#]);
    assert!(refused >= 1.0, "nobody counted that accepting failed");
    // 50 ms of rest after each vain try: more would be a spin.
    assert!(refused < 2_000.0, "{refused} vain tries");
    assert_eq!(
        target(&proxy, "app", &origin.addr().to_string())["state"],
        "up",
        "our shortage, not the target's"
    );
    wait_until("the descriptors to be given back", MOMENT, || used(&proxy) < LIMIT / 2);
}

#[test]
fn f35_accepting_resumes_when_some_connections_end() {
    if !have("prlimit") {
        skip!("prlimit is not installed");
    }
    let origin = Origin::start("a");
    let proxy = start(&origin, "");
    let web: Addr = proxy.listener_addr("web").into();
    let mut flood = flood(&web, 200);
    wait_until_exhausted(&proxy);
    // Those that wait in the kernel get their turn, one after the other, as others leave.
    let mut late = flood.split_off(190);
    drop(flood);
    let asked = Instant::now();
    let mut client = Kept::connect(&web);
    assert_eq!(client.get("/").unwrap().status, 200);
    println!("F35: accepted again after {:?}", asked.elapsed());
    let mut last = Kept::from(late.pop().unwrap());
    assert_eq!(last.get("/").unwrap().status, 200, "one that waited through the shortage");
}

#[test]
fn f35_a_target_that_cannot_be_dialled_for_want_of_a_descriptor_is_an_explicit_503() {
    if !have("prlimit") {
        skip!("prlimit is not installed");
    }
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy =
        start(&a, &format!("passive = {{ connect_errors = 1 }}\n[pool.b]\ntargets = [\"{}\"]\n", b.addr()));
    let web: Addr = proxy.listener_addr("web").into();
    // Those who come first are let in, and leave no descriptor for a target.
    let mut clients: Vec<Kept> = (0..2 * LIMIT).map(|_| Kept::connect(&web)).collect();
    wait_until_exhausted(&proxy);
    for client in &mut clients[..5] {
        let answer = client.get("/").unwrap();
        assert_eq!(
            (answer.status, answer.header("x-evenkeel-reason")),
            (503, Some("overloaded")),
            "{answer:?}"
        );
    }
    clients.truncate(3);
    wait_until("descriptors to be free", MOMENT, || used(&proxy) < LIMIT - 10);
    assert_eq!(clients[0].get("/").unwrap().status, 200);
    let address = a.addr().to_string();
    let seen = target(&proxy, "app", &address);
    assert_eq!((&seen["state"], number(&seen["failures_in_a_row"])), (&"up".into(), 0), "{seen}");
    let ejected = crate::world::events(&proxy).iter().filter(|event| event["to"] == "ejected").count();
    assert_eq!(ejected, 0, "our own shortage was held against a target");
}
