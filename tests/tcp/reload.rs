//! Reloads while flows run: nothing is cut, nobody is refused.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel_testkit::{Evenkeel, Stream, signal, wait_until};

use crate::peers::{
    End, PATIENCE, Server, ask, connect, ended, line, listener, of_target, read_to_end, try_line,
};
use crate::support::{start, tcp};

/// Flows that talk all the time, and a stream of new connections.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    rounds: AtomicU64,
    fresh: AtomicU64,
}

impl Traffic {
    /// Talks on one connection until told to stop; every word must come back.
    fn talk(&self, web: SocketAddr) -> Result<(), String> {
        let mut flow = connect(web);
        flow.set_deadline(None);
        flow.set_read_timeout(Some(PATIENCE));
        let fail = |error: std::io::Error| format!("round {}: {error}", self.rounds.load(Ordering::Relaxed));
        try_line(&mut flow).map_err(fail)?;
        let mut back = [0; 3000];
        while !self.stop.load(Ordering::SeqCst) {
            let n = self.rounds.fetch_add(1, Ordering::Relaxed);
            let word = [n as u8; 3000];
            flow.write_all(&word).map_err(fail)?;
            flow.read_exact(&mut back).map_err(fail)?;
            if back != word {
                return Err(format!("round {n} came back changed"));
            }
        }
        Ok(())
    }

    /// Connects again and again until told to stop.
    fn come_and_go(&self, web: SocketAddr) -> Result<(), String> {
        while !self.stop.load(Ordering::SeqCst) {
            let n = self.fresh.fetch_add(1, Ordering::Relaxed);
            let fail = |error: std::io::Error| format!("connection {n}: {error}");
            let mut client = Stream::connect(&web.into(), PATIENCE).map_err(fail)?;
            client.set_read_timeout(Some(PATIENCE));
            if try_line(&mut client).map_err(fail)?.is_empty() {
                return Err(format!("connection {n} was closed"));
            }
        }
        Ok(())
    }

    /// Runs beside `change`; panics if anything was cut or refused.
    fn beside(&self, web: SocketAddr, change: impl FnOnce()) {
        thread::scope(|scope| {
            let talkers: Vec<_> = (0..6).map(|_| scope.spawn(|| self.talk(web))).collect();
            let comers: Vec<_> = (0..2).map(|_| scope.spawn(|| self.come_and_go(web))).collect();
            let stop = Stop(&self.stop);
            wait_until("the flows to run", PATIENCE, || self.rounds.load(Ordering::Relaxed) > 100);
            change();
            drop(stop);
            for one in talkers.into_iter().chain(comers) {
                assert_eq!(one.join().unwrap(), Ok(()));
            }
        });
    }
}

/// Ends the traffic, also when the story has failed.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn reload(proxy: &Evenkeel, config: &str) {
    proxy.write_config(config);
    let (status, said) = proxy.admin("POST", "/api/v1/reload", "");
    assert_eq!(status, 200, "{said}");
}

#[test]
fn f21_a_hundred_reloads_cut_no_flow_and_refuse_nobody() {
    let (a, b, c) = (Server::echo("a"), Server::echo("b"), Server::echo("c"));
    // Each differs from the one before in its targets, weights, limits and algorithm.
    let configs = [
        tcp(&[a.addr(), b.addr(), c.addr()], ""),
        tcp(&[c.addr()], "algorithm = \"least-connections\""),
        tcp(&[b.addr(), a.addr()], "limits = { connections = 1000 }"),
        tcp(&[a.addr(), c.addr()], "[pool.app.affinity]\n"),
        tcp(&[b.addr()], "emergency = \"127.0.0.1:1\"")
            .replace("pool = \"app\"", "pool = \"app\"\nidle_timeout = \"1h\""),
    ];
    let proxy = start(&configs[0]);
    let traffic = Traffic::default();
    traffic.beside(proxy.listener_addr("web"), || {
        for n in 1..=100 {
            reload(&proxy, &configs[n % configs.len()]);
            let seen = traffic.rounds.load(Ordering::Relaxed);
            wait_until("the flows to go on", PATIENCE, || traffic.rounds.load(Ordering::Relaxed) > seen + 5);
        }
    });
    let (rounds, fresh) = (traffic.rounds.into_inner(), traffic.fresh.into_inner());
    println!("reload: 100 reloads, {rounds} rounds on 6 flows, {fresh} new connections, 0 cut, 0 refused");
    wait_until("all to have left", PATIENCE, || listener(&proxy)["open"] == 0);
    assert_eq!(listener(&proxy)["accepted"], fresh + 6);
}

