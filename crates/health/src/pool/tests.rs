//! One test for each edge of the drawing, then properties over random histories.

use proptest::prelude::*;

use super::*;
use crate::policy::tests::PASSIVE;
use crate::policy::{PassivePolicy, ProbePolicy};

const PROBE: ProbePolicy = ProbePolicy { rise: 2, fall: 3 };
const BOTH: Policy = Policy { probe: Some(PROBE), passive: Some(PASSIVE) };
const REFUSED: Outcome = Outcome::ProbeFailed(Reason::ProbeRefused);
const DOWN: State = State::Down { reason: Reason::ProbeRefused };
const HALF_FAIL: Outcome = Outcome::Answers { requests: 20, failures_5xx: 10 };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ejected(reason: Reason, until: u64) -> State {
    State::Ejected { reason, until: at(until) }
}

/// A pool of the targets 0 up to `targets`, all up at time 0.
fn pool(policy: Policy, targets: u32) -> PoolHealth<u32> {
    let mut health = PoolHealth::new(policy);
    for key in 0..targets {
        health.insert(key, at(0));
        health.handle(key, Outcome::ProbeOk, at(0));
    }
    health
}

fn step(key: u32, from: State, to: State, reason: Reason) -> Transition<u32> {
    Transition { key, from, to, reason }
}

fn take_down(health: &mut PoolHealth<u32>, key: u32, now: u64) -> Option<Transition<u32>> {
    (0..3).filter_map(|_| health.handle(key, REFUSED, at(now))).last()
}

#[test]
fn unknown_goes_up_by_one_success() {
    let mut health = PoolHealth::new(BOTH);
    health.insert(7, at(0));
    assert_eq!(health.state(7), Some(State::Unknown));
    let up = step(7, State::Unknown, State::Up, Reason::ProbeSucceeded);
    assert_eq!(health.handle(7, Outcome::ProbeOk, at(1)), Some(up));
    assert_eq!(health.handle(7, Outcome::ProbeOk, at(2)), None);
}

#[test]
fn unknown_and_up_go_down_by_fall_failures_and_rise_again() {
    let mut health = pool(BOTH, 1);
    health.insert(1, at(0));
    for (key, was) in [(0, State::Up), (1, State::Unknown)] {
        assert_eq!(health.handle(key, REFUSED, at(1)), None);
        assert_eq!(health.handle(key, REFUSED, at(2)), None);
        assert_eq!(health.handle(key, REFUSED, at(3)), Some(step(key, was, DOWN, Reason::ProbeRefused)));
        assert_eq!(health.handle(key, Outcome::ProbeOk, at(4)), None);
        let up = step(key, DOWN, State::Up, Reason::ProbeSucceeded);
        assert_eq!(health.handle(key, Outcome::ProbeOk, at(5)), Some(up));
    }
}

#[test]
fn a_pool_without_probes_is_up_and_ignores_late_results() {
    let mut health = PoolHealth::new(Policy::default());
    health.insert(0, at(0));
    assert_eq!(health.state(0), Some(State::Up));
    assert_eq!(take_down(&mut health, 0, 1), None);
    assert_eq!(health.handle(0, Outcome::ConnectErrors(99), at(1)), None);
    assert_eq!(health.handle(0, HALF_FAIL, at(1)), None);
    assert_eq!(health.next_deadline(), None);
}

#[test]
fn connect_errors_eject_and_time_ends_it() {
    let mut health = pool(BOTH, 2);
    assert_eq!(health.handle(0, Outcome::ConnectErrors(2), at(1)), None);
    let out = ejected(Reason::ConnectErrors, 31);
    let gone = step(0, State::Up, out, Reason::ConnectErrors);
    assert_eq!(health.handle(0, Outcome::ConnectErrors(3), at(1)), Some(gone));
    assert_eq!((health.available(), health.ejections(0)), (1, 1));
    assert_eq!(health.next_deadline(), Some(at(31)));
    assert_eq!(health.poll(Duration::from_millis(30_999)), []);
    assert_eq!(health.poll(at(31)), [step(0, out, State::Up, Reason::EjectionOver)]);
    assert_eq!(health.next_deadline(), Some(at(331)), "then one repetition is forgotten");
    assert_eq!(health.poll(at(331)), []);
    assert_eq!((health.next_deadline(), health.ejections(0)), (None, 0));
}

