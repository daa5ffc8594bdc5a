//! Who is there now: remembered clients and open connections.

use std::cmp::Reverse;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::{Extension, Json};
use evenkeel_api::{Client, Connection, ErrorBody};
use evenkeel_base::Reason;
use evenkeel_state::{ConnectionId, uptime};
use serde::Deserialize;

use crate::app::Peer;
use crate::control::Refusal;
use crate::extract::{Nothing, Params, Segments, bad_input};
use crate::handlers::listing::{self, NoParams};
use crate::handlers::{Answer, Shared};
use crate::view;

/// Entries told when nothing is said: what a person can scroll through.
const DEFAULT_LIMIT: u32 = 1_000;
/// Entries told at most, so that an answer stays within a few megabytes.
const MAX_LIMIT: u32 = 10_000;

/// How many there are in all, when a list is cut.
type Total = [(HeaderName, HeaderValue); 1];

/// Which clients.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ClientsQuery {
    /// Only clients that this pool remembers.
    #[param(required = false)]
    pool: Option<String>,
    /// At most so many, 1 to 10,000; 1,000 when left out.
    #[param(required = false, minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

/// The clients that pools with affinity remember, those seen last first. The header `x-total-count` tells how
/// many there are.
#[utoipa::path(get, path = "/api/v1/clients", tag = "traffic", params(ClientsQuery), responses(
    (status = 200, body = Vec<Client>),
    (status = 400, body = ErrorBody),
    (status = 404, description = "An unknown pool.", body = ErrorBody),
))]
pub(crate) async fn clients(
    State(app): Shared,
    Params(query): Params<ClientsQuery>,
) -> Answer<(Total, Json<Vec<Client>>)> {
    let limit = limit(query.limit)?;
    let snapshot = app.registry.snapshot();
    let asked = match query.pool {
        Some(name) => vec![app.pool(&name)?],
        None => listing::ordered(&snapshot).cloned().collect(),
    };
    let targets = view::targets_by_id(&snapshot);
    let (now, mut total, mut found) = (uptime(), 0, Vec::new());
    for pool in &asked {
        let Some(tables) = &pool.clients else { continue };
        total += tables.len();
        for client in tables.recent(limit) {
            // A target that was removed this instant takes its clients along.
            let Some(target) = targets.get(&client.entry.target) else { continue };
            found.push((
                Reverse(client.entry.last_seen),
                Client {
                    address: client.ip.to_string(),
                    target: target.address.to_string(),
                    pool: pool.name().to_string(),
                    last_seen_s: now.saturating_sub(client.entry.last_seen).as_secs(),
                    uses: client.entry.uses,
                },
            ));
        }
    }
    found.sort_by_key(|(seen, _)| *seen);
    found.truncate(limit);
    Ok((count(total), Json(found.into_iter().map(|(_, client)| client).collect())))
}

/// How many connections.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectionsQuery {
    /// At most so many, 1 to 10,000; 1,000 when left out.
    #[param(required = false, minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

/// The open client connections, oldest first within each worker. The header `x-total-count` tells how many
/// there are.
#[utoipa::path(get, path = "/api/v1/connections", tag = "traffic", params(ConnectionsQuery), responses(
    (status = 200, body = Vec<Connection>),
    (status = 400, body = ErrorBody),
))]
pub(crate) async fn connections(
    State(app): Shared,
    Params(query): Params<ConnectionsQuery>,
) -> Answer<(Total, Json<Vec<Connection>>)> {
    let limit = limit(query.limit)?;
    let (list, snapshot) = (app.registry.connections().list(), app.registry.snapshot());
    let targets = view::targets_by_id(&snapshot);
    let shown = list.iter().take(limit).map(|connection| view::connection(connection, &targets));
    Ok((count(list.len()), Json(shown.collect())))
}

/// Cuts one connection.
#[utoipa::path(delete, path = "/api/v1/connections/{id}", operation_id = "close_connection", tag = "traffic",
    params(("id" = String, Path, description = "As listed by `GET connections`")),
    responses(
        (status = 204, description = "It is being closed."),
        (status = 400, description = "This is not an id.", body = ErrorBody),
        (status = 404, description = "It is not there (any more).", body = ErrorBody),
    ))]
pub(crate) async fn close(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Segments(id): Segments<String>,
    Params(NoParams {}): Params<NoParams>,
    Nothing: Nothing,
) -> Answer<StatusCode> {
    let parsed: ConnectionId = id.parse().map_err(|()| {
        bad_input("a connection's id is WORKER-NUMBER, as GET connections lists it").at("id")
    })?;
    let result = if app.registry.connections().close(parsed) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::new(Reason::NotFound, format!("there is no connection {parsed}")).at("id"))
    };
    app.record(&peer, "close-connection", &parsed.to_string(), result)
}

fn limit(asked: Option<u32>) -> Answer<usize> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit as usize),
        _ => Err(bad_input(format!("limit is 1 to {MAX_LIMIT}")).at("limit")),
    }
}

fn count(total: usize) -> Total {
    [(HeaderName::from_static("x-total-count"), HeaderValue::from(total))]
}
