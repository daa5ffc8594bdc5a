//! F21: the configuration is reloaded again and again, in every way there is, and nobody on the wire notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    ClientJournal, Evenkeel, Load, LoadPlan, Origin, Outcome, WebSocket, judge, signal, wait_until,
};

use crate::support::start;
use crate::world::{generation, listener, number, tell};

const WEBSOCKETS: usize = 20;

/// The origins behind everything; what listens for TCP has one of its own.
struct Origins {
    http: [Origin; 3],
    tcp: Origin,
}

impl Origins {
    fn start() -> Self {
        Self { http: ["a", "b", "c"].map(Origin::start), tcp: Origin::start("tcp") }
    }

    /// The `n`th configuration: `web` and `db` stay, everything else about them changes.
    fn config(&self, n: usize, top: &str) -> String {
        const ALGORITHMS: [&str; 6] =
            ["round-robin", "least-connections", "random", "p2c", "maglev", "consistent-hash"];
        let [a, b, c] = self.http.each_ref().map(Origin::addr);
        let (algorithm, weight) = (ALGORITHMS[n % ALGORITHMS.len()], 1 + n % 5);
        // Origin c leaves and comes back with requests under way.
        let third = if n.is_multiple_of(3) { String::new() } else { format!(", \"{c}\"") };
        let mut text = format!(
            "{top}[workers]\ncount = 2\n\
             [listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"app\"\nmax_connections = {}\n\
             [listener.db]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"db\"\n\
             [pool.app]\nalgorithm = \"{algorithm}\"\ntargets = [{{ address = \"{a}\", weight = {weight} }}, \"{b}\"{third}]\n\
             [pool.api]\ntargets = [\"{b}\", {{ address = \"{a}\", weight = {weight} }}]\n\
             [pool.db]\ntargets = [\"{}\"]\n",
            1000 + n,
            self.tcp.addr(),
        );
        // The load's own path goes by a route or by the default, in turn; other routes come and go.
        for route in 0..n % 4 {
            let path = if route == 0 { "/jobs/**".to_owned() } else { format!("/other-{n}-{route}/**") };
            text += &format!("[[listener.web.route]]\nwhen = {{ path = \"{path}\" }}\npool = \"api\"\n");
        }
        for extra in 0..n % 3 {
            text += &format!(
                "[listener.extra-{}]\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\npool = \"extra-{n}\"\n",
                (n + extra) % 5
            );
        }
        text + &format!("[pool.extra-{n}]\ntargets = [\"{c}\"]\n")
    }
}

