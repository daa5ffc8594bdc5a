//! The stream of events.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use evenkeel_api::{Event, EventKind, TargetState};
use evenkeel_base::Reason;
use evenkeel_health::Outcome;
use evenkeel_state::{EventKind as StateEvent, Signal};

use super::play::{Stage, config};

/// A follower that reads one message after the other.
struct Follower {
    lines: BufReader<TcpStream>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: Option<u64>,
    event: String,
    data: String,
}

impl Follower {
    fn new(stage: &Stage, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut follower = Self { lines: BufReader::new(stage.open(path, headers)) };
        let mut head = Vec::new();
        while let Some(line) = follower.line().filter(|line| !line.is_empty()) {
            head.push(line.to_ascii_lowercase());
        }
        assert!(head[0].contains("200"), "{head:?}");
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        follower
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next message; comments and the sizes of chunks are passed over. `None` is the end.
    fn next(&mut self) -> Option<Message> {
        let mut message = Message::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", id)) => message.id = Some(id.parse().unwrap()),
                Some(("event", event)) => message.event = event.to_owned(),
                Some(("data", data)) => message.data = data.to_owned(),
                _ if line.is_empty() && !message.data.is_empty() => return Some(message),
                _ => {}
            }
        }
    }

    fn ids(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.next().unwrap().id.unwrap()).collect()
    }
}

fn emit(stage: &Stage, count: usize) {
    for n in 0..count {
        let kind = StateEvent::Config { lines: vec![format!("line {n}")], adopted: true };
        stage.registry.events().emit(kind, Reason::Finished);
    }
}

#[test]
fn recent_events_come_first_and_then_each_as_it_happens() {
    let stage = Stage::new();
    emit(&stage, 2);
    let mut follower = Follower::new(&stage, "/api/v1/events", &[]);
    assert_eq!(follower.ids(2), [1, 2]);
    stage.registry.resolved("db.internal", vec!["10.9.9.9".parse().unwrap()]);
    let message = follower.next().unwrap();
    assert_eq!((message.id, message.event.as_str()), (Some(3), "target"));
    let event: Event = serde_json::from_str(&message.data).unwrap();
    assert_eq!((event.sequence, event.kind, event.reason.as_str()), (3, EventKind::Target, "resolved"));
    assert_eq!((event.from, event.to), (Some(TargetState::Unresolved), Some(TargetState::Up)));
    assert_eq!((event.pool.as_deref(), event.target.as_deref()), (Some("db"), Some("db.internal:5432")));
    stage.registry.apply(config(&super::play::CONFIG.replace("weight = 3", "weight = 5")));
    let event: Event = serde_json::from_str(&follower.next().unwrap().data).unwrap();
    assert_eq!((event.kind, event.adopted), (EventKind::Config, Some(true)));
    assert_eq!(event.lines, ["pool app: target 10.0.0.2:80 weight 3 → 5"]);
    assert_eq!(event.pool, None);
}

#[test]
fn a_follower_that_comes_back_is_told_what_it_missed() {
    let stage = Stage::new();
    emit(&stage, 5);
    assert_eq!(Follower::new(&stage, "/api/v1/events", &[("last-event-id", "3")]).ids(2), [4, 5]);
    let mut up_to_date = Follower::new(&stage, "/api/v1/events", &[("last-event-id", "5")]);
    emit(&stage, 1);
    assert_eq!(up_to_date.ids(1), [6]);
    // From an earlier process that came further: all that this one knows.
    assert_eq!(
        Follower::new(&stage, "/api/v1/events", &[("last-event-id", "99")]).ids(6),
        [1, 2, 3, 4, 5, 6]
    );
    assert_eq!(Follower::new(&stage, "/api/v1/events?limit=2", &[]).ids(2), [5, 6]);
    let mut only_new = Follower::new(&stage, "/api/v1/events?limit=0", &[]);
    emit(&stage, 1);
    assert_eq!(only_new.ids(1), [7]);
    for odd in ["x", "-1", "1.0", "", "99999999999999999999"] {
        let refused = stage.call("GET", "/api/v1/events", &[("last-event-id", odd)], b"");
        assert_eq!((refused.status, refused.refusal().at.as_deref()), (400, Some("last-event-id")), "{odd}");
    }
}

