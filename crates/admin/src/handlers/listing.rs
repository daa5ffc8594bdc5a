//! The process, its listeners, pools and targets, as they are now.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use evenkeel_api::{ErrorBody, Listener, Pool, Status, Target, TargetState};
use evenkeel_base::{Reason, TargetAddr};
use evenkeel_state::{Snapshot, uptime};
use serde::Deserialize;

use crate::clock::rfc3339;
use crate::control::Refusal;
use crate::extract::{Params, Segments, bad_input};
use crate::handlers::{Answer, Shared};
use crate::metrics::resident_bytes;
use crate::view;

/// The process at a glance.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub(crate) async fn status(State(app): Shared, Params(NoParams {}): Params<NoParams>) -> Json<Status> {
    let (facts, snapshot) = (app.control.facts(), app.registry.snapshot());
    let counts: Vec<_> = snapshot.listeners.values().map(|view| view::listener_counts(view)).collect();
    let targets = snapshot.pools.values().flat_map(|pool| &pool.targets).filter(|target| !target.emergency);
    Json(Status {
        version: facts.version,
        pid: facts.pid,
        started: rfc3339(facts.started),
        uptime_s: uptime().as_secs(),
        generation: snapshot.generation,
        workers: facts.workers,
        connections: app.registry.connections().len(),
        listeners_count: snapshot.listeners.len(),
        pools_count: snapshot.pools.len(),
        targets_up: snapshot.pools.values().map(|pool| pool.available()).sum(),
        targets_total: targets.count(),
        config_file: facts.config_file.map(|path| path.display().to_string()),
        ready: facts.ready && !facts.draining,
        draining: facts.draining,
        events: app.registry.events().count(),
        panics: counts.iter().map(|counts| counts.panics).sum(),
        access_log_dropped: counts.iter().map(|counts| counts.log_dropped).sum(),
        resident_bytes: resident_bytes(),
    })
}

/// Every listener, in the order of the configuration.
#[utoipa::path(get, path = "/api/v1/listeners", tag = "status", responses((status = 200, body = Vec<Listener>)))]
pub(crate) async fn listeners(
    State(app): Shared,
    Params(NoParams {}): Params<NoParams>,
) -> Json<Vec<Listener>> {
    let mut bound: HashMap<String, Vec<String>> = app.control.bound().into_iter().collect();
    let snapshot = app.registry.snapshot();
    let views = snapshot.config.listeners.iter().filter_map(|config| snapshot.listeners.get(&config.name));
    Json(
        views
            .map(|view| view::listener(view, bound.remove(view.config.name.as_str()).unwrap_or_default()))
            .collect(),
    )
}

/// Every pool, in the order of the configuration.
#[utoipa::path(get, path = "/api/v1/pools", tag = "status", responses((status = 200, body = Vec<Pool>)))]
pub(crate) async fn pools(State(app): Shared, Params(NoParams {}): Params<NoParams>) -> Json<Vec<Pool>> {
    let snapshot = app.registry.snapshot();
    Json(ordered(&snapshot).map(|pool| view::pool(pool)).collect())
}

/// One pool.
#[utoipa::path(get, path = "/api/v1/pools/{pool}", tag = "status",
    params(("pool" = String, Path, description = "The pool's name")),
    responses((status = 200, body = Pool), (status = 404, body = ErrorBody)))]
pub(crate) async fn pool(
    State(app): Shared,
    Segments(name): Segments<String>,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Json<Pool>> {
    let pool = app.pool(&name)?;
    Ok(Json(view::pool(&pool)))
}

/// The targets of one pool; its emergency target, if any, is the last.
#[utoipa::path(get, path = "/api/v1/pools/{pool}/targets", tag = "status",
    params(("pool" = String, Path, description = "The pool's name")),
    responses((status = 200, body = Vec<Target>), (status = 404, body = ErrorBody)))]
pub(crate) async fn pool_targets(
    State(app): Shared,
    Segments(name): Segments<String>,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Json<Vec<Target>>> {
    let pool = app.pool(&name)?;
    Ok(Json(pool.targets.iter().map(|target| view::target(&pool, target)).collect()))
}

/// One target.
#[utoipa::path(get, path = "/api/v1/pools/{pool}/targets/{target}", tag = "status",
    params(
        ("pool" = String, Path, description = "The pool's name"),
        ("target" = String, Path, description = "The target's address, percent-encoded"),
    ),
    responses((status = 200, body = Target), (status = 404, body = ErrorBody)))]
pub(crate) async fn target(
    State(app): Shared,
    Segments((pool, target)): Segments<(String, String)>,
    Params(NoParams {}): Params<NoParams>,
) -> Answer<Json<Target>> {
    let address = address(&target)?;
    let pool = app.pool(&pool)?;
    let found = pool.targets.iter().find(|target| target.address == address);
    let found = found.ok_or_else(|| {
        let message = format!("pool {} has no target {address}", pool.name());
        Refusal::new(Reason::NotFound, message).at("target")
    })?;
    Ok(Json(view::target(&pool, found)))
}

/// Which targets.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TargetsQuery {
    /// Only targets in this state.
    #[param(required = false)]
    status: Option<TargetState>,
    /// Only targets of this pool.
    #[param(required = false)]
    pool: Option<String>,
}

/// The targets of all pools. A state or a pool that does not exist is an error, not an empty list.
#[utoipa::path(get, path = "/api/v1/targets", tag = "status", params(TargetsQuery), responses(
    (status = 200, body = Vec<Target>),
    (status = 400, description = "An unknown state; the message names those known.", body = ErrorBody),
    (status = 404, description = "An unknown pool.", body = ErrorBody),
))]
pub(crate) async fn targets(
    State(app): Shared,
    Params(query): Params<TargetsQuery>,
) -> Answer<Json<Vec<Target>>> {
    let snapshot = app.registry.snapshot();
    let only = query.pool.map(|name| app.pool(&name)).transpose()?;
    let is_asked = |pool: &evenkeel_state::Pool| only.as_ref().is_none_or(|only| only.name() == pool.name());
    let pools = ordered(&snapshot).filter(|pool| is_asked(pool));
    let members = pools.flat_map(|pool| pool.targets.iter().map(move |target| (pool, target)));
    let asked = members
        .filter(|(_, target)| query.status.is_none_or(|status| view::state(target.standing()) == status));
    Ok(Json(asked.map(|(pool, target)| view::target(pool, target)).collect()))
}

/// No query: one that is there is a slip, such as a filter that this path does not have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParams {}

/// The address in a path.
pub(crate) fn address(text: &str) -> Answer<TargetAddr> {
    text.parse().map_err(|error: evenkeel_base::AddrError| bad_input(error.to_string()).at("target"))
}

/// Pools in the order of the configuration.
pub(crate) fn ordered(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<evenkeel_state::Pool>> {
    snapshot.config.pools.iter().filter_map(|config| snapshot.pools.get(&config.name))
}