#[test]
fn a_share_of_errors_ejects_and_probes_do_not_end_it() {
    let mut health = pool(BOTH, 2);
    let out = ejected(Reason::ErrorShare, 31);
    assert_eq!(health.handle(0, HALF_FAIL, at(1)), Some(step(0, State::Up, out, Reason::ErrorShare)));
    for t in 2..30 {
        assert_eq!(health.handle(0, Outcome::ProbeOk, at(t)), None);
    }
    assert_eq!(health.poll(at(31)), [step(0, out, State::Up, Reason::EjectionOver)]);
}

#[test]
fn probes_end_an_ejection_for_connect_errors() {
    let mut health = pool(BOTH, 2);
    health.handle(0, Outcome::ConnectErrors(3), at(1));
    assert_eq!(health.handle(0, Outcome::ProbeOk, at(2)), None);
    let back = step(0, ejected(Reason::ConnectErrors, 31), State::Up, Reason::ProbeSucceeded);
    assert_eq!(health.handle(0, Outcome::ProbeOk, at(3)), Some(back));
    assert_eq!(health.handle(0, Outcome::ConnectErrors(4), at(4)), None, "the streak is paid for");
    assert_eq!(health.next_deadline(), Some(at(303)), "calm counts from the early end");
}

#[test]
fn an_unknown_target_can_be_ejected_and_comes_back_unknown() {
    let mut health = PoolHealth::new(BOTH);
    (0..2).for_each(|key| health.insert(key, at(0)));
    let out = ejected(Reason::ConnectErrors, 30);
    let gone = step(0, State::Unknown, out, Reason::ConnectErrors);
    assert_eq!(health.handle(0, Outcome::ConnectErrors(3), at(0)), Some(gone));
    assert_eq!(health.poll(at(30)), [step(0, out, State::Unknown, Reason::EjectionOver)]);
}

#[test]
fn down_hides_an_ejection() {
    let mut health = pool(BOTH, 3);
    health.handle(0, HALF_FAIL, at(0));
    let out = ejected(Reason::ErrorShare, 30);
    assert_eq!(take_down(&mut health, 0, 1), Some(step(0, out, DOWN, Reason::ProbeRefused)));
    health.handle(0, Outcome::ProbeOk, at(2));
    let shows = step(0, DOWN, out, Reason::ProbeSucceeded);
    assert_eq!(health.handle(0, Outcome::ProbeOk, at(3)), Some(shows));
    take_down(&mut health, 0, 4);
    assert_eq!(health.poll(at(30)), [], "the ejection ends unseen");
    assert_eq!(health.state(0), Some(DOWN));
    health.handle(0, Outcome::ProbeOk, at(31));
    let up = step(0, DOWN, State::Up, Reason::ProbeSucceeded);
    assert_eq!(health.handle(0, Outcome::ProbeOk, at(32)), Some(up));
}

#[test]
fn a_target_that_is_down_is_not_ejected_and_rises_with_a_clean_record() {
    let mut health = pool(BOTH, 3);
    take_down(&mut health, 0, 1);
    assert_eq!(health.handle(0, HALF_FAIL, at(2)), None);
    assert_eq!(health.handle(0, Outcome::ConnectErrors(50), at(2)), None);
    health.handle(0, Outcome::ProbeOk, at(3));
    health.handle(0, Outcome::ProbeOk, at(3));
    assert_eq!(health.handle(0, Outcome::Answers { requests: 1, failures_5xx: 1 }, at(3)), None);
    assert_eq!(health.state(0), Some(State::Up));
}

#[test]
fn an_overdue_ejection_ends_before_the_outcome_is_judged() {
    let mut health = pool(BOTH, 2);
    health.handle(0, HALF_FAIL, at(0));
    let again = step(0, ejected(Reason::ErrorShare, 30), ejected(Reason::ErrorShare, 91), Reason::ErrorShare);
    assert_eq!(health.handle(0, HALF_FAIL, at(31)), Some(again));
    assert_eq!(health.poll(at(90)), []);
    assert_eq!(health.poll(at(91)).len(), 1);
}

