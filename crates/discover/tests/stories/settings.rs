//! What changes while names are followed.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_base::Weight;
use evenkeel_config::Target;
use evenkeel_state::Standing;

use crate::server::{Server, a};
use crate::world::{World, config, registry, standing, wait_for};

fn target(address: &str) -> Target {
    Target { address: address.parse().unwrap(), weight: Weight::ONE, priority: 0, max_connections: None }
}

#[tokio::test]
async fn names_come_and_go_with_the_configuration() {
    let server = Server::good(|| vec![a(60, "10.0.0.1")]);
    let world = World::new(server.addr, "", &["one.test"]);
    world.until("one.test", &["10.0.0.1"]).await;
    world.registry.add_target("one.test", target("two.test:99")).unwrap();
    let two = || world.registry.snapshot().pools["one.test"].targets[1].resolved.to_vec();
    wait_for("the new name is resolved", || two() == ["10.0.0.1:99".parse().unwrap()]).await;
    world.registry.remove_target("one.test", &target("two.test:99").address).unwrap();
    // The name that stays tells how much time has passed.
    let some_turns = async |times| {
        let before = server.count("one.test");
        wait_for("the other name is asked for", || server.count("one.test") >= before + times).await;
    };
    some_turns(4).await;
    let before = server.count("two.test");
    some_turns(8).await;
    assert_eq!(server.count("two.test"), before);
}

#[tokio::test]
async fn another_name_server_is_asked_at_once() {
    let (first, second) =
        (Server::good(|| vec![a(60, "10.0.0.1")]), Server::good(|| vec![a(60, "10.0.0.2")]));
    let settings = "min_ttl = \"1h\"\nmax_ttl = \"1h\"";
    let world = World::new(first.addr, settings, &["app.test"]);
    world.until("app.test", &["10.0.0.1"]).await;
    world.registry.apply(config(second.addr, settings, &["app.test"]));
    world.until("app.test", &["10.0.0.2"]).await;
}

#[tokio::test]
async fn a_new_name_server_need_not_wait_for_the_old_one() {
    let (silent, good) = (Server::new(|_| vec![]), Server::good(|| vec![a(60, "10.0.0.1")]));
    let world = World::new(silent.addr, "timeout = \"60s\"", &["app.test"]);
    wait_for("the silent one is asked", || silent.count("app.test") > 0).await;
    world.registry.apply(config(good.addr, "", &["app.test"]));
    world.until("app.test", &["10.0.0.1"]).await;
}

#[tokio::test]
async fn localhost_needs_no_name_server() {
    let server = Server::new(|_| vec![]);
    let world = World::new(server.addr, "", &["localhost"]);
    wait_for("localhost", || world.addresses("localhost").contains(&"127.0.0.1".to_owned())).await;
    assert_eq!(server.asked(), []);
}

#[tokio::test]
async fn emergency_targets_have_names_too() {
    let server = Server::good(|| vec![a(60, "10.0.0.1")]);
    let mut written = config(server.addr, "", &["app.test"]);
    let pool = Arc::make_mut(&mut written.pools[0]);
    pool.emergency = Some("last.test:80".parse().unwrap());
    let registry = Arc::new(evenkeel_state::Registry::new(1, written, 7));
    let names = evenkeel_discover::names(&registry.snapshot());
    assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["app.test", "last.test"]);
    evenkeel_discover::resolve_once(Arc::clone(&registry), Duration::from_secs(20)).await;
    assert_eq!(registry.snapshot().pools["app.test"].targets[1].standing(), Standing::Available);
}

#[tokio::test]
async fn nothing_goes_on_when_discovery_is_dropped() {
    let server = Server::new(|query| {
        vec![if query.over_tcp { query.reply(&[a(0, "10.0.0.1")]) } else { query.truncated() }]
    });
    let world = World::new(server.addr, "", &["one.test", "two.test"]);
    world.until("one.test", &["10.0.0.1"]).await;
    world.discovery.abort();
    let metrics = tokio::runtime::Handle::current().metrics();
    wait_for("no task is left", || metrics.num_alive_tasks() == 0).await;
}

#[tokio::test]
async fn a_bounded_number_of_names_is_asked_for_at_once() {
    let server = Server::new(|_| vec![]);
    let hosts: Vec<String> = (0..200).map(|n| format!("n{n}.test")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let world = World::new(server.addr, "timeout = \"20s\"", &hosts);
    let names =
        || server.asked().into_iter().map(|query| query.name).collect::<std::collections::HashSet<_>>().len();
    wait_for("as many as may be", || names() >= evenkeel_discover::MAX_LOOKUPS).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(names(), evenkeel_discover::MAX_LOOKUPS);
    drop(world);
}

#[tokio::test]
async fn an_unresolved_name_says_so() {
    let server = Server::new(|query| vec![query.refusal(3)]);
    let registry = registry(server.addr, "", &["app.test"]);
    evenkeel_discover::resolve_once(Arc::clone(&registry), Duration::from_secs(20)).await;
    assert_eq!(standing(&registry, "app.test"), Standing::Unresolved);
    assert_eq!(registry.addresses("app.test").as_deref(), Some(&[][..]));
}
