use super::*;
use std::net::IpAddr;

use evenkeel_config::{NoSource, load};
use evenkeel_health::Outcome;
use evenkeel_state::{Duty, Registry, TargetEdit};

const MS: Duration = Duration::from_millis(1);

/// A pool `p`, not yet asked.
fn registry(pool: &str) -> Registry {
    Registry::new(1, config(pool), 7)
}

fn config(pool: &str) -> evenkeel_config::Config {
    let text =
        format!("[listener.l]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"p\"\n[pool.p]\n{pool}");
    load(&text, "test", &NoSource).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"))
}

fn health(interval: &str) -> String {
    format!("[pool.p.health]\ninterval = \"{interval}\"\ntimeout = \"20ms\"\nfall = 1\nrise = 1")
}

fn roster(registry: &Registry, now: Instant) -> Roster {
    let mut roster = Roster::new(SplitMix64::new(1));
    assert!(roster.update(&registry.snapshot(), now).is_empty());
    roster
}

/// Who is due until then.
fn due(roster: &mut Roster, until: Instant) -> Vec<TargetId> {
    std::iter::from_fn(|| roster.start(until)).map(|plan| plan.target).collect()
}

fn id(registry: &Registry, address: &str) -> TargetId {
    let address = address.parse().unwrap();
    let snapshot = registry.snapshot();
    snapshot.pools["p"].targets.iter().find(|target| target.address == address).unwrap().id
}

#[test]
fn a_new_target_is_asked_soon_and_then_each_interval_from_start_to_start() {
    let registry = registry(&format!("targets = [\"10.0.0.1:1\"]\n{}", health("10s")));
    let begin = Instant::now();
    let mut roster = roster(&registry, begin);
    let first = roster.next_due().unwrap();
    assert!(first - begin < 100 * MS);
    assert!(roster.start(first - MS).is_none(), "not before its time");
    let asked = due(&mut roster, first);
    assert_eq!(asked.len(), 1);
    assert_eq!(roster.next_due(), None, "nobody is asked twice at once");
    roster.finish(asked[0], first + 15 * MS);
    let pause = roster.next_due().unwrap() - first;
    assert!((9000 * MS..=11000 * MS).contains(&pause), "{pause:?}");
}

#[test]
fn a_probe_longer_than_its_interval_is_followed_at_once() {
    let registry = registry(&format!("targets = [\"10.0.0.1:1\"]\n{}", health("50ms")));
    let mut roster = roster(&registry, Instant::now());
    let first = roster.next_due().unwrap();
    let asked = due(&mut roster, first);
    roster.finish(asked[0], first + 400 * MS);
    assert_eq!(roster.next_due(), Some(first + 400 * MS));
}

#[test]
fn nobody_else_is_probed() {
    let registry = registry(&format!(
        "targets = [\"10.0.0.1:1\", \"10.0.0.2:1\", \"db.test:1\"]\nemergency = \"10.0.0.9:1\"\n{}",
        health("1s")
    ));
    let disabled = TargetEdit { duty: Some(Duty::Disabled), ..TargetEdit::default() };
    registry.edit_target("p", &"10.0.0.2:1".parse().unwrap(), disabled).unwrap();
    let now = Instant::now();
    let mut roster = roster(&registry, now);
    assert_eq!(due(&mut roster, now + 200 * MS), [id(&registry, "10.0.0.1:1")]);
    // A draining target is: its standing must be right when it comes back.
    let draining = TargetEdit { duty: Some(Duty::Draining), ..TargetEdit::default() };
    registry.edit_target("p", &"10.0.0.2:1".parse().unwrap(), draining).unwrap();
    registry.resolved("db.test", vec![IpAddr::from([10, 0, 0, 3])]);
    assert!(roster.update(&registry.snapshot(), now).is_empty());
    let mut asked = due(&mut roster, now + 200 * MS);
    asked.sort();
    assert_eq!(asked, [id(&registry, "10.0.0.2:1"), id(&registry, "db.test:1")]);
}

#[test]
fn a_change_elsewhere_moves_nobodys_turn() {
    let registry = registry(&format!("targets = [\"10.0.0.1:1\"]\n{}", health("10s")));
    let now = Instant::now();
    let mut roster = roster(&registry, now);
    let asked = due(&mut roster, now + 200 * MS);
    roster.finish(asked[0], now + 200 * MS);
    let turn = roster.next_due();
    let weight = TargetEdit { weight: evenkeel_base::Weight::new(5), ..TargetEdit::default() };
    registry.edit_target("p", &"10.0.0.1:1".parse().unwrap(), weight).unwrap();
    assert!(roster.update(&registry.snapshot(), now + 300 * MS).is_empty());
    assert_eq!(roster.next_due(), turn);
}

