//! The registry and the choice, together, as the planes use them.

use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use evenkeel_base::{ClientAddr, ListenerName, Reason, TargetAddr, Weight, WorkerId};
use evenkeel_config::{Config, NoSource, load};
use evenkeel_health::Outcome;

use crate::{
    Caller, Duty, Lease, LogBatch, MEMORY_FULL_PERCENT, Pool, Registry, RegistryError, Snapshot, Standing,
    TargetEdit, Tried, Turn, Worker,
};

fn config(pool: &str) -> Config {
    let text = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\npool = \"app\"\n[pool.app]\n{pool}\n"
    );
    load(&text, "test", &NoSource).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

fn registry(pool: &str) -> Registry {
    Registry::new(2, config(pool), 1)
}

fn caller(worker: u16, client: &str) -> Caller {
    let client = ClientAddr::Ip(client.parse().unwrap());
    Caller { worker: WorkerId(worker), client, random: 7, now: crate::uptime() }
}

fn pool(snapshot: &Snapshot) -> &Arc<Pool> {
    &snapshot.pools["app"]
}

fn lease<'p>(pool: &'p Pool, client: &str) -> Result<Lease<'p>, Reason> {
    leased(pool, &caller(0, client), &Tried::default())
}

fn leased<'p>(pool: &'p Pool, caller: &Caller, tried: &Tried) -> Result<Lease<'p>, Reason> {
    match pool.lease(caller, tried)? {
        Turn::Now(lease) => Ok(lease),
        Turn::Wait(_) => Err(Reason::QueueTimeout),
    }
}

fn port(lease: &Lease<'_>) -> u16 {
    match &lease.target().address {
        TargetAddr::Ip(addr) => addr.port(),
        other => panic!("{other}"),
    }
}

fn addr(text: &str) -> TargetAddr {
    text.parse().unwrap()
}

fn id(snapshot: &Snapshot, port: u16) -> evenkeel_base::TargetId {
    let wanted = addr(&format!("10.0.0.1:{port}"));
    pool(snapshot).targets.iter().find(|t| t.address == wanted).unwrap().id
}

const THREE: &str = "targets = [\"10.0.0.1:1\", \"10.0.0.1:2\", \"10.0.0.1:3\"]";

#[test]
fn equal_weights_alternate_exactly_over_all_workers() {
    let registry = registry(THREE);
    let snapshot = registry.snapshot();
    let picks: Vec<u16> = (0..300)
        .map(|n| port(&leased(pool(&snapshot), &caller(n % 2, "9.9.9.9:1"), &Tried::default()).unwrap()))
        .collect();
    for window in picks.chunks(3) {
        let mut window = window.to_vec();
        window.sort_unstable();
        assert_eq!(window, [1, 2, 3]);
    }
}

#[test]
fn a_retry_takes_nobodys_turn_and_burdens_no_single_neighbour() {
    let registry = registry(THREE);
    let snapshot = registry.snapshot();
    let mut random = evenkeel_base::SplitMix64::new(1);
    let (mut first, mut served) = ([0; 4], [0; 4]);
    for _ in 0..3_000 {
        let caller = Caller { random: random.next_u64(), ..caller(0, "9.9.9.9:1") };
        let mut tried = Tried::default();
        let mut lease = leased(pool(&snapshot), &caller, &tried).unwrap();
        first[usize::from(port(&lease))] += 1;
        if port(&lease) == 1 {
            tried.add(lease.slot());
            lease = leased(pool(&snapshot), &caller, &tried).unwrap();
        }
        served[usize::from(port(&lease))] += 1;
    }
    assert_eq!(first, [0, 1_000, 1_000, 1_000]);
    assert!(served[1] == 0 && served[2] > 1_250 && served[3] > 1_250, "{served:?}");
}

