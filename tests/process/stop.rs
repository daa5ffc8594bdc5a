//! F29: stopping. What was accepted is finished, nobody meets a closed door, and the exit code tells how it went.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use evenkeel_testkit::{
    Cause, Evenkeel, Hang, Launch, Load, LoadPlan, Origin, Outcome, TempDir, WebSocket, judge, signal,
    wait_until,
};

use crate::support::{BIN, http, start, tcp};
use crate::world::{Kept, MOMENT, ask, closes};

/// Nothing drains: every connection was told, and the process ends by itself.
const WELL: Option<i32> = Some(0);
const GRACE_OVER: Option<i32> = Some(3);
const STOPPED: Option<i32> = Some(130);

fn with_grace(grace: &str, text: &str) -> String {
    format!("grace = \"{grace}\"\n{text}")
}

/// Asks it to stop and waits until it has heard.
fn terminate(proxy: &Evenkeel) {
    proxy.signal(signal::SIGTERM);
    wait_until("/ready to say 503", MOMENT, || proxy.admin_get("/ready").0 == 503);
}

#[test]
fn f29_sigterm_under_load_finishes_every_request_and_ends_with_0() {
    for stop in [signal::SIGTERM, signal::SIGINT] {
        let (a, b) = (Origin::start("a"), Origin::start("b"));
        let proxy = start(&with_grace("20s", &http(&[a.addr(), b.addr()], "")));
        let plan = LoadPlan {
            connections: 8,
            methods: vec!["GET", "POST"],
            body_bytes: 1000,
            pause: Duration::from_millis(1),
            ..LoadPlan::default()
        };
        let load = Load::start(proxy.listener_addr("web"), plan);
        load.wait_answers(1_500);
        proxy.signal(stop);
        let asked = Instant::now();
        assert_eq!(proxy.wait_exit(MOMENT).code(), WELL, "{}", proxy.stderr());
        println!("F29: drained in {:?}", asked.elapsed());
        let client = load.stop();
        let told = |number: u64| {
            let last = client.records.iter().rfind(|record| record.connection == number);
            last.is_some_and(|last| matches!(last.outcome, Outcome::Answered { close_seen: true, .. }))
        };
        let untold: Vec<u64> = (1..=client.connections() as u64).filter(|number| !told(*number)).collect();
        assert!(untold.is_empty(), "connections {untold:?} ended without a word");
        judge(&client, &[a.journal(), b.journal()]).assert_none_lost("F29");
    }
}

