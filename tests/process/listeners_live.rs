//! Listeners come, move and go while clients use them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use evenkeel_testkit::{
    Cause, Evenkeel, Load, LoadPlan, Origin, Outcome, WebSocket, judge, reserve_port, wait_until,
};

use crate::support::start;
use crate::world::{Kept, MOMENT, closes, config_text, listener, tell};

fn config(origin: &Origin, listeners: &[(&str, &str, &str)]) -> String {
    let mut text = String::from("grace = \"5s\"\n[workers]\ncount = 2\n");
    for (name, bind, more) in listeners {
        let protocol = if more.contains("protocol") { "" } else { "protocol = \"http\"\n" };
        text += &format!("[listener.{name}]\nbind = [{bind}]\npool = \"app\"\n{protocol}{more}\n");
    }
    text + &format!("[pool.app]\ntargets = [\"{}\"]\n", origin.addr())
}

fn quoted(addr: SocketAddr) -> String {
    format!("\"{addr}\"")
}

fn reload(proxy: &Evenkeel, text: &str) -> String {
    proxy.write_config(text);
    tell(proxy, &["reload"]).fine()
}

#[test]
fn f21_a_listener_is_added_moved_and_removed_under_load() {
    let origin = Origin::start("a");
    let ports: [_; 6] = std::array::from_fn(|_| reserve_port());
    let proxy = start(&config(&origin, &[("web", "\"127.0.0.1:0\"", "")]));
    let plan = LoadPlan { connections: 4, pause: Duration::from_millis(1), ..LoadPlan::default() };
    let stays = Load::start(proxy.listener_addr("web"), plan.clone());
    let mut all = None;
    for port in &ports {
        let addr = port.addr();
        reload(&proxy, &config(&origin, &[("web", "\"127.0.0.1:0\"", ""), ("moving", &quoted(addr), "")]));
        assert_eq!(proxy.listener_addrs("moving"), [addr]);
        let load = Load::start(addr, plan.clone());
        load.wait_answers(200);
        // It is gone while they ask.
        reload(&proxy, &config(&origin, &[("web", "\"127.0.0.1:0\"", "")]));
        wait_until("its last client to be gone", MOMENT, || {
            let open = proxy.admin_json("/api/v1/connections");
            open.as_array().unwrap().iter().all(|connection| connection["listener"] != "moving")
        });
        wait_until("the closed door to be met", MOMENT, || load.failed() > 0);
        let journal = load.stop();
        assert_every_connection_was_told(&journal);
        all = Some(match all {
            None => journal,
            Some(before) => evenkeel_testkit::ClientJournal::merge(before, journal),
        });
    }
    let stays = stays.stop();
    assert_eq!(stays.connections(), 4, "the listener that stays closed connections");
    judge(&stays, &[origin.journal()]).assert_all_answered("F21 the listener that stays");
    judge(&all.unwrap(), &[origin.journal()]).assert_none_lost("F21 the listener that leaves");
}

/// Each connection's last answer said that it is the last.
fn assert_every_connection_was_told(client: &evenkeel_testkit::ClientJournal) {
    for number in 1..=client.records.iter().map(|record| record.connection).max().unwrap_or(0) {
        let last = client.records.iter().rev().find(|record| record.connection == number);
        let told = last.is_some_and(|last| {
            matches!(last.outcome, Outcome::Answered { status: 200, close_seen: true, .. })
        });
        assert!(told, "connection {number} ended with {last:?}");
    }
}