#[test]
fn a_tried_target_is_not_chosen_again_and_none_left_says_so() {
    let registry = registry(THREE);
    let snapshot = registry.snapshot();
    let mut tried = Tried::default();
    let mut seen = Vec::new();
    while let Ok(lease) = leased(pool(&snapshot), &caller(0, "9.9.9.9:1"), &tried) {
        tried.add(lease.slot());
        seen.push(port(&lease));
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(leased(pool(&snapshot), &caller(0, "9.9.9.9:1"), &tried).unwrap_err(), Reason::NoTarget);
}

#[test]
fn leases_are_counted_while_they_are_held() {
    let registry = registry(THREE);
    let snapshot = registry.snapshot();
    let held: Vec<_> = (0..6).map(|_| lease(pool(&snapshot), "9.9.9.9:1").unwrap()).collect();
    assert!(pool(&snapshot).targets.iter().all(|target| target.live.in_flight() == 2));
    drop(held);
    assert!(pool(&snapshot).targets.iter().all(|target| target.live.in_flight() == 0));
}

#[test]
fn limits_hold_and_a_waiter_gets_the_place_that_is_freed() {
    let registry =
        registry("targets = [{ address = \"10.0.0.1:1\", max_connections = 1 }]\nlimits = { pending = 1 }");
    let snapshot = registry.snapshot();
    let pool = pool(&snapshot);
    let held = lease(pool, "9.9.9.9:1").unwrap();
    let (caller, tried) = (caller(1, "9.9.9.9:2"), Tried::default());
    let Ok(Turn::Wait(place)) = pool.lease(&caller, &tried) else { panic!("the target has one place") };
    assert_eq!(pool.lease(&caller, &tried).err(), Some(Reason::QueueFull));
    {
        let mut next = std::pin::pin!(place.next(&caller, &tried));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(next.as_mut().poll(&mut cx).is_pending());
        drop(held);
        assert!(matches!(next.as_mut().poll(&mut cx), Poll::Ready(Ok(Some(_)))), "the place was freed");
    }
    drop(place);
    assert_eq!(pool.live.waiting(), 0);
}

#[test]
fn a_pool_limit_counts_over_all_targets() {
    let registry = registry(&format!("{THREE}\nlimits = {{ connections = 2, pending = 5 }}"));
    let snapshot = registry.snapshot();
    let _held = [lease(pool(&snapshot), "9.9.9.9:1").unwrap(), lease(pool(&snapshot), "9.9.9.9:1").unwrap()];
    assert_eq!(lease(pool(&snapshot), "9.9.9.9:1").unwrap_err(), Reason::QueueTimeout);
}

#[test]
fn emergency_then_ejected_then_nothing() {
    let registry = registry(
        "targets = [\"10.0.0.1:1\"]\nemergency = \"10.0.0.1:9\"\nhealth = { check = \"tcp\", fall = 1 }",
    );
    let snapshot = registry.snapshot();
    assert_eq!(port(&lease(pool(&snapshot), "9.9.9.9:1").unwrap()), 1);
    registry.handle("app", id(&snapshot, 1), Outcome::ProbeFailed(Reason::ProbeRefused));
    let snapshot = registry.snapshot();
    assert_eq!(pool(&snapshot).targets[0].standing(), Standing::Down(Reason::ProbeRefused));
    assert_eq!(port(&lease(pool(&snapshot), "9.9.9.9:1").unwrap()), 9);
    let mut tried = Tried::default();
    tried.add(lease(pool(&snapshot), "9.9.9.9:1").unwrap().slot());
    assert_eq!(leased(pool(&snapshot), &caller(0, "9.9.9.9:1"), &tried).unwrap_err(), Reason::NoTarget);
}

#[test]
fn fail_open_uses_targets_that_only_probes_condemn() {
    let registry =
        registry("targets = [\"10.0.0.1:1\"]\nfail_open = true\nhealth = { check = \"tcp\", fall = 1 }");
    registry.handle("app", id(&registry.snapshot(), 1), Outcome::ProbeFailed(Reason::ProbeTimeout));
    assert_eq!(port(&lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap()), 1);
}

#[test]
fn a_client_returns_to_its_target_fails_over_and_is_remembered_there() {
    let registry = registry(&format!("{THREE}\naffinity = {{ by = \"client-ip\" }}"));
    let snapshot = registry.snapshot();
    let first = port(&lease(pool(&snapshot), "9.9.9.9:1").unwrap());
    for n in 2..9 {
        assert_eq!(port(&lease(pool(&snapshot), &format!("9.9.9.9:{n}")).unwrap()), first);
    }
    let address = addr(&format!("10.0.0.1:{first}"));
    let disable = TargetEdit { duty: Some(Duty::Disabled), ..TargetEdit::default() };
    registry.edit_target("app", &address, disable).unwrap();
    let second = port(&lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap());
    assert_ne!(first, second);
    let enable = TargetEdit { duty: Some(Duty::Enabled), ..TargetEdit::default() };
    registry.edit_target("app", &address, enable).unwrap();
    assert_eq!(port(&lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap()), second, "no fail-back");
}

#[test]
fn a_client_on_its_way_back_keeps_its_place_until_the_first_target_has_answered() {
    let registry = registry(&format!("{THREE}\naffinity = {{ by = \"client-ip\", fail_back = true }}"));
    let snapshot = registry.snapshot();
    let (pool, me) = (pool(&snapshot), caller(0, "9.9.9.9:1"));
    let first = leased(pool, &me, &Tried::default()).unwrap();
    let mut tried = Tried::default();
    tried.add(first.slot());
    let second = port(&leased(pool, &me, &tried).unwrap());
    // Nobody has noticed yet that the first one is dead: each request tries it, and goes on to the same other one.
    for random in 0..20 {
        let me = Caller { random, ..me };
        let back = leased(pool, &me, &Tried::default()).unwrap();
        assert_eq!(back.id(), first.id());
        back.failed(Reason::ConnectRefused);
        assert_eq!(port(&leased(pool, &me, &tried).unwrap()), second);
    }
    let back = leased(pool, &me, &Tried::default()).unwrap();
    back.answered(200, 1);
    let remembered = pool.clients.as_ref().unwrap().recent(1);
    assert_eq!(remembered[0].entry.target, first.id(), "it works again");
}

#[test]
fn fail_back_returns_to_the_first_target() {
    let registry = registry(&format!("{THREE}\naffinity = {{ by = \"client-ip\", fail_back = true }}"));
    let first = port(&lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap());
    let address = addr(&format!("10.0.0.1:{first}"));
    let edit = |duty| TargetEdit { duty: Some(duty), ..TargetEdit::default() };
    registry.edit_target("app", &address, edit(Duty::Disabled)).unwrap();
    assert_ne!(port(&lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap()), first);
    registry.edit_target("app", &address, edit(Duty::Enabled)).unwrap();
    assert_eq!(port(&lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap()), first);
}

#[test]
fn draining_keeps_remembered_clients_and_takes_no_others() {
    let registry = registry(&format!("{THREE}\naffinity = {{ by = \"client-ip\" }}"));
    let home = port(&lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap());
    let edit = TargetEdit { duty: Some(Duty::Draining), ..TargetEdit::default() };
    registry.edit_target("app", &addr(&format!("10.0.0.1:{home}")), edit).unwrap();
    let snapshot = registry.snapshot();
    assert_eq!(port(&lease(pool(&snapshot), "9.9.9.9:1").unwrap()), home);
    for n in 1..50 {
        assert_ne!(port(&lease(pool(&snapshot), &format!("8.8.8.{n}:1")).unwrap()), home);
    }
}

#[test]
fn weight_zero_drains_and_an_empty_pool_refuses_without_panic() {
    let registry = registry(THREE);
    for n in 1..=3 {
        let edit = TargetEdit { weight: Some(Weight::ZERO), ..TargetEdit::default() };
        registry.edit_target("app", &addr(&format!("10.0.0.1:{n}")), edit).unwrap();
    }
    assert_eq!(lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap_err(), Reason::NoTarget);
    for n in 1..=3 {
        registry.remove_target("app", &addr(&format!("10.0.0.1:{n}"))).unwrap();
    }
    assert_eq!(lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap_err(), Reason::NoTarget);
}

#[test]
fn runtime_changes_are_refused_with_the_cause() {
    let registry = registry(THREE);
    let generation = registry.snapshot().generation;
    let missing = registry.remove_target("app", &addr("10.0.0.1:4"));
    assert_eq!(missing, Err(RegistryError::NoTarget(addr("10.0.0.1:4"))));
    assert_eq!(
        registry.remove_target("nope", &addr("10.0.0.1:1")),
        Err(RegistryError::NoPool("nope".into()))
    );
    let twice = pool(&registry.snapshot()).config.targets[0].clone();
    assert_eq!(registry.add_target("app", twice), Err(RegistryError::TargetExists(addr("10.0.0.1:1"))));
    assert_eq!(registry.snapshot().generation, generation, "nothing was swapped");
}

#[test]
fn a_reload_keeps_counters_verdicts_duties_and_identities() {
    let registry = registry(&format!("{THREE}\nhealth = {{ check = \"tcp\", fall = 1 }}"));
    let before = registry.snapshot();
    drop(lease(pool(&before), "9.9.9.9:1").unwrap());
    registry.handle("app", id(&before, 2), Outcome::ProbeFailed(Reason::ProbeRefused));
    let edit = TargetEdit { duty: Some(Duty::Disabled), ..TargetEdit::default() };
    registry.edit_target("app", &addr("10.0.0.1:3"), edit).unwrap();
    let changes = registry.apply(config(&format!(
        "{}\nalgorithm = \"maglev\"\nhealth = {{ check = \"tcp\", fall = 1 }}",
        THREE.replace(']', ", \"10.0.0.1:4\"]")
    )));
    assert!(changes.len() >= 2, "{changes:?}");
    let after = registry.snapshot();
    assert_eq!(id(&before, 1), id(&after, 1));
    assert_eq!(pool(&after).targets[1].standing(), Standing::Down(Reason::ProbeRefused));
    assert_eq!(pool(&after).targets[2].standing(), Standing::Disabled);
    let started: u64 = pool(&after).targets.iter().map(|target| target.live.totals().started).sum();
    assert_eq!(started, 1);
}

#[test]
fn many_verdicts_at_once_are_published_in_bundles_and_each_is_told_once() {
    const TARGETS: usize = 800;
    let all: Vec<_> = (0..TARGETS).map(|n| format!("\"10.0.{}.{}:1\"", n / 250, n % 250)).collect();
    let text = format!("targets = [{}]\nhealth = {{ check = \"tcp\", fall = 1 }}", all.join(", "));
    let registry = registry(&text);
    let before = registry.snapshot();
    let outcome = Outcome::ProbeFailed(Reason::ProbeRefused);
    pool(&before).targets.iter().for_each(|target| registry.handle("app", target.id, outcome));
    // Whether the last ones had to wait depends on how fast this machine is.
    while let Some(due) = registry.poll() {
        std::thread::sleep(due.saturating_sub(crate::uptime()));
    }
    assert_eq!(pool(&registry.snapshot()).available(), 0);
    let published = registry.snapshot().generation - before.generation;
    assert!(published < TARGETS as u64 / 2, "{published} snapshots");
    let told: std::collections::HashSet<_> = registry
        .events()
        .recent()
        .into_iter()
        .map(|e| e.kind)
        .map(|kind| match kind {
            crate::EventKind::Target { target, from: Some("unknown"), to: Some("down"), .. } => target,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((told.len(), registry.events().count()), (TARGETS, TARGETS as u64));
}

#[test]
fn a_change_by_hand_publishes_and_tells_what_was_pending_first() {
    let registry = registry(&format!("{THREE}\nhealth = {{ check = \"tcp\", fall = 1 }}"));
    // So much has been published that nothing may be for a while.
    registry.spend(std::time::Duration::from_secs(60));
    let before = registry.snapshot();
    registry.handle("app", id(&before, 2), Outcome::ProbeFailed(Reason::ProbeRefused));
    assert_eq!(registry.snapshot().generation, before.generation);
    assert!(registry.poll().is_some_and(|due| due > crate::uptime()));
    registry.remove_target("app", &addr("10.0.0.1:3")).unwrap();
    assert_eq!(pool(&registry.snapshot()).targets[1].standing(), Standing::Down(Reason::ProbeRefused));
    let told: Vec<_> = registry.events().recent().into_iter().map(|event| event.reason).collect();
    assert_eq!(told, [Reason::ProbeRefused, Reason::Removed]);
}

#[test]
fn a_streak_of_failures_signals_and_ejects_and_success_resets_it() {
    let registry = registry(THREE);
    let mut signals = registry.take_signals().unwrap();
    let snapshot = registry.snapshot();
    let victim = id(&snapshot, 1);
    let fail = || loop {
        let lease = lease(pool(&snapshot), "9.9.9.9:1").unwrap();
        if lease.target().id == victim {
            lease.failed(Reason::ConnectRefused);
            return;
        }
    };
    fail();
    fail();
    assert!(signals.try_recv().is_err(), "two failures are below the threshold of three");
    fail();
    let signal = signals.try_recv().unwrap();
    registry.handle(signal.pool.as_str(), signal.target, Outcome::ConnectErrors(signal.streak));
    let ejected = registry.snapshot();
    assert_eq!(pool(&ejected).targets[0].standing(), Standing::Ejected(Reason::ConnectErrors));
    let events = registry.events().recent();
    assert_eq!(events.last().unwrap().reason, Reason::ConnectErrors);
}

#[test]
fn a_name_is_unresolved_until_it_has_an_address_and_events_say_so() {
    let registry = registry("targets = [\"db.internal:5432\"]");
    assert_eq!(lease(pool(&registry.snapshot()), "9.9.9.9:1").unwrap_err(), Reason::NoTarget);
    let address: IpAddr = "10.0.0.7".parse().unwrap();
    registry.resolved("db.internal", vec![address]);
    let snapshot = registry.snapshot();
    let lease = lease(pool(&snapshot), "9.9.9.9:1").unwrap();
    assert_eq!(*lease.target().resolved, ["10.0.0.7:5432".parse().unwrap()]);
    let event = registry.events().recent().pop().unwrap();
    assert_eq!(event.reason, Reason::Resolved);
}

#[test]
fn waiting_never_outlives_its_place() {
    let registry = registry("targets = [{ address = \"10.0.0.1:1\", max_connections = 1 }]");
    let snapshot = registry.snapshot();
    let pool = pool(&snapshot);
    let _held = lease(pool, "9.9.9.9:1").unwrap();
    for _ in 0..3 {
        let Ok(Turn::Wait(place)) = pool.lease(&caller(0, "9.9.9.9:1"), &Tried::default()) else { panic!() };
        drop(place);
    }
    assert_eq!(pool.live.waiting(), 0);
}

#[test]
fn without_memory_nobody_new_is_let_in_and_those_who_are_in_stay() {
    let registry = registry("targets = [\"10.0.0.1:1\"]");
    let worker = Rc::new(Worker::new(WorkerId(0), &registry, 1, LogBatch::new(None)));
    let name = ListenerName::new("web").unwrap();
    let enter = || worker.admit(&name, ClientAddr::Unix);
    registry.published().set_memory_percent(MEMORY_FULL_PERCENT - 1);
    let first = enter().unwrap();
    assert!(worker.is_thrifty() && !worker.is_short_of_memory());
    registry.published().set_memory_percent(MEMORY_FULL_PERCENT);
    assert!(matches!(enter(), Err(Reason::Overloaded)));
    assert_eq!((first.cell().counted(Reason::Overloaded), first.view.live.open()), (1, 1));
    registry.published().set_memory_percent(0);
    assert!(enter().is_ok() && !worker.is_thrifty());
}
