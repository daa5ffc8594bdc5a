//! wrk as the load on the HTTP plane.

use evenkeel_testkit::{Origin, skip, wait_until};

use crate::support::{http, start};
use crate::world::{PATIENCE, ask, missing};

#[test]
fn wrk_counts_no_error() {
    if let Some(program) = missing(&["wrk"]) {
        skip!("{program} is not installed");
    }
    let (a, b) = (Origin::start("a"), Origin::start("b"));
    let proxy = start(&http(&[a.addr(), b.addr()], ""));
    let url = format!("http://{}/", proxy.listener_addr("web"));
    let said = ask("wrk", &["-t", "2", "-c", "32", "-d", "2s", "--timeout", "10s", &url]);
    let requests = said.lines().find(|line| line.contains("requests in")).unwrap_or_else(|| panic!("{said}"));
    println!("wrk: {}", requests.trim());
    // It says nothing of errors when there are none.
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    let answered: u64 = requests.split_whitespace().next().unwrap().parse().unwrap();
    assert!(answered > 100, "{said}");
    wait_until("wrk to have left", PATIENCE, || proxy.admin_json("/api/v1/listeners")[0]["open"] == 0);
    // It cuts off at the end: what was under way then, one for each connection at most, it does not count.
    let counted = proxy.admin_json("/api/v1/listeners")[0]["requests"].as_u64().unwrap();
    assert!((answered..=answered + 32).contains(&counted), "wrk {answered}, we {counted}");
    let (at_a, at_b) = (a.journal().len(), b.journal().len());
    assert!(at_a.abs_diff(at_b) <= 32, "a had {at_a}, b had {at_b}");
}
