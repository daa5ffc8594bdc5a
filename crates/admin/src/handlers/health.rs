//! `/health` and `/ready`: for supervisors and for balancers in front of this one.

use axum::Json;
use axum::extract::State;
use evenkeel_api::{ErrorBody, Health};
use evenkeel_base::Reason;

use crate::control::Refusal;
use crate::handlers::{Answer, Shared};

/// Whether the process lives. Never asks for the token.
#[utoipa::path(get, path = "/health", tag = "probes", responses((status = 200, body = Health)))]
pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "alive".to_owned() })
}

/// Whether the process takes new work: it serves, and is not on its way out. Never asks for the token.
#[utoipa::path(get, path = "/ready", tag = "probes", responses(
    (status = 200, body = Health),
    (status = 503, description = "Not yet, or not any more: `starting` or `draining`.", body = ErrorBody),
))]
pub(crate) async fn ready(State(app): Shared) -> Answer<Json<Health>> {
    let facts = app.control.facts();
    if facts.draining {
        return Err(Refusal::new(Reason::Draining, "the process is on its way out"));
    }
    if !facts.ready {
        return Err(Refusal::new(Reason::Starting, "not every listener is being served yet"));
    }
    Ok(Json(Health { status: "ready".to_owned() }))
}