#[test]
fn f21_a_listener_moves_to_another_address_under_load() {
    let origin = Origin::start("a");
    let (from, to) = (reserve_port(), reserve_port());
    let proxy = start(&config(&origin, &[("web", &quoted(from.addr()), "")]));
    let plan = LoadPlan { connections: 4, pause: Duration::from_millis(1), ..LoadPlan::default() };
    let load = Load::start(from.addr(), plan);
    load.wait_answers(200);
    let mut idle = Kept::idle(from.addr());
    reload(&proxy, &config(&origin, &[("web", &quoted(to.addr()), "")]));
    assert_eq!(proxy.listener_addrs("web"), [to.addr()]);
    assert_eq!(Kept::connect(to.addr()).get("/").unwrap().status, 200);
    assert!(evenkeel_testkit::Stream::connect(&from.addr().into(), MOMENT).is_err(), "the old door is open");
    // The listener is the same one, so its connections are kept, wherever they came in.
    let answered = load.answered();
    load.wait_answers(200);
    assert!(load.answered() > answered);
    let answer = idle.get("/").unwrap();
    assert!(answer.status == 200 && !closes(&answer), "{answer:?}");
    judge(&load.stop(), &[origin.journal()]).assert_all_answered("F21 move");
}

#[test]
fn f21_two_listeners_swap_their_addresses() {
    let origin = Origin::start("a");
    let (one, two) = (reserve_port(), reserve_port());
    let pair = |web: SocketAddr, api: SocketAddr| {
        config(&origin, &[("web", &quoted(web), ""), ("api", &quoted(api), "")])
    };
    let proxy = start(&pair(one.addr(), two.addr()));
    let plan = LoadPlan { connections: 3, pause: Duration::from_millis(1), ..LoadPlan::default() };
    let loads = [one.addr(), two.addr()].map(|addr| Load::start(addr, plan.clone()));
    for n in 0..10 {
        let (web, api) = if n % 2 == 0 { (two.addr(), one.addr()) } else { (one.addr(), two.addr()) };
        reload(&proxy, &pair(web, api));
        assert_eq!((proxy.listener_addr("web"), proxy.listener_addr("api")), (web, api));
        assert_eq!(Kept::connect(web).get("/").unwrap().status, 200);
    }
    for load in loads {
        judge(&load.stop(), &[origin.journal()]).assert_all_answered("F21 swap");
    }
}

#[test]
fn f21_an_idle_client_of_a_removed_listener_gets_one_more_answer_and_no_closed_door() {
    let origin = Origin::start("a");
    let proxy = start(&config(&origin, &[("web", "\"127.0.0.1:0\"", ""), ("old", "\"127.0.0.1:0\"", "")]));
    let old = proxy.listener_addr("old");
    let mut clients: Vec<Kept> = (0..20).map(|_| Kept::idle(old)).collect();
    // Connected, and yet to say a word.
    let mut fresh = Kept::connect(old);
    let mut socket = WebSocket::connect(old, "/", Duration::from_secs(20)).unwrap();
    reload(&proxy, &config(&origin, &[("web", "\"127.0.0.1:0\"", "")]));
    assert!(evenkeel_testkit::Stream::connect(&old.into(), MOMENT).is_err(), "the old door is open");
    assert!(clients.iter_mut().all(|client| !client.stirs()), "an idle client met a closed door");
    for mut client in clients {
        let answer = client.get("/").unwrap();
        assert!(answer.status == 200 && closes(&answer), "{answer:?}");
        assert_eq!(client.end(), Cause::Closed);
    }
    let answer = fresh.get("/").unwrap();
    assert!(answer.status == 200 && closes(&answer), "{answer:?}");
    socket.send("still there?").unwrap();
    assert_eq!(socket.receive().unwrap(), "still there?");
}

#[test]
fn a_removed_listener_cuts_what_is_left_when_the_grace_time_is_over() {
    let origin = Origin::start("a");
    let with = |listeners: &[(&str, &str, &str)]| config(&origin, listeners).replace("\"5s\"", "\"300ms\"");
    let proxy = start(&with(&[("web", "\"127.0.0.1:0\"", ""), ("old", "\"127.0.0.1:0\"", "")]));
    let mut socket = WebSocket::connect(proxy.listener_addr("old"), "/", MOMENT).unwrap();
    let mut stays = WebSocket::connect(proxy.listener_addr("web"), "/", MOMENT).unwrap();
    reload(&proxy, &with(&[("web", "\"127.0.0.1:0\"", "")]));
    assert!(matches!(socket.receive(), Err(Cause::Closed | Cause::Reset)));
    stays.send("and I?").unwrap();
    assert_eq!(stays.receive().unwrap(), "and I?");
}