#[test]
fn f29_slow_requests_and_streams_are_finished_before_the_end() {
    let origin = Origin::start("a");
    origin.set(|behaviour| behaviour.delay_head = Duration::from_millis(700));
    let proxy = start(&with_grace(
        "20s",
        &format!(
            "{}[listener.db]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"app\"\n",
            http(&[origin.addr()], "")
        ),
    ));
    let plan = LoadPlan {
        connections: 10,
        requests: Some(10),
        methods: vec!["POST"],
        body_bytes: 9,
        ..LoadPlan::default()
    };
    let load = Load::start(proxy.listener_addr("web"), plan);
    let mut stream = Kept::connect(proxy.listener_addr("db"));
    stream.send("GET /tcp HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_requests(11);
    terminate(&proxy);
    assert_eq!(stream.answer().unwrap().status, 200);
    origin.behave();
    assert_eq!(stream.get("/again").unwrap().status, 200, "a TCP stream goes on until it ends by itself");
    assert!(proxy.exited().is_none(), "it ended with a stream open");
    drop(stream);
    assert_eq!(proxy.wait_exit(MOMENT).code(), WELL, "{}", proxy.stderr());
    judge(&load.finish(), &[origin.journal()]).assert_all_answered("F29 slow");
}

#[test]
fn f29_idle_clients_get_one_more_answer_and_ready_turns_503() {
    let origin = Origin::start("a");
    let proxy = start(&with_grace("20s", &http(&[origin.addr()], "")));
    let web = proxy.listener_addr("web");
    let mut clients: Vec<Kept> = (0..20).map(|_| Kept::idle(web)).collect();
    let mut fresh = Kept::connect(web);
    assert_eq!(proxy.admin_get("/ready").0, 200);
    terminate(&proxy);
    let answer = ask(&proxy, "GET", "/ready", &[("host", "localhost"), ("connection", "close")], b"");
    assert_eq!((answer.status, answer.header("x-evenkeel-reason")), (503, Some("draining")));
    assert_eq!(proxy.admin_get("/health").0, 200, "it lives, though it drains");
    assert_eq!(proxy.admin_json("/api/v1/status")["draining"], true);
    wait_until("the door to close", MOMENT, || {
        evenkeel_testkit::Stream::connect(&web.into(), MOMENT).is_err()
    });
    assert!(clients.iter_mut().all(|client| !client.stirs()), "an idle client met a closed door");
    for mut client in clients {
        let answer = client.get("/").unwrap();
        assert!(answer.status == 200 && closes(&answer), "{answer:?}");
        assert_eq!(client.end(), Cause::Closed);
    }
    let answer = fresh.get("/").unwrap();
    assert!(answer.status == 200 && closes(&answer), "{answer:?}");
    drop(fresh);
    assert_eq!(proxy.wait_exit(MOMENT).code(), WELL, "{}", proxy.stderr());
}

#[test]
fn f29_when_the_grace_time_is_over_what_is_left_is_cut_and_the_code_says_so() {
    let origin = Origin::start("a");
    let proxy = start(&with_grace("500ms", &http(&[origin.addr()], "")));
    origin.set(|behaviour| behaviour.hang = Some(Hang::Answer));
    let mut hung = Kept::connect(proxy.listener_addr("web"));
    hung.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    origin.wait_requests(1);
    let asked = Instant::now();
    proxy.signal(signal::SIGTERM);
    let code = proxy.wait_exit(MOMENT).code();
    let took = asked.elapsed();
    assert_eq!(code, GRACE_OVER, "{}", proxy.stderr());
    assert!((Duration::from_millis(500)..Duration::from_secs(4)).contains(&took), "it took {took:?}");
    let end = hung.answer().unwrap_err();
    assert!(matches!(end.cause, Cause::Reset | Cause::Closed), "{end:?}");
    let line = proxy.wait_stderr("grace time is over", MOMENT).unwrap_or_default();
    assert!(line.contains("cutting 1 connection"), "{}", proxy.stderr());
}

#[test]
fn f29_a_websocket_lives_until_the_grace_time_is_over() {
    let origin = Origin::start("a");
    let proxy = start(&with_grace("1s", &http(&[origin.addr()], "")));
    let mut socket = WebSocket::connect(proxy.listener_addr("web"), "/", MOMENT).unwrap();
    terminate(&proxy);
    socket.send("still there?").unwrap();
    assert_eq!(socket.receive().unwrap(), "still there?");
    assert_eq!(proxy.wait_exit(MOMENT).code(), GRACE_OVER, "{}", proxy.stderr());
    assert!(matches!(socket.receive(), Err(Cause::Closed | Cause::Reset)));
}

#[test]
fn f29_a_websocket_that_ends_in_time_lets_the_process_end_well() {
    let origin = Origin::start("a");
    let proxy = start(&with_grace("20s", &http(&[origin.addr()], "")));
    let socket = WebSocket::connect(proxy.listener_addr("web"), "/", MOMENT).unwrap();
    terminate(&proxy);
    socket.close().unwrap();
    assert_eq!(proxy.wait_exit(MOMENT).code(), WELL, "{}", proxy.stderr());
}

#[test]
fn a_second_signal_stops_at_once_with_a_code_of_its_own() {
    for second in [signal::SIGTERM, signal::SIGINT] {
        let origin = Origin::start("a");
        origin.set(|behaviour| behaviour.hang = Some(Hang::Answer));
        let proxy = start(&with_grace("20s", &http(&[origin.addr()], "")));
        let mut hung = Kept::connect(proxy.listener_addr("web"));
        hung.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        origin.wait_requests(1);
        terminate(&proxy);
        assert!(!hung.stirs(), "the first signal cut a request");
        let asked = Instant::now();
        proxy.signal(second);
        assert_eq!(proxy.wait_exit(MOMENT).code(), STOPPED, "{}", proxy.stderr());
        assert!(asked.elapsed() < Duration::from_secs(3), "at once took {:?}", asked.elapsed());
        assert!(hung.answer().is_err());
    }
}

#[test]
fn an_idle_process_ends_at_once() {
    let origin = Origin::start("a");
    for text in [http(&[origin.addr()], ""), tcp(&[origin.addr()], "")] {
        let proxy = start(&text);
        let asked = Instant::now();
        proxy.signal(signal::SIGTERM);
        assert_eq!(proxy.wait_exit(MOMENT).code(), WELL, "{}", proxy.stderr());
        assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
        assert!(!proxy.dir().join("admin.sock").exists(), "the admin socket is left behind");
    }
}

#[test]
fn idle_connections_alone_are_not_cut_work() {
    let origin = Origin::start("a");
    let proxy = start(&with_grace("500ms", &http(&[origin.addr()], "")));
    let idle = Kept::idle(proxy.listener_addr("web"));
    proxy.signal(signal::SIGTERM);
    // Its client never asked again: nothing of anybody's was lost.
    assert_eq!(proxy.wait_exit(MOMENT).code(), WELL, "{}", proxy.stderr());
    assert_eq!(proxy.stderr(), "", "nothing was cut, so there is nothing to say");
    assert!(matches!(idle.end(), Cause::Closed | Cause::Reset));
}

#[test]
fn clients_that_never_ask_again_do_not_hold_up_the_end_for_the_whole_grace_time() {
    let origin = Origin::start("a");
    let proxy = start(&with_grace("1h", &http(&[origin.addr()], "")));
    let idle = Kept::idle(proxy.listener_addr("web"));
    proxy.signal(signal::SIGTERM);
    assert_eq!(proxy.wait_exit(Duration::from_secs(20)).code(), WELL, "{}", proxy.stderr());
    assert_eq!(idle.end(), Cause::Closed);
}

#[test]
fn the_pid_file_is_there_while_the_process_lives() {
    let origin = Origin::start("a");
    let proxy = start(&format!("pid_file = \"{{dir}}/evenkeel.pid\"\n{}", http(&[origin.addr()], "")));
    let path = proxy.dir().join("evenkeel.pid");
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), proxy.pid().to_string());
    proxy.signal(signal::SIGTERM);
    proxy.wait_exit(MOMENT);
    assert!(!path.exists(), "the pid file is left behind");
}

