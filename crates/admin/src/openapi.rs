//! The description of the API, generated from the handlers and the wire types.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::handlers::{changes, configuration, events, health, listing, traffic};
use crate::metrics;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Evenkeel admin API",
        description = "What a running balancer shows, and what can be changed without a restart.\n\nA request with \
                       an unknown field or parameter is refused. Every refusal is an `ErrorBody`; its `reason` is \
                       also in the header `x-evenkeel-reason`. When a token is set, every call carries \
                       `Authorization: Bearer TOKEN`, but for `/health` and `/ready`, and `/metrics` with \
                       `open_metrics`. Requests from pages of other web origins are refused.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        health::health,
        health::ready,
        metrics::show,
        listing::status,
        listing::listeners,
        listing::pools,
        listing::pool,
        listing::pool_targets,
        listing::target,
        listing::targets,
        changes::add,
        changes::edit,
        changes::drain,
        changes::remove,
        traffic::clients,
        traffic::connections,
        traffic::close,
        events::events,
        configuration::show,
        configuration::replace,
        configuration::reload,
        show,
    ),
    modifiers(&Token),
    tags(
        (name = "probes", description = "For supervisors and monitoring"),
        (name = "status", description = "How things are"),
        (name = "traffic", description = "Who is there"),
        (name = "changes", description = "Targets, changed at run time"),
        (name = "configuration", description = "The configuration as a whole"),
    ),
)]
pub(crate) struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        // The empty alternative: without a token in the configuration, none is needed.
        let none = SecurityRequirement::default();
        openapi.security = Some(vec![SecurityRequirement::new::<_, [String; 0], String>("token", []), none]);
    }
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "describe", tag = "status",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn show() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(text).as_str();
    ([(header::CONTENT_TYPE, "application/json")], text)
}

/// The description as JSON.
pub(crate) fn text() -> String {
    // Serialising a description to memory does not fail: its maps have text keys.
    Description::openapi().to_pretty_json().map(|text| text + "\n").unwrap_or_default()
}
