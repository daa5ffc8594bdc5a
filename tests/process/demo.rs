//! `evenkeel demo`: it starts, serves, and says what to try.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use evenkeel_testkit::{Running, signal};

use crate::support::BIN;
use crate::world::{Kept, MOMENT, ask_at};

/// The first `http://ADDRESS` of a line.
fn address(line: &str) -> SocketAddr {
    let rest = line.split("http://").nth(1).unwrap_or_else(|| panic!("no address in {line:?}"));
    let end = rest.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|error| panic!("{rest:?}: {error}"))
}

#[test]
fn the_demo_serves_and_says_what_to_try() {
    let mut command = Command::new(BIN);
    command.arg("demo").env_remove("EVENKEEL_ADMIN").env_remove("EVENKEEL_ADMIN_TOKEN");
    let demo = Running::spawn(command).unwrap();
    let line = demo.wait_stdout("admin API:", MOMENT);
    let admin = address(&line.unwrap_or_else(|| panic!("{}{}", demo.stdout(), demo.stderr())));
    let web = address(&demo.wait_stdout("curl http://", MOMENT).unwrap());
    let mut client = Kept::connect(web);
    let mut seen: Vec<String> = (0..6).map(|_| client.get("/").unwrap().text().trim().to_owned()).collect();
    assert_eq!(seen[..3], seen[3..], "the origins take turns");
    seen.truncate(3);
    seen.sort();
    assert_eq!(seen, ["hello from blue", "hello from green", "hello from red"]);
    let said = demo.stdout();
    for word in ["status targets", "target drain", "/metrics", "Ctrl-C", "listening: web on"] {
        assert!(said.contains(word), "{word:?} is missing in {said}");
    }
    let metrics = ask_at(&admin.into(), "GET", "/metrics", &[("host", &admin.to_string())], b"");
    assert!(
        metrics.status == 200 && metrics.text().contains("evenkeel_listener_requests_total"),
        "{metrics:?}"
    );
    // What it tells people to type works as it stands.
    let hint = said.lines().find(|line| line.contains("evenkeel status targets")).unwrap();
    let words: Vec<&str> = hint.split_whitespace().skip(1).filter(|word| *word != "--watch").collect();
    let status = crate::world::verb(&words).fine();
    assert_eq!(status.matches(" up ").count(), 3, "{status}");
    demo.signal(signal::SIGINT);
    drop(client);
    assert_eq!(demo.wait_exit(Duration::from_secs(8)).code(), Some(0), "{}", demo.stderr());
}
