//! What is shown of the process, listeners, pools, targets, clients and connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use evenkeel_api as api;
use evenkeel_base::{ClientAddr, Reason};

use super::play::{Stage, lease, listener};

#[test]
fn health_and_readiness() {
    let stage = Stage::new();
    assert_eq!(stage.read::<api::Health>("/health").status, "alive");
    assert_eq!(stage.read::<api::Health>("/ready").status, "ready");
    stage.process.script().draining = true;
    let refused = stage.get("/ready");
    assert_eq!((refused.status, refused.refusal().reason.as_str()), (503, "draining"));
    stage.process.script().draining = false;
    stage.process.script().ready = false;
    let refused = stage.get("/ready");
    assert_eq!((refused.status, refused.refusal().reason.as_str()), (503, "starting"));
    assert_eq!(stage.get("/health").status, 200);
}

#[test]
fn the_status_counts_what_there_is() {
    let stage = Stage::new();
    let status: api::Status = stage.read("/api/v1/status");
    assert_eq!((status.version.as_str(), status.pid, status.workers), ("9.9.9", 4242, 2));
    assert_eq!((status.listeners_count, status.pools_count), (2, 2));
    // The name is not resolved yet; the emergency target is not counted.
    assert_eq!((status.targets_up, status.targets_total), (3, 4));
    assert_eq!(status.started, "1970-01-01T00:00:00.000Z");
    assert_eq!(status.config_file.as_deref(), Some("/etc/evenkeel.toml"));
    assert!(status.ready && !status.draining);
    assert!(status.resident_bytes.is_some_and(|bytes| bytes > 0));
}

#[test]
fn listeners_show_where_they_are_bound_and_how_things_ended() {
    let stage = Stage::new();
    let worker = stage.worker();
    let client = ClientAddr::Ip("192.0.2.7:1234".parse().unwrap());
    let mut admitted = worker.admit(&listener("web"), client).unwrap();
    admitted.cell().requests.add(5);
    admitted.cell().bytes_in.add(700);
    admitted.cell().bytes_out.add(900);
    let seen: Vec<api::Listener> = stage.read("/api/v1/listeners");
    assert_eq!(seen.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["web", "sql"]);
    assert_eq!(seen[0].bound, ["127.0.0.1:41001"]);
    assert!(seen[1].bound.is_empty());
    assert_eq!((seen[0].protocol.as_str(), seen[1].protocol.as_str()), ("http", "tcp"));
    assert_eq!((seen[0].routes, seen[0].pool.as_deref()), (1, Some("app")));
    assert_eq!((seen[0].open, seen[0].accepted, seen[0].requests), (1, 1, 5));
    assert_eq!((seen[0].bytes_in, seen[0].bytes_out), (700, 900));
    assert!(seen[0].reasons.is_empty());
    admitted.reason = Reason::ClientReset;
    drop(admitted);
    let seen: Vec<api::Listener> = stage.read("/api/v1/listeners");
    assert_eq!((seen[0].open, seen[0].reasons.get("client-reset")), (0, Some(&1)));
}

#[test]
fn pools_and_targets_show_their_counters() {
    let stage = Stage::new();
    let (worker, pool) = (stage.worker(), stage.pool("app"));
    let held = lease(&pool, &worker, "192.0.2.1:1");
    held.cell().connects.add(1);
    held.answered(503, 1_500);
    held.failed(Reason::ConnectRefused);
    let pools: Vec<api::Pool> = stage.read("/api/v1/pools");
    assert_eq!(pools.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["app", "db"]);
    assert_eq!(pools[0], stage.read::<api::Pool>("/api/v1/pools/app"));
    let app = &pools[0];
    assert_eq!((app.algorithm.as_str(), app.targets, app.available), ("least-connections", 2, 2));
    assert_eq!((app.emergency.as_deref(), app.in_flight), (Some("10.0.0.9:80"), 1));
    assert_eq!((app.clients, app.check.as_deref()), (Some(1), Some("http")));
    assert_eq!((pools[1].available, pools[1].clients, pools[1].check.as_deref()), (1, None, None));

    let targets: Vec<api::Target> = stage.read("/api/v1/pools/app/targets");
    assert_eq!(targets.iter().map(|t| t.emergency).collect::<Vec<_>>(), [false, false, true]);
    let used = targets.iter().find(|t| t.requests == 1).unwrap();
    assert_eq!(used.address, held.target().address.to_string());
    assert_eq!((used.in_flight, used.connects, used.failures, used.failures_in_a_row), (1, 1, 1, 1));
    assert_eq!((used.answers.server_error, used.latency.count, used.latency.mean_us), (1, 1, 1_500));
    assert_eq!((targets[1].weight, targets[1].max_connections), (3, Some(7)));
    assert_eq!(targets[0].resolved, ["10.0.0.1:80"]);
    assert_eq!(stage.read::<api::Target>("/api/v1/pools/app/targets/10.0.0.2:80").id, targets[1].id);
}

