//! The configuration as a whole: showing, replacing and reading it again.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::{Extension, Json};
use evenkeel_api::{ErrorBody, Plan};
use serde::Deserialize;

use crate::app::{App, Peer, outcome};
use crate::audit::Entry;
use crate::extract::{Nothing, Params, Toml, bad_input, flag};
use crate::handlers::listing::NoParams;
use crate::handlers::{Answer, Shared};

type Headers<const N: usize> = [(HeaderName, HeaderValue); N];

/// The TOML now in force, runtime changes included and secrets left out. Its `ETag` goes into the `If-Match`
/// of a `PUT`.
#[utoipa::path(get, path = "/api/v1/config", operation_id = "show_config", tag = "configuration",
    responses((status = 200, body = String, content_type = "application/toml", headers(("ETag" = String)))))]
pub(crate) async fn show(State(app): Shared, Params(NoParams {}): Params<NoParams>) -> (Headers<2>, String) {
    let (text, etag) = app.control.config();
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/toml")), tag(&etag)], text)
}

/// Whether to adopt it.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReplaceQuery {
    /// `1`: tell what would change, and change nothing.
    #[serde(default, deserialize_with = "flag")]
    #[param(required = false)]
    dry_run: bool,
}

/// Adopts a whole configuration in one step, or nothing of it.
#[utoipa::path(put, path = "/api/v1/config", operation_id = "replace_config", tag = "configuration",
    params(
        ReplaceQuery,
        ("If-Match" = Option<String>, Header, description = "The ETag that the configuration in force must have"),
    ),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, description = "What changed, or with `dry_run` would change.", body = Plan,
            headers(("ETag" = String))),
        (status = 409, description = "An address cannot be listened on; nothing was changed.", body = ErrorBody),
        (status = 412, description = "The configuration changed since it was read.", body = ErrorBody),
        (status = 422, description = "It has problems, all of which are listed; nothing was changed.",
            body = ErrorBody),
    ))]
pub(crate) async fn replace(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Params(query): Params<ReplaceQuery>,
    headers: HeaderMap,
    Toml(text, _place): Toml,
) -> Answer<(Headers<1>, Json<Plan>)> {
    let if_match = if_match(&headers, &app)?;
    let result = app.control.replace(text, if_match, query.dry_run).await;
    if !query.dry_run {
        app.record_plan(&peer, "replace-config", &result);
    }
    let plan = result?;
    Ok(([tag(&app.control.config().1)], Json(plan)))
}

/// Reads the configuration file again and adopts it in one step, or nothing of it.
#[utoipa::path(post, path = "/api/v1/reload", tag = "configuration", responses(
    (status = 200, description = "What changed.", body = Plan),
    (status = 409, description = "An address cannot be listened on; nothing was changed.", body = ErrorBody),
    (status = 422, description = "The file has problems, all of which are listed; nothing was changed.",
        body = ErrorBody),
))]
pub(crate) async fn reload(
    State(app): Shared,
    Extension(peer): Extension<Peer>,
    Params(NoParams {}): Params<NoParams>,
    Nothing: Nothing,
) -> Answer<Json<Plan>> {
    let result = app.control.reload().await;
    app.record_plan(&peer, "reload", &result);
    result.map(Json)
}

impl App {
    /// The problems of a refused configuration are not recorded: they may quote it.
    fn record_plan(&self, peer: &Peer, what: &'static str, result: &Answer<Plan>) {
        let entry = Entry::new(peer.client, what, outcome(result));
        match result {
            Ok(plan) => self.audit.record(&entry.changes(&plan.changes)),
            Err(_) => self.audit.record(&entry),
        }
    }
}

/// What the configuration must be. Of several etags it may be any (RFC 9110 §13.1.1): the one in force is passed
/// on if it is among them, for the process to compare again under its lock.
fn if_match(headers: &HeaderMap, app: &App) -> Answer<Option<String>> {
    let mut named: Vec<&str> = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let malformed = || bad_input("If-Match is *, or one or more etags in quotes").at("if-match");
        let text = value.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(None);
        }
        for tag in text.split(',').map(str::trim) {
            // A weak tag never matches here, and is taken for what it is: an etag that is not ours.
            let is_quoted =
                tag.len() >= 2 && tag.trim_start_matches("W/").starts_with('"') && tag.ends_with('"');
            named.push(if is_quoted { tag } else { return Err(malformed()) });
        }
    }
    let Some(first) = named.first() else { return Ok(None) };
    let current = app.control.config().1;
    let is_current = named.iter().any(|tag| tag.trim_matches('"') == current.trim_matches('"'));
    Ok(Some(if is_current { current } else { first.trim_matches('"').to_owned() }))
}

fn tag(etag: &str) -> (HeaderName, HeaderValue) {
    let quoted = HeaderValue::try_from(format!("\"{}\"", etag.trim_matches('"')));
    (header::ETAG, quoted.unwrap_or_else(|_| HeaderValue::from_static("\"\"")))
}
