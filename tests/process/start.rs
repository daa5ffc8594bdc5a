//! From the start of the process to its first answer.

use std::time::{Duration, Instant};

use evenkeel_testkit::Origin;

use crate::support::{http, start};
use crate::world::Kept;

#[test]
fn the_first_request_is_served_soon_after_the_start() {
    let origin = Origin::start("a");
    let config = http(&[origin.addr()], "");
    let mut took: Vec<Duration> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let proxy = start(&config);
            assert_eq!(Kept::connect(proxy.listener_addr("web")).get("/").unwrap().status, 200);
            begun.elapsed()
        })
        .collect();
    took.sort();
    println!("start to first answer: median {:?}, most {:?}", took[2], took[4]);
    // The aim of 100 ms is the release build's; this is a bound for any machine.
    assert!(took[2] < Duration::from_secs(2), "{took:?}");
}

#[test]
fn three_lines_say_what_listens_where() {
    let origin = Origin::start("a");
    let proxy = start(&http(&[origin.addr()], ""));
    let web = proxy.listener_addr("web");
    proxy.wait_stdout("admin API:", Duration::from_secs(5));
    let said = proxy.stdout();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].starts_with("evenkeel ") && lines[0].contains("2 workers"), "{said}");
    assert_eq!(lines[1], format!("listening: web on {web} → pool app"));
    assert_eq!(lines[2], format!("admin API: {}", proxy.admin_addr()));
    assert_eq!(proxy.stderr(), "", "nothing is wrong, so nothing is said");
}