#[test]
fn the_last_available_target_is_never_ejected() {
    let all = Policy { passive: Some(PassivePolicy { max_ejected_percent: 100, ..PASSIVE }), ..BOTH };
    let mut health = pool(all, 3);
    assert!(health.handle(0, HALF_FAIL, at(0)).is_some());
    assert!(health.handle(1, HALF_FAIL, at(0)).is_some());
    assert_eq!(health.handle(2, HALF_FAIL, at(0)), None);
    let mut alone = pool(all, 1);
    assert_eq!(alone.handle(0, Outcome::ConnectErrors(1000), at(0)), None);
    let mut others_down = pool(all, 3);
    take_down(&mut others_down, 1, 0);
    take_down(&mut others_down, 2, 0);
    assert_eq!(others_down.handle(0, HALF_FAIL, at(0)), None);
}

#[test]
fn the_ejected_share_is_bounded() {
    let mut health = pool(Policy { probe: None, ..BOTH }, 5);
    let gone = (0..5).filter(|&key| health.handle(key, HALF_FAIL, at(0)).is_some()).count();
    assert_eq!(gone, 2);
    health.poll(at(30));
    assert!(health.handle(4, HALF_FAIL, at(30)).is_some(), "room is there again");
}

#[test]
fn a_hidden_ejection_takes_room_too() {
    let mut health = pool(BOTH, 4);
    health.handle(0, HALF_FAIL, at(0));
    health.handle(1, HALF_FAIL, at(0));
    take_down(&mut health, 0, 0);
    assert_eq!(health.handle(2, HALF_FAIL, at(0)), None);
}

#[test]
fn when_the_rest_falls_the_ejected_come_back() {
    let mut health = pool(BOTH, 4);
    health.handle(0, HALF_FAIL, at(0));
    health.handle(1, HALF_FAIL, at(0));
    take_down(&mut health, 2, 1);
    assert_eq!(health.next_deadline(), Some(at(30)));
    take_down(&mut health, 3, 2);
    assert_eq!(health.next_deadline(), Some(at(2)));
    let out = ejected(Reason::ErrorShare, 30);
    let back = |key| step(key, out, State::Up, Reason::NoTarget);
    assert_eq!(health.poll(at(2)), [back(0), back(1)]);
    assert_eq!(health.available(), 2);
}

#[test]
fn when_the_rest_leaves_the_ejected_come_back() {
    let mut health = pool(BOTH, 2);
    health.handle(0, HALF_FAIL, at(0));
    assert!(health.remove(1) && !health.remove(1));
    assert_eq!(health.next_deadline(), Some(at(0)));
    assert_eq!(health.poll(at(1)).len(), 1);
    assert_eq!(health.state(0), Some(State::Up));
}

#[test]
fn a_removed_target_leaves_nothing_behind() {
    let mut health = pool(BOTH, 2);
    health.handle(0, HALF_FAIL, at(0));
    health.remove(0);
    assert_eq!((health.state(0), health.ejections(0), health.next_deadline()), (None, 0, None));
    assert_eq!(health.handle(0, Outcome::ProbeOk, at(1)), None);
    health.insert(0, at(2));
    assert_eq!(health.state(0), Some(State::Unknown));
    assert_eq!(health.len(), 2);
}

#[test]
fn inserting_again_keeps_what_is_known() {
    let mut health = pool(BOTH, 1);
    health.insert(0, at(5));
    assert_eq!((health.state(0), health.len()), (Some(State::Up), 1));
}

#[test]
fn a_new_policy_keeps_verdicts_and_ejections() {
    let mut health = pool(BOTH, 4);
    take_down(&mut health, 0, 0);
    health.handle(1, HALF_FAIL, at(0));
    let other = Policy {
        probe: Some(ProbePolicy { rise: 1, fall: 1 }),
        passive: Some(PassivePolicy { window: at(3), eject_for: at(1), ..PASSIVE }),
    };
    assert_eq!(health.set_policy(other, at(1)), []);
    assert_eq!(health.state(0), Some(DOWN));
    assert_eq!(health.state(1), Some(ejected(Reason::ErrorShare, 30)));
    assert!(health.handle(0, Outcome::ProbeOk, at(2)).is_some(), "the new rise holds");
    assert!(health.handle(2, REFUSED, at(2)).is_some(), "the new fall holds");
    assert_eq!(health.poll(at(30)).len(), 1);
}

#[test]
fn a_window_of_another_length_starts_empty() {
    let mut health = pool(BOTH, 2);
    health.handle(0, Outcome::Answers { requests: 9, failures_5xx: 9 }, at(0));
    health.set_policy(BOTH, at(0));
    let wider = Policy { passive: Some(PassivePolicy { window: at(20), ..PASSIVE }), ..BOTH };
    health.set_policy(wider, at(0));
    assert_eq!(health.handle(0, Outcome::Answers { requests: 1, failures_5xx: 1 }, at(0)), None);
}