#[test]
fn targets_are_filtered_by_state_and_pool() {
    let stage = Stage::new();
    let addresses = |query: &str| -> Vec<String> {
        let targets: Vec<api::Target> = stage.read(&format!("/api/v1/targets{query}"));
        targets.into_iter().map(|target| target.address).collect()
    };
    assert_eq!(addresses("").len(), 5);
    assert_eq!(addresses("?pool=db"), ["db.internal:5432", "unix:/run/db \"one\".sock"]);
    assert_eq!(addresses("?status=unresolved"), ["db.internal:5432"]);
    assert_eq!(addresses("?status=up&pool=db"), ["unix:/run/db \"one\".sock"]);
    assert_eq!(addresses("?status=ejected"), Vec::<String>::new());
    let refused = stage.get("/api/v1/targets?status=healthy");
    assert_eq!((refused.status, refused.refusal().at.as_deref()), (400, Some("status")));
    for known in api::TargetState::WORDS {
        assert!(refused.refusal().message.contains(known), "{}", refused.body);
    }
    let refused = stage.get("/api/v1/targets?pool=nope");
    assert_eq!((refused.status, refused.refusal().at.as_deref()), (404, Some("pool")));
}

#[test]
fn remembered_clients_are_listed_last_seen_first() {
    let stage = Stage::new();
    let (worker, pool) = (stage.worker(), stage.pool("app"));
    for client in ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:2"] {
        drop(lease(&pool, &worker, client));
    }
    let clients: Vec<api::Client> = stage.read("/api/v1/clients");
    let seen: Vec<_> = clients.iter().map(|c| (c.address.as_str(), c.uses, c.pool.as_str())).collect();
    assert_eq!(seen, [("192.0.2.1", 2, "app"), ("192.0.2.2", 1, "app")]);
    assert!(clients[0].target.starts_with("10.0.0."));
    let cut = stage.get("/api/v1/clients?pool=app&limit=1");
    assert_eq!((cut.header("x-total-count"), cut.json::<Vec<api::Client>>().len()), (Some("2"), 1));
    assert!(stage.read::<Vec<api::Client>>("/api/v1/clients?pool=db").is_empty());
    assert_eq!(stage.get("/api/v1/clients?pool=nope").status, 404);
}

#[test]
fn connections_are_listed_and_cut() {
    let stage = Stage::new();
    let (worker, pool) = (stage.worker(), stage.pool("app"));
    let client = ClientAddr::Ip("192.0.2.7:1234".parse().unwrap());
    let admitted = worker.admit(&listener("web"), client).unwrap();
    let held = lease(&pool, &worker, "192.0.2.7:1234");
    admitted.live.set_target(Some(held.target().id));
    admitted.live.requests.add(3);
    let cut = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cut);
    admitted.live.on_close(move || flag.store(true, Relaxed));

    let seen: Vec<api::Connection> = stage.read("/api/v1/connections");
    assert_eq!((seen[0].client.as_str(), seen[0].listener.as_str()), ("192.0.2.7:1234", "web"));
    assert_eq!(seen[0].target.as_deref(), Some(held.target().address.to_string().as_str()));
    assert_eq!((seen[0].requests, seen[0].age_s), (3, 0));
    let second = worker.admit(&listener("sql"), ClientAddr::Unix).unwrap();
    let few = stage.get("/api/v1/connections?limit=1");
    assert_eq!((few.header("x-total-count"), few.json::<Vec<api::Connection>>().len()), (Some("2"), 1));
    drop(second);

    let path = api::connection_path(&seen[0].id);
    assert_eq!(stage.json("DELETE", &path, "").status, 204);
    assert!(cut.load(Relaxed));
    drop(admitted);
    let gone = stage.json("DELETE", &path, "");
    assert_eq!((gone.status, gone.refusal().reason.as_str()), (404, "not-found"));
    let outcomes: Vec<_> = stage.audited().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["done", "not-found"]);
}