#[test]
fn f21_a_hundred_hangup_signals_cut_no_flow() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let configs = [tcp(&[a.addr(), b.addr()], ""), tcp(&[b.addr()], "")];
    let proxy = start(&configs[0]);
    let generation = || proxy.admin_json("/api/v1/status")["generation"].as_u64().unwrap();
    let traffic = Traffic::default();
    traffic.beside(proxy.listener_addr("web"), || {
        for n in 1..=100 {
            let before = generation();
            proxy.write_config(&configs[n % 2]);
            proxy.signal(signal::SIGHUP);
            wait_until("the reload", PATIENCE, || generation() > before);
        }
    });
    println!("reload: 100 signals, {} rounds on 6 flows, 0 cut", traffic.rounds.into_inner());
}

#[test]
fn f27_a_target_that_is_removed_keeps_its_flows() {
    let (a, b) = (Server::echo("a"), Server::echo("b"));
    let proxy = start(&tcp(&[a.addr(), b.addr()], ""));
    let web = proxy.listener_addr("web");
    let mut flows: Vec<(String, Stream)> = (0..10)
        .map(|_| {
            let mut flow = connect(web);
            (line(&mut flow), flow)
        })
        .collect();
    let path = format!("/api/v1/pools/app/targets/{}", b.addr());
    assert_eq!(proxy.admin("DELETE", &path, "").0 / 100, 2);
    for _ in 0..3 {
        flows.iter_mut().for_each(|(_, flow)| assert_eq!(ask(flow, "still here"), "still here"));
    }
    assert_eq!(flows.iter().filter(|(name, _)| name == "b").count(), 5);
    assert_eq!(line(&mut connect(web)), "a", "new ones go elsewhere");
    // It comes back while its flows of old run on: they are counted once, and end well.
    let body = format!("{{\"address\": \"{}\"}}", b.addr());
    assert_eq!(proxy.admin("POST", "/api/v1/pools/app/targets", &body).0, 201);
    drop(flows);
    wait_until("no flow left", PATIENCE, || a.open() + b.open() == 0 && listener(&proxy)["open"] == 0);
    wait_until("no place taken", PATIENCE, || {
        of_target(&proxy, a.addr(), "in_flight") + of_target(&proxy, b.addr(), "in_flight") == 0
    });
}

#[test]
fn a_listener_that_is_removed_lets_its_flows_go_on_for_the_grace_time() {
    let server = Server::echo("a");
    let keep = "[listener.keep]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"app\"\n";
    let with_web = format!("grace = \"2s\"\n{}{keep}", tcp(&[server.addr()], ""));
    let proxy = start(&with_web);
    let web = proxy.listener_addr("web");
    let (mut short, mut long) = (connect(web), connect(web));
    assert_eq!((line(&mut short), line(&mut long)), ("a".into(), "a".into()));
    let without =
        with_web.replace("[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"app\"\n", "");
    let removed = Instant::now();
    reload(&proxy, &without);
    wait_until("the door to be closed", PATIENCE, || {
        Stream::connect(&web.into(), Duration::from_secs(1)).is_err()
    });
    assert_eq!(ask(&mut short, "still here"), "still here");
    drop(short);
    assert_eq!(ask(&mut long, "still here"), "still here");
    // It is cut then, and that is no end in order.
    assert_eq!(read_to_end(&mut long), (vec![], End::Reset));
    assert!(removed.elapsed() >= Duration::from_secs(2));
    wait_until("the server to be free", PATIENCE, || server.open() == 0);
}

#[test]
fn f23_a_bad_configuration_changes_nothing_for_the_flows() {
    let server = Server::echo("a");
    let good = tcp(&[server.addr()], "");
    let proxy = start(&good);
    let mut flow = connect(proxy.listener_addr("web"));
    assert_eq!(line(&mut flow), "a");
    let bad = [
        "".to_owned(),
        "[listener.web]".to_owned(),
        good.replace("targets = [", "targets = [\"no port\", "),
        good.replace("pool = \"app\"", "pool = \"other\""),
        good.replace("127.0.0.1:0", "192.0.2.1:1"),
    ];
    for config in bad {
        proxy.write_config(&config);
        let (status, said) = proxy.admin("POST", "/api/v1/reload", "");
        assert!(status >= 400, "{config}\n{said}");
        assert_eq!(ask(&mut flow, "still here"), "still here");
        assert_eq!(line(&mut connect(proxy.listener_addr("web"))), "a");
    }
    assert_eq!(ended(&proxy, "no-target"), 0);
}
