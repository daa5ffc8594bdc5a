//! What every handler shares, and which path leads to which handler.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use evenkeel_base::{ClientAddr, Reason};
use evenkeel_state::{Pool, Registry};
use tokio::sync::{Semaphore, watch};

use crate::access::{Access, check_content, check_origin};
use crate::audit::{AuditLog, Entry};
use crate::control::{AnyControl, Control, Refusal};
use crate::handlers::{changes, configuration, events, health, listing, traffic};
use crate::metrics::Transitions;
use crate::{metrics, openapi};

/// Followers of the event stream at once: each holds a connection for as long as it likes.
const MAX_FOLLOWERS: usize = 64;
/// Configurations that are received at once: each may take 16 MiB.
const MAX_TEXTS: usize = 4;
/// Pages of metrics that are held at once: with ten thousand targets each takes tens of megabytes.
const MAX_PAGES: usize = 4;

/// What every handler shares.
pub(crate) struct App {
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Arc<dyn AnyControl>,
    pub(crate) access: Access,
    pub(crate) audit: AuditLog,
    pub(crate) transitions: Arc<Transitions>,
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) texts: Arc<Semaphore>,
    pub(crate) pages: Arc<Semaphore>,
    pub(crate) unauthorized: AtomicU64,
    pub(crate) forbidden: AtomicU64,
}

/// Who is at the other end of a connection; [`serve`](crate::serve) attaches it to every request.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) client: ClientAddr,
    /// The address that is listened on, when it is a loopback one.
    pub(crate) loopback: Option<SocketAddr>,
    /// Turns true when the server stops.
    pub(crate) closing: watch::Receiver<bool>,
}

/// The API over this registry. To be called within a tokio runtime: a small task counts transitions until the
/// router, or the registry, is dropped.
pub fn router<C: Control>(
    registry: Arc<Registry>,
    control: Arc<C>,
    access: Access,
    audit: AuditLog,
) -> Router {
    let transitions = Arc::new(Transitions::default());
    let (counts, events) = (Arc::downgrade(&transitions), registry.events());
    tokio::spawn(Transitions::follow(counts, Arc::downgrade(events), events.subscribe()));
    let app = Arc::new(App {
        registry,
        control,
        access,
        audit,
        transitions,
        followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        texts: Arc::new(Semaphore::new(MAX_TEXTS)),
        pages: Arc::new(Semaphore::new(MAX_PAGES)),
        unauthorized: AtomicU64::new(0),
        forbidden: AtomicU64::new(0),
    });
    let api = Router::new()
        .route("/status", get(listing::status))
        .route("/listeners", get(listing::listeners))
        .route("/pools", get(listing::pools))
        .route("/pools/{pool}", get(listing::pool))
        .route("/pools/{pool}/targets", get(listing::pool_targets).post(changes::add))
        .route(
            "/pools/{pool}/targets/{target}",
            get(listing::target).patch(changes::edit).delete(changes::remove),
        )
        .route("/pools/{pool}/targets/{target}/drain", post(changes::drain))
        .route("/targets", get(listing::targets))
        .route("/clients", get(traffic::clients))
        .route("/connections", get(traffic::connections))
        .route("/connections/{id}", delete(traffic::close))
        .route("/events", get(events::events))
        .route("/config", get(configuration::show).put(configuration::replace))
        .route("/reload", post(configuration::reload))
        .route("/openapi.json", get(openapi::show));
    Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::show))
        .nest(evenkeel_api::PREFIX, api)
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

impl App {
    /// The pool of that name, as of now.
    pub(crate) fn pool(&self, name: &str) -> Result<Arc<Pool>, Refusal> {
        let snapshot = self.registry.snapshot();
        let found = snapshot.pools.get(name).cloned();
        found.ok_or_else(|| Refusal::new(Reason::NotFound, format!("there is no pool {name:?}")).at("pool"))
    }

    /// Records what came of a change, and passes it on.
    pub(crate) fn record<T>(
        &self,
        peer: &Peer,
        what: &'static str,
        subject: &str,
        result: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let entry = Entry::new(peer.client, what, outcome(&result));
        self.audit.record(&if subject.is_empty() { entry } else { entry.subject(subject) });
        result
    }
}

pub(crate) fn outcome<T>(result: &Result<T, Refusal>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(refusal) => refusal.reason.as_str(),
    }
}

/// Before every handler: origin first, so that a page cannot even learn whether a token is wanted.
async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if request.extensions().get::<Peer>().is_none() {
        request.extensions_mut().insert(strangest_peer());
    }
    let mut response = match admit(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            match refusal.reason {
                Reason::Unauthorized => app.unauthorized.fetch_add(1, Relaxed),
                Reason::Forbidden => app.forbidden.fetch_add(1, Relaxed),
                _ => 0,
            };
            refusal.into_response()
        }
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn admit(app: &App, request: &Request) -> Result<(), Refusal> {
    let loopback = request.extensions().get::<Peer>().and_then(|peer| peer.loopback);
    check_origin(request.uri(), request.headers(), loopback)?;
    app.access.admits(request.uri().path(), request.headers())?;
    let is_empty = request.body().is_end_stream();
    check_content(request.method(), request.uri().path(), request.headers(), is_empty)
}

/// For a router that is served in another way: the rules of loopback, which are the strictest.
fn strangest_peer() -> Peer {
    let (_, closing) = watch::channel(false);
    Peer { client: ClientAddr::Unix, loopback: Some(SocketAddr::from(([127, 0, 0, 1], 0))), closing }
}

async fn unknown_path(uri: Uri) -> Refusal {
    let message =
        format!("there is nothing at {:?}; GET /api/v1/openapi.json lists what there is", uri.path());
    Refusal::new(Reason::NotFound, message).at("path")
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    Refusal::new(Reason::WrongMethod, format!("{} does not take {method}", uri.path())).at("method")
}