#[test]
fn what_nobody_judges_any_more_is_dropped() {
    let mut health = pool(BOTH, 4);
    take_down(&mut health, 0, 0);
    health.handle(1, HALF_FAIL, at(0));
    let probes_only = Policy { passive: None, ..BOTH };
    let out = ejected(Reason::ErrorShare, 30);
    let freed = step(1, out, State::Up, Reason::PolicyChanged);
    assert_eq!(health.set_policy(probes_only, at(1)), [freed]);
    assert_eq!((health.next_deadline(), health.ejections(1)), (None, 0));
    let freed = step(0, DOWN, State::Up, Reason::PolicyChanged);
    assert_eq!(health.set_policy(Policy::default(), at(2)), [freed]);
    let asked = health.set_policy(BOTH, at(3));
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|t| t.to == State::Unknown && t.reason == Reason::PolicyChanged));
}

#[test]
fn a_new_policy_first_ends_what_is_over() {
    let mut health = pool(BOTH, 2);
    health.handle(0, HALF_FAIL, at(0));
    let over = step(0, ejected(Reason::ErrorShare, 30), State::Up, Reason::EjectionOver);
    assert_eq!(health.set_policy(BOTH, at(40)), [over]);
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut health = pool(BOTH, 2);
    health.poll(at(100));
    health.handle(0, HALF_FAIL, at(1));
    assert_eq!(health.state(0), Some(ejected(Reason::ErrorShare, 130)));
}

#[test]
fn the_end_of_time_is_survived() {
    let mut health = pool(BOTH, 2);
    health.handle(0, HALF_FAIL, Duration::MAX);
    assert_eq!(health.next_deadline(), Some(Duration::MAX));
    assert_eq!(health.poll(Duration::MAX).len(), 1);
    assert_eq!(health.next_deadline(), None);
}

#[derive(Debug, Clone)]
enum Act {
    Insert(u32),
    Remove(u32),
    Handle(u32, Outcome),
    Poll,
    PollAtDeadline,
    SetPolicy(Policy),
}

fn policies() -> impl Strategy<Value = Policy> {
    let probe = prop::option::of((0u16..4, 0u16..4).prop_map(|(rise, fall)| ProbePolicy { rise, fall }));
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let passive = (0u16..5, 0u8..=101, 0u32..20, seconds(0..20), seconds(0..40), seconds(0..200), 0u8..=101);
    let passive =
        passive.prop_map(|(connect_errors, percent, min_requests, window, eject_for, max, share)| {
            PassivePolicy {
                connect_errors,
                http_5xx_percent: percent,
                min_requests,
                window,
                eject_for,
                max_eject_for: max,
                max_ejected_percent: share,
            }
        });
    (probe, prop::option::weighted(0.9, passive)).prop_map(|(probe, passive)| Policy { probe, passive })
}

fn acts() -> impl Strategy<Value = Act> {
    let key = 0u32..7;
    let outcome = prop_oneof![
        3 => Just(Outcome::ProbeOk),
        3 => Just(Outcome::ProbeFailed(Reason::ProbeTimeout)),
        3 => (0u32..9).prop_map(Outcome::ConnectErrors),
        3 => (0u64..40, 0u64..40).prop_map(|(requests, failures_5xx)| Outcome::Answers { requests, failures_5xx }),
        1 => any::<(u32, u64, u64)>().prop_map(|(streak, requests, failures_5xx)| match streak % 2 {
            0 => Outcome::ConnectErrors(streak),
            _ => Outcome::Answers { requests, failures_5xx },
        }),
    ];
    prop_oneof![
        3 => key.clone().prop_map(Act::Insert),
        1 => key.clone().prop_map(Act::Remove),
        20 => (key, outcome).prop_map(|(key, outcome)| Act::Handle(key, outcome)),
        2 => Just(Act::Poll),
        3 => Just(Act::PollAtDeadline),
        1 => policies().prop_map(Act::SetPolicy),
    ]
}