#[test]
fn a_removed_listener_comes_back_on_the_same_address() {
    let origin = Origin::start("a");
    let port = reserve_port();
    let with = config(&origin, &[("web", "\"127.0.0.1:0\"", ""), ("old", &quoted(port.addr()), "")]);
    let without = config(&origin, &[("web", "\"127.0.0.1:0\"", "")]);
    let proxy = start(&with);
    for _ in 0..10 {
        let mut kept = Kept::idle(port.addr());
        reload(&proxy, &without);
        reload(&proxy, &with);
        // The old connection drains still; the listener has new ones.
        let mut new = Kept::idle(port.addr());
        assert!(closes(&kept.get("/").unwrap()));
        assert!(!closes(&new.get("/").unwrap()));
    }
}

#[test]
fn f21_a_new_backlog_costs_no_connection_attempt() {
    let origin = Origin::start("a");
    let port = reserve_port();
    let with =
        |backlog: usize| config(&origin, &[("web", &quoted(port.addr()), &format!("backlog = {backlog}"))]);
    let proxy = start(&with(1024));
    // Every request knocks anew: nothing may fall between the old sockets and the new ones.
    let plan = LoadPlan { connections: 8, keep_alive: false, ..LoadPlan::default() };
    let load = Load::start(port.addr(), plan);
    let mut kept = Kept::idle(port.addr());
    for n in 0..30 {
        reload(&proxy, &with(100 + n));
        load.wait_answers(20);
    }
    let answer = kept.get("/").unwrap();
    assert!(answer.status == 200 && !closes(&answer), "{answer:?}");
    judge(&load.stop(), &[origin.journal()]).assert_all_answered("F21 backlog");
}

#[test]
fn a_listener_changes_its_protocol() {
    let origin = Origin::start("a");
    let port = reserve_port();
    let with = |protocol: &str| {
        config(&origin, &[("web", &quoted(port.addr()), &format!("protocol = \"{protocol}\""))])
    };
    let proxy = start(&with("http"));
    let mut before = Kept::idle(port.addr());
    reload(&proxy, &with("tcp"));
    assert_eq!(listener(&proxy, "web")["protocol"], "tcp");
    // Bytes go through as they are: the origin sees a path that no HTTP listener would let pass.
    let mut raw = Kept::connect(port.addr());
    raw.send("GET /a\x01b HTTP/1.1\r\nhost: test.example\r\n\r\n");
    assert_eq!(raw.answer().unwrap().status, 200);
    assert_eq!(origin.journal().last().unwrap().path, "/a\x01b");
    assert_eq!(before.get("/").unwrap().status, 200, "a connection of before was lost");
    reload(&proxy, &with("http"));
    let mut strict = Kept::connect(port.addr());
    strict.send("GET /a\x01b HTTP/1.1\r\nhost: test.example\r\n\r\n");
    assert_eq!(strict.answer().unwrap().status, 400);
    assert_eq!(raw.get("/").unwrap().status, 200, "a connection of before was lost");
}

#[test]
fn a_unix_listener_comes_and_goes_with_its_file() {
    let origin = Origin::start("a");
    let web = ("web", "\"127.0.0.1:0\"", "");
    let proxy = start(&config(&origin, &[web]));
    let path = proxy.dir().join("app.sock");
    let bind = format!("\"unix:{}\"", path.display());
    reload(&proxy, &config(&origin, &[web, ("app", &bind, "")]));
    let mut client = Kept::idle(path.clone());
    assert_eq!(client.get("/").unwrap().status, 200);
    reload(&proxy, &config(&origin, &[web, ("app", &bind, "backlog = 77")]));
    assert_eq!(Kept::connect(path.clone()).get("/").unwrap().status, 200);
    assert!(!closes(&client.get("/").unwrap()));
    reload(&proxy, &config(&origin, &[web]));
    assert!(closes(&client.get("/").unwrap()));
    assert!(!path.exists(), "the socket's file is left behind");
}