#[test]
fn what_was_lost_is_said_to_be() {
    let stage = Stage::new();
    emit(&stage, 1_500);
    let mut follower = Follower::new(&stage, "/api/v1/events", &[("last-event-id", "100")]);
    let lost = follower.next().unwrap();
    assert_eq!((lost.id, lost.event.as_str(), lost.data.as_str()), (None, "lost", "{\"lost\":376}"));
    assert_eq!(follower.ids(1_024), (477..=1_500).collect::<Vec<_>>());
}

#[test]
fn a_flood_reaches_a_follower_in_order_and_without_an_unnoticed_gap() {
    let stage = Stage::new();
    let mut follower = Follower::new(&stage, "/api/v1/events", &[]);
    emit(&stage, 20_000);
    let (mut told, mut lost) = (0, 0);
    while told < 20_000 {
        let message = follower.next().unwrap();
        match message.id {
            Some(id) => {
                assert_eq!(id, told + lost + 1);
                told = id;
                lost = 0;
            }
            None => {
                let data: serde_json::Value = serde_json::from_str(&message.data).unwrap();
                lost = data["lost"].as_u64().unwrap();
            }
        }
    }
}

#[test]
fn one_list_instead_of_a_stream() {
    let stage = Stage::new();
    assert_eq!(stage.get("/api/v1/events?follow=0").body, "[]");
    emit(&stage, 4);
    let sequences = |path: &str, headers: &[(&str, &str)]| -> Vec<u64> {
        let events: Vec<Event> = stage.call("GET", path, headers, b"").json();
        events.iter().map(|event| event.sequence).collect()
    };
    assert_eq!(sequences("/api/v1/events?follow=0", &[]), [1, 2, 3, 4]);
    assert_eq!(sequences("/api/v1/events?follow=false&limit=2", &[]), [3, 4]);
    assert_eq!(sequences("/api/v1/events?follow=0", &[("last-event-id", "3")]), [4]);
}

#[test]
fn followers_are_limited_and_leave_their_places() {
    let stage = Stage::new();
    let mut followers: Vec<Follower> =
        (0..64).map(|_| Follower::new(&stage, "/api/v1/events", &[])).collect();
    let refused = stage.get("/api/v1/events");
    assert_eq!((refused.status, refused.refusal().reason.as_str()), (503, "overloaded"));
    assert_eq!(stage.get("/api/v1/events?follow=0").status, 200);
    drop(followers.pop());
    // That it is gone is seen when the next event cannot be sent.
    let deadline = std::time::Instant::now() + super::play::SOON;
    loop {
        emit(&stage, 1);
        let stream = stage.open("/api/v1/events", &[]);
        let mut first = String::new();
        BufReader::new(stream).read_line(&mut first).unwrap();
        if first.contains("200") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{first}");
    }
}

#[test]
fn a_stop_ends_the_stream() {
    let mut stage = Stage::new();
    let mut follower = Follower::new(&stage, "/api/v1/events", &[]);
    emit(&stage, 1);
    assert_eq!(follower.ids(1), [1]);
    let took = stage.stop();
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    assert_eq!(follower.next(), None);
}

#[test]
fn a_signal_of_the_planes_carries_one_reason_everywhere() {
    let stage = Stage::new();
    let pool = stage.pool("app");
    let worker = stage.worker();
    for _ in 0..20 {
        super::play::lease(&pool, &worker, "192.0.2.1:1").failed(Reason::ConnectRefused);
    }
    let mut signals = stage.registry.take_signals().unwrap();
    let Signal { pool, target, streak } = signals.try_recv().unwrap();
    stage.registry.handle(pool.as_str(), target, Outcome::ConnectErrors(streak));
    let events: Vec<Event> = stage.read("/api/v1/events?follow=0");
    let event = &events[0];
    assert_eq!((event.to, event.reason.as_str()), (Some(TargetState::Ejected), "connect-errors"));
    let address = event.target.clone().unwrap();
    let shown: evenkeel_api::Target = stage.read(&evenkeel_api::target_path("app", &address));
    assert_eq!((shown.state, shown.reason.as_deref()), (TargetState::Ejected, Some("connect-errors")));
    let series = format!(
        "evenkeel_target_transitions_total{{pool=\"app\",target=\"{address}\",to=\"ejected\",reason=\"connect-errors\"}} 1\n"
    );
    let page = stage.get("/metrics").body;
    assert!(page.contains(&series), "{page}");
}