#[test]
fn a_pid_file_that_cannot_be_written_is_one_line_with_its_cause() {
    let origin = Origin::start("a");
    let text = format!("pid_file = \"{{dir}}/absent/evenkeel.pid\"\n{}", http(&[origin.addr()], ""));
    let failed = Launch::new(BIN, &text).try_start().unwrap_err();
    assert_eq!(failed.status.and_then(|status| status.code()), Some(1), "{failed}");
    assert!(failed.stderr.contains("absent/evenkeel.pid") && failed.stderr.contains("folder"), "{failed}");
    assert_eq!(failed.stderr.lines().count(), 1, "{failed}");
}

/// The next message to the service manager, as `KEY=VALUE` lines.
fn notice(manager: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 4096];
    let read = manager.recv(&mut bytes).expect("a message to the service manager");
    String::from_utf8_lossy(&bytes[..read]).lines().map(str::to_owned).collect()
}

#[test]
fn systemd_is_told_of_start_reload_and_stop() {
    let dir = TempDir::new();
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(MOMENT)).unwrap();
    let origin = Origin::start("a");
    let launch = Launch::new(BIN, &http(&[origin.addr()], "")).env("NOTIFY_SOCKET", path.to_str().unwrap());
    let proxy = launch.start();
    assert_eq!(notice(&manager), ["READY=1"]);
    assert_eq!(Kept::connect(proxy.listener_addr("web")).get("/").unwrap().status, 200);
    for broken in [false, true] {
        if broken {
            fs::write(proxy.config_path(), "[").unwrap();
        }
        proxy.signal(signal::SIGHUP);
        let reloading = notice(&manager);
        // systemd.service(5), Type=notify-reload: both in one message.
        let stamp = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(
            reloading.contains(&"RELOADING=1".to_owned()) && stamp.is_some_and(|n| n.parse::<u64>().is_ok())
        );
        assert_eq!(notice(&manager), ["READY=1"]);
    }
    proxy.signal(signal::SIGTERM);
    assert_eq!(notice(&manager), ["STOPPING=1"]);
    assert_eq!(proxy.wait_exit(MOMENT).code(), WELL);
}

#[test]
fn a_service_manager_that_is_not_there_harms_nobody() {
    let origin = Origin::start("a");
    let launch = Launch::new(BIN, &http(&[origin.addr()], "")).env("NOTIFY_SOCKET", "/nowhere/notify");
    let proxy = launch.start();
    assert_eq!(Kept::connect(proxy.listener_addr("web")).get("/").unwrap().status, 200);
}