/// Nothing was changed, and it was said why: the address, the cause, the remedy.
fn assert_bind_refused(proxy: &Evenkeel, before: &str, addr: &str) {
    let error = tell(proxy, &["reload"]).refused(1);
    for word in ["bind-failed", addr, "another process listens there", "choose another address"] {
        assert!(error.contains(word), "{word:?} is missing in {error}");
    }
    let (status, body) = proxy.admin("POST", "/api/v1/reload", "");
    assert!(status == 409 && body.contains("\"bind-failed\""), "{status} {body}");
    assert_eq!(config_text(proxy), before, "the configuration was changed");
    proxy.signal(evenkeel_testkit::signal::SIGHUP);
    let line = proxy.wait_stderr("configuration refused (bind-failed)", MOMENT);
    assert!(line.is_some(), "{}", proxy.stderr());
}

#[test]
fn a_port_of_another_process_is_refused_and_nothing_changes() {
    let origin = Origin::start("a");
    let web = ("web", "\"127.0.0.1:0\"", "");
    let proxy = start(&config(&origin, &[web]));
    let addr = proxy.listener_addr("web");
    let before = config_text(&proxy);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap();
    // The first new listener could be bound: it must not stay behind.
    let free = reserve_port();
    let three = [web, ("fine", &quoted(free.addr()), ""), ("taken", &quoted(other), "")];
    proxy.write_config(&config(&origin, &three));
    assert_bind_refused(&proxy, &before, &other.to_string());
    assert_eq!((proxy.listener_addr("web"), listener(&proxy, "fine")), (addr, serde_json::Value::Null));
    assert!(
        evenkeel_testkit::Stream::connect(&free.addr().into(), MOMENT).is_err(),
        "a socket stayed behind"
    );
    drop(taken);
    reload(&proxy, &config(&origin, &three));
    assert_eq!(Kept::connect(other).get("/").unwrap().status, 200);
}

#[test]
fn a_port_that_another_process_would_share_is_refused_all_the_same() {
    let origin = Origin::start("a");
    let web = ("web", "\"127.0.0.1:0\"", "");
    let proxy = start(&config(&origin, &[web]));
    let before = config_text(&proxy);
    let sharing = sharing_listener();
    let other = sharing.local_addr().unwrap();
    proxy.write_config(&config(&origin, &[web, ("taken", &quoted(other), "")]));
    assert_bind_refused(&proxy, &before, &other.to_string());
    // Had it been shared, some of these would have gone astray.
    for _ in 0..20 {
        let _client = evenkeel_testkit::Stream::connect(&other.into(), MOMENT).unwrap();
        sharing.accept().unwrap();
    }
}

/// A socket that allows others beside it, as that of another balancer.
fn sharing_listener() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

#[test]
fn a_refused_change_leaves_a_unix_listener_reachable() {
    let origin = Origin::start("a");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap();
    let proxy = start(&config(&origin, &[("app", "\"unix:{dir}/app.sock\"", "")]));
    let path = proxy.dir().join("app.sock");
    let before = config_text(&proxy);
    assert_eq!(Kept::connect(path.clone()).get("/").unwrap().status, 200);
    // The new backlog takes a new socket, and the second listener cannot be had.
    let bind = format!("\"unix:{}\"", path.display());
    proxy.write_config(&config(&origin, &[("app", &bind, "backlog = 77"), ("taken", &quoted(other), "")]));
    assert_bind_refused(&proxy, &before, &other.to_string());
    assert_eq!(Kept::connect(path).get("/").unwrap().status, 200);
}