/// WebSockets that never stop talking.
struct Talk {
    stop: Arc<AtomicBool>,
    messages: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Talk {
    fn start(proxy: &Evenkeel) -> Self {
        let (stop, messages) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let web = proxy.listener_addr("web");
        let threads = (0..WEBSOCKETS).map(|number| {
            let socket = WebSocket::connect(web, "/jobs/socket", Duration::from_secs(60)).unwrap();
            let (stop, messages) = (Arc::clone(&stop), Arc::clone(&messages));
            std::thread::spawn(move || talk(socket, number, &stop, &messages))
        });
        Self { threads: threads.collect(), stop, messages }
    }

    fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Each of them has to end in order.
    fn finish(self) {
        // One more round after the last reload, by all of them.
        let more = self.messages() + 2 * WEBSOCKETS as u64;
        wait_until("more messages", Duration::from_secs(10), || {
            self.messages() >= more || self.threads.iter().any(JoinHandle::is_finished)
        });
        self.stop.store(true, Relaxed);
        let ends: Vec<_> = self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let cut: Vec<_> = ends.iter().filter(|end| end.is_err()).collect();
        println!("F21: {} of {WEBSOCKETS} WebSockets cut", cut.len());
        assert!(cut.is_empty(), "{cut:?}");
    }
}

fn talk(mut socket: WebSocket, number: usize, stop: &AtomicBool, messages: &AtomicU64) -> Result<(), String> {
    let mut count = 0;
    while !stop.load(Relaxed) {
        count += 1;
        let text = format!("message {count} of socket {number}");
        let cut = |what: &str, cause| format!("socket {number}: {what} of message {count}: {cause:?}");
        socket.send(&text).map_err(|cause| cut("sending", cause))?;
        let answer = socket.receive().map_err(|cause| cut("echo", cause))?;
        if answer != text {
            return Err(format!("socket {number}: {answer:?} instead of {text:?}"));
        }
        messages.fetch_add(1, Relaxed);
        std::thread::sleep(Duration::from_millis(10));
    }
    socket.close().map_err(|cause| format!("socket {number}: close: {cause:?}"))
}

/// No connection of the load was closed, announced or not: its listener stays, so it stays.
fn assert_none_closed(name: &str, plan_connections: usize, client: &ClientJournal) {
    let closing = client.count(|outcome| matches!(outcome, Outcome::Answered { close_seen: true, .. }));
    assert_eq!(
        (client.connections(), closing),
        (plan_connections, 0),
        "{name}: connections used, and closed"
    );
}

/// Waits until the routing state was published anew.
fn wait_published(proxy: &Evenkeel, before: u64) {
    wait_until("the reload to be done", Duration::from_secs(10), || generation(proxy) > before);
}

#[test]
fn f21_two_hundred_reloads_under_load_lose_no_request_and_cut_no_websocket() {
    const RELOADS: usize = 200;
    let origins = Origins::start();
    let proxy = start(&origins.config(0, ""));
    let plan = LoadPlan {
        connections: 6,
        methods: vec!["GET", "POST"],
        body_bytes: 700,
        path: "/jobs/x".into(),
        pause: Duration::from_millis(1),
        ..LoadPlan::default()
    };
    let http = Load::start(proxy.listener_addr("web"), plan.clone());
    let slower = LoadPlan { connections: 4, pause: Duration::from_millis(5), ..plan };
    let tcp = Load::start(proxy.listener_addr("db"), slower);
    let sockets = Talk::start(&proxy);
    let (mut requests, mut total) = (0, 0.0);
    let started = Instant::now();
    for n in 1..=RELOADS {
        let before = generation(&proxy);
        proxy.write_config(&origins.config(n, ""));
        match n % 10 {
            0 => {
                let changes = tell(&proxy, &["reload"]).fine();
                assert!(changes.contains(&format!("extra-{n}")), "{changes}");
            }
            1..=4 => proxy.signal(signal::SIGHUP),
            _ => {
                let (status, plan) = proxy.admin("POST", "/api/v1/reload", "");
                assert!(status == 200 && plan.contains(&format!("extra-{n}")), "{status} {plan}");
            }
        }
        wait_published(&proxy, before);
        http.wait_answers(15);
        let web = listener(&proxy, "web");
        assert_eq!(number(&web["max_connections"]), 1000 + n as u64, "reload {n} was not adopted");
        let now = number(&web["requests"]);
        assert!(now >= requests, "the counter of requests went back from {requests} to {now} at reload {n}");
        requests = now;
        if n % 20 == 0 {
            let metric = proxy.metric("evenkeel_listener_requests_total", &[r#"listener="web""#]);
            assert!(metric >= total && metric >= requests as f64, "{metric} after {total} and {requests}");
            total = metric;
        }
    }
    println!("F21: {RELOADS} reloads in {:?}", started.elapsed());
    sockets.finish();
    let (http, tcp) = (http.stop(), tcp.stop());
    let journals = origins.http.each_ref().map(Origin::journal);
    judge(&http, &journals).assert_all_answered("F21 HTTP");
    judge(&tcp, &[origins.tcp.journal()]).assert_all_answered("F21 TCP");
    assert_none_closed("F21 HTTP", 6, &http);
    assert_none_closed("F21 TCP", 4, &tcp);
    // Every single one was counted, over all reloads.
    let all = (http.records.len() + WEBSOCKETS) as f64;
    assert_eq!(proxy.metric("evenkeel_listener_requests_total", &[r#"listener="web""#]), all);
}

#[test]
fn a_watched_include_may_come_later_than_the_process() {
    let proxy = start(
        "watch = true\ninclude = [\"conf.d/*.toml\", \"more/*.toml\"]\n[listener.web]\nbind = \"127.0.0.1:0\"\n\
         protocol = \"http\"\npool = \"first\"\n[pool.first]\ntargets = [\"127.0.0.1:1\"]\n",
    );
    let pool = |name: &str| format!("[pool.{name}]\ntargets = [\"127.0.0.1:2\"]\n");
    let has = |name: &str| proxy.admin_json("/api/v1/pools").to_string().contains(&format!("\"{name}\""));
    let wait = |name: &str| wait_until(name, Duration::from_secs(10), || has(name));
    let conf = proxy.dir().join("conf.d");
    // Neither of the folders was there at the start, nor a file in them.
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(conf.join("a.toml"), pool("late")).unwrap();
    wait("late");
    let more = proxy.dir().join("more");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("pools.toml"), pool("later")).unwrap();
    wait("later");
    // A folder that was replaced is another one.
    std::fs::rename(&conf, proxy.dir().join("old.d")).unwrap();
    wait_until("the old folder's pool to go", Duration::from_secs(10), || !has("late"));
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(conf.join("b.toml"), pool("again")).unwrap();
    wait("again");
    std::fs::write(conf.join("c.toml"), pool("another")).unwrap();
    wait("another");
    // Nor is one that was removed and made again at once, though it may have the same inode.
    std::fs::remove_dir_all(&conf).unwrap();
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(conf.join("d.toml"), pool("fourth")).unwrap();
    wait("fourth");
    std::fs::write(conf.join("e.toml"), pool("fifth")).unwrap();
    wait("fifth");
}

#[test]
fn f21_a_changed_file_is_adopted_under_load_when_it_is_watched() {
    const RELOADS: usize = 8;
    let origins = Origins::start();
    let proxy = start(&origins.config(0, "watch = true\n"));
    let plan = LoadPlan { connections: 4, pause: Duration::from_millis(2), ..LoadPlan::default() };
    let load = Load::start(proxy.listener_addr("web"), plan);
    let sockets = Talk::start(&proxy);
    for n in 1..=RELOADS {
        let text = origins.config(n, "watch = true\n");
        if n % 2 == 0 {
            // As an editor that writes in place, in one go.
            let admin = format!("{text}\n[admin]\nbind = \"{}\"\n", proxy.admin_addr());
            std::fs::write(proxy.config_path(), admin).unwrap();
        } else {
            proxy.write_config(&text);
        }
        wait_until("the change to be seen", Duration::from_secs(10), || {
            number(&listener(&proxy, "web")["max_connections"]) == 1000 + n as u64
        });
    }
    sockets.finish();
    let client = load.stop();
    judge(&client, &origins.http.each_ref().map(Origin::journal)).assert_all_answered("F21 watch");
    assert_none_closed("F21 watch", 4, &client);
}

#[test]
fn a_reload_that_changes_nothing_says_so() {
    let origins = Origins::start();
    let proxy = start(&origins.config(1, ""));
    assert_eq!(tell(&proxy, &["reload"]).fine(), "nothing changed\n");
    proxy.signal(signal::SIGHUP);
    let line = proxy.wait_stderr("nothing changed", Duration::from_secs(10));
    assert!(line.is_some(), "{}", proxy.stderr());
}

#[test]
fn a_change_that_needs_a_new_process_says_so_and_the_rest_is_adopted() {
    let origins = Origins::start();
    let text = origins.config(1, "");
    let proxy = start(&text);
    proxy.write_config(&origins.config(2, "").replace("count = 2", "count = 3"));
    let changes = tell(&proxy, &["reload"]).fine();
    assert!(changes.contains("restart"), "{changes}");
    assert_eq!(number(&listener(&proxy, "web")["max_connections"]), 1002);
    assert_eq!(number(&proxy.admin_json("/api/v1/status")["workers"]), 2);
}