/// The counts and deadlines kept along the way are those that a look at every target gives.
fn check_books(health: &PoolHealth<u32>) {
    let mut count = Count::default();
    let mut deadlines = BTreeSet::new();
    for (&key, target) in &health.targets {
        count.add(target, &health.policy);
        deadlines.extend(target.deadline(&health.policy).map(|at| (at, key)));
    }
    assert_eq!(count, health.count);
    assert_eq!(deadlines, health.deadlines);
}

fn check_step(
    before: &PoolHealth<u32>,
    health: &PoolHealth<u32>,
    transitions: &[Transition<u32>],
    now: Duration,
) {
    for transition in transitions {
        assert_ne!(transition.from, transition.to);
        assert_eq!(before.state(transition.key), Some(transition.from));
        assert_eq!(health.state(transition.key), Some(transition.to));
        let State::Ejected { until, .. } = transition.to else { continue };
        if transition.from.is_available() {
            let passive = health.policy.passive.unwrap();
            assert!(until >= now && until <= now + passive.max_eject_for);
            assert!(health.count.ejected <= passive.max_ejected(health.len()), "the share is capped");
            assert!(health.available() >= 1, "the last one stays");
        }
    }
    let told: BTreeSet<u32> = transitions.iter().map(|t| t.key).collect();
    assert_eq!(told.len(), transitions.len(), "one transition for each target");
    for (key, state) in health.states().filter(|(key, _)| !told.contains(key)) {
        assert!(before.state(key).is_none_or(|old| old == state), "{key} changed silently");
    }
}

/// Polls at its deadlines until there is none: each poll must change something.
fn run_dry(health: &mut PoolHealth<u32>) {
    let mut last = None;
    for _ in 0..10_000 {
        let Some(deadline) = health.next_deadline() else { return };
        let now = deadline.max(health.latest);
        let before = health.clone();
        let transitions = health.poll(now);
        check_step(&before, health, &transitions, now);
        let forgot = health.targets.keys().any(|&k| health.ejections(k) < before.ejections(k));
        assert!(!transitions.is_empty() || forgot || before.count != health.count, "no progress at {now:?}");
        assert!(last <= health.next_deadline() || health.next_deadline().is_none());
        last = health.next_deadline();
    }
    panic!("deadlines never end");
}

proptest! {
    #[test]
    fn every_history_keeps_the_invariants(
        policy in policies(),
        history in prop::collection::vec((acts(), 0u64..4_000), 1..150),
    ) {
        let mut health = PoolHealth::new(policy);
        let mut now = Duration::ZERO;
        for (act, pause_ms) in history {
            now += Duration::from_millis(pause_ms);
            let before = health.clone();
            let transitions = match act {
                Act::Insert(key) => { health.insert(key, now); vec![] }
                Act::Remove(key) => { health.remove(key); vec![] }
                Act::Handle(key, outcome) => health.handle(key, outcome, now).into_iter().collect(),
                Act::Poll => health.poll(now),
                Act::PollAtDeadline => {
                    now = now.max(health.next_deadline().unwrap_or(now));
                    health.poll(now)
                }
                Act::SetPolicy(policy) => health.set_policy(policy, now),
            };
            check_books(&health);
            check_step(&before, &health, &transitions, now);
            let mut polled = health.clone();
            polled.poll(now);
            let stands = polled.states().any(|(_, state)| !matches!(state, State::Down { .. }));
            prop_assert!(!stands || polled.available() > 0, "ejections emptied the pool");
        }
        run_dry(&mut health);
        prop_assert_eq!(health.count.ejected, 0);
        prop_assert!(health.targets.keys().all(|&key| health.ejections(key) == 0));
    }

    #[test]
    fn repeated_ejections_never_get_shorter(policy in policies(), rounds in 1usize..12) {
        let Some(passive) = policy.passive else { return Ok(()) };
        let passive = PassivePolicy { connect_errors: 1, max_ejected_percent: 100, ..passive };
        let mut health = pool(Policy { passive: Some(passive), probe: None }, 2);
        let (mut now, mut last) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            health.handle(0, Outcome::ConnectErrors(1), now);
            let Some(State::Ejected { until, .. }) = health.state(0) else { panic!("not ejected") };
            // An ejection of no length is forgotten at once, and then there is nothing to double.
            prop_assert!(until - now >= last.min(passive.max_eject_for));
            prop_assert!(until - now == passive.max_eject_for || until - now >= last * 2);
            last = until - now;
            now = until;
            health.poll(now);
        }
    }
}