#[test]
fn another_question_stops_the_one_under_way_and_is_asked_soon() {
    let registry = registry(&format!("targets = [\"10.0.0.1:1\"]\n{}", health("10s")));
    let now = Instant::now();
    let mut roster = roster(&registry, now);
    let asked = due(&mut roster, now + 200 * MS);
    registry.apply(config(&format!("targets = [\"10.0.0.1:1\"]\n{}\nport = 99", health("10s"))));
    let later = now + 300 * MS;
    assert_eq!(roster.update(&registry.snapshot(), later), asked);
    let plan = roster.start(later + 100 * MS).unwrap();
    assert_eq!(plan.place, crate::plan::Place::Ip(vec!["10.0.0.1:99".parse().unwrap()]));
}

#[test]
fn new_addresses_are_asked_soon_but_stop_no_probe() {
    let registry = registry(&format!("targets = [\"db.test:1\"]\n{}", health("10s")));
    registry.resolved("db.test", vec![IpAddr::from([10, 0, 0, 1])]);
    let now = Instant::now();
    let mut roster = roster(&registry, now);
    let asked = due(&mut roster, now + 200 * MS);
    registry.resolved("db.test", vec![IpAddr::from([10, 0, 0, 2])]);
    assert!(roster.update(&registry.snapshot(), now + 200 * MS).is_empty());
    assert!(roster.start(now + 400 * MS).is_none());
    roster.finish(asked[0], now + 400 * MS);
    registry.resolved("db.test", vec![IpAddr::from([10, 0, 0, 3])]);
    assert!(roster.update(&registry.snapshot(), now + 500 * MS).is_empty());
    let plan = roster.start(now + 600 * MS).unwrap();
    assert_eq!(plan.place, crate::plan::Place::Ip(vec!["10.0.0.3:1".parse().unwrap()]));
}

#[test]
fn removed_targets_and_pools_leave_nothing_behind() {
    let registry = registry(&format!("targets = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\n{}", health("10s")));
    let now = Instant::now();
    let mut roster = roster(&registry, now);
    let first = roster.start(now + 200 * MS).unwrap().target;
    let (one, two) = (id(&registry, "10.0.0.1:1"), id(&registry, "10.0.0.2:1"));
    registry.remove_target("p", &"10.0.0.1:1".parse().unwrap()).unwrap();
    assert_eq!(roster.update(&registry.snapshot(), now), [one]);
    registry.apply(config("targets = [\"10.0.0.2:1\"]"));
    assert_eq!(roster.update(&registry.snapshot(), now), [two]);
    roster.finish(first, now);
    assert!(roster.targets.is_empty() && roster.due.is_empty());
}

#[test]
fn while_nobody_serves_those_that_are_down_are_asked_four_times_a_second() {
    let registry = registry(&format!("targets = [\"10.0.0.1:1\", \"10.0.0.2:1\"]\n{}", health("30s")));
    let now = Instant::now();
    let mut roster = roster(&registry, now);
    for id in due(&mut roster, now + 100 * MS) {
        roster.finish(id, now + 100 * MS);
    }
    let (one, two) = (id(&registry, "10.0.0.1:1"), id(&registry, "10.0.0.2:1"));
    let down = Outcome::ProbeFailed(evenkeel_base::Reason::ProbeRefused);
    registry.handle("p", one, down);
    roster.update(&registry.snapshot(), now + 100 * MS);
    assert!(roster.start(now + 20_000 * MS).is_none(), "one is left to serve");
    registry.handle("p", two, down);
    roster.update(&registry.snapshot(), now + 100 * MS);
    let mut asked = due(&mut roster, now + 200 * MS);
    assert_eq!(asked.len(), 2, "at once, whatever their turn was");
    for id in asked.drain(..) {
        roster.finish(id, now + 201 * MS);
    }
    assert_eq!(due(&mut roster, now + 200 * MS + RECOVERY_INTERVAL * 11 / 10).len(), 2);
    registry.handle("p", one, Outcome::ProbeOk);
    roster.update(&registry.snapshot(), now + 500 * MS);
    roster.finish(one, now + 500 * MS);
    roster.finish(two, now + 500 * MS);
    assert!(roster.start(now + 20_000 * MS).is_none(), "one is back, and the interval is the pool's again");
}
