//! F34: a defect of ours that panics costs one request, and nothing else.

use evenkeel_testkit::{Cause, Launch, Load, LoadPlan, Origin, WebSocket, judge};

use crate::support::{BIN, http};
use crate::world::{Kept, MOMENT, closes, number};

const PANIC: &str = "GET / HTTP/1.1\r\nhost: a\r\nx-evenkeel-failpoint: panic\r\n\r\n";

#[test]
fn f34_a_panic_costs_one_request_and_nothing_else() {
    const PANICS: usize = 100;
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let launch = Launch::new(BIN, &http(&[a.addr(), b.addr()], "")).env("EVENKEEL_FAILPOINTS", "1");
    let proxy = launch.start();
    let web = proxy.listener_addr("web");
    let mut neighbour = Kept::idle(web);
    let mut socket = WebSocket::connect(web, "/", MOMENT).unwrap();
    let load = Load::start(
        web,
        LoadPlan { connections: 4, methods: vec!["GET", "POST"], body_bytes: 99, ..LoadPlan::default() },
    );
    load.wait_answers(100);
    for n in 1..=PANICS {
        // Every other one panics on a connection that has served before.
        let mut client = if n % 2 == 0 { Kept::idle(web) } else { Kept::connect(web) };
        client.send(PANIC);
        let answer = client.answer().unwrap();
        assert_eq!(
            (answer.status, answer.header("x-evenkeel-reason")),
            (500, Some("internal")),
            "{answer:?}"
        );
        assert!(closes(&answer), "{answer:?}");
        assert_eq!(client.end(), Cause::Closed);
    }
    load.wait_answers(100);
    assert!(neighbour.get("/").unwrap().status == 200, "a neighbour was cut");
    socket.send("still there?").unwrap();
    assert_eq!(socket.receive().unwrap(), "still there?");
    let client = load.stop();
    assert_eq!(client.connections(), 4);
    judge(&client, &[a.journal(), b.journal()]).assert_all_answered("F34");
    assert_eq!(proxy.metric("evenkeel_panics_total", &[r#"listener="web""#]), PANICS as f64);
    assert_eq!(
        proxy.metric("evenkeel_ends_total", &[r#"listener="web""#, r#"reason="internal""#]) as usize,
        PANICS
    );
    let status = proxy.admin_json("/api/v1/status");
    assert_eq!(number(&status["panics"]), PANICS as u64);
    // Nothing is held on behalf of those that are gone.
    assert_eq!(number(&status["connections"]), 2);
    let flights = proxy.metric("evenkeel_target_in_flight", &[]);
    assert_eq!(flights, 1.0, "the WebSocket alone is in flight");
    assert!(proxy.exited().is_none());
}

#[test]
fn without_the_variable_the_field_means_nothing() {
    let origin = Origin::start("a");
    let proxy = Launch::new(BIN, &http(&[origin.addr()], "")).start();
    let mut client = Kept::connect(proxy.listener_addr("web"));
    client.send(PANIC);
    assert_eq!(client.answer().unwrap().status, 200);
    assert_eq!(proxy.metric("evenkeel_panics_total", &[]), 0.0);
}
