//! `/metrics`: the Prometheus text exposition format, version 0.0.4.

mod listeners;
mod pools;
mod process;
mod targets;
mod text;
mod transitions;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use evenkeel_api::ErrorBody;
use evenkeel_base::Reason;
use evenkeel_state::uptime;
use http_body_util::channel::{Channel, Sender};
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use process::resident_bytes;
pub(crate) use transitions::Transitions;

use crate::app::App;
use crate::control::Refusal;
use crate::handlers::{Answer, Shared};
use text::{Kind, Labels, Text};

/// What is handed over at once: a socket buffer or two.
const PIECE_BYTES: usize = 256 << 10;
/// A page is taken within this time, or its scraper is given up: 60 MB at 8 Mbit/s.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Counters and histograms in the Prometheus text format. A target's latency histogram appears with its first
/// answer.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "probes",
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4"),
        (status = 503, description = "Too many scrapers are being served.", body = ErrorBody),
    ))]
pub(crate) async fn show(State(app): Shared) -> Answer<impl IntoResponse> {
    let place = Arc::clone(&app.pages).try_acquire_owned();
    let place = place.map_err(|_| Refusal::new(Reason::Overloaded, "too many scrapers are being served"))?;
    // Ten thousand targets are tens of megabytes of text: the control side does not stand still for that.
    let page = tokio::task::spawn_blocking(move || page(&app)).await;
    let page = page.map_err(|_| Refusal::new(Reason::Internal, "the metrics could not be collected"))?;
    let (sender, body) = Channel::new(1);
    tokio::spawn(send(Bytes::from(page), sender, place));
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], Body::new(body)))
}

/// Hands the page over piece by piece, and gives its place back when it is gone: a scraper may be let in without
/// a token, so one that reads a byte now and then must not hold a page for ever.
async fn send(mut page: Bytes, mut sender: Sender<Bytes, io::Error>, place: OwnedSemaphorePermit) {
    let all = async {
        while !page.is_empty() {
            let piece = page.split_to(page.len().min(PIECE_BYTES));
            if sender.send_data(piece).await.is_err() {
                break;
            }
        }
    };
    if tokio::time::timeout(PAGE_TIMEOUT, all).await.is_err() {
        sender.abort(io::ErrorKind::TimedOut.into());
    }
    drop(place);
}

/// All metrics, in one pass over one snapshot.
pub(crate) fn page(app: &Arc<App>) -> String {
    let snapshot = app.registry.snapshot();
    let targets = snapshot.pools.values().map(|pool| pool.targets.len()).sum::<usize>();
    let mut text = Text::with_capacity(16_384 + targets.saturating_mul(targets::BYTES_PER_TARGET));
    about_process(app, &mut text, snapshot.generation);
    listeners::write(&mut text, &snapshot);
    pools::write(&mut text, &snapshot);
    targets::write(&mut text, &snapshot);
    app.transitions.catch_up(app.registry.events());
    app.transitions.write(&mut text, &snapshot);
    text.finish()
}

fn about_process(app: &App, text: &mut Text, generation: u64) {
    let facts = app.control.facts();
    let ready = u64::from(facts.ready && !facts.draining);
    let version = Labels::new().with("version", &facts.version);
    text.family("evenkeel_build_info", Kind::Gauge, "1, labelled with the running version.");
    text.sample(&version, 1);
    let one = |text: &mut Text, name: &'static str, kind: Kind, help: &str, value: u64| {
        text.family(name, kind, help);
        text.sample(&Labels::new(), value);
    };
    text.family("evenkeel_uptime_seconds", Kind::Gauge, "Time since the process started.");
    text.sample(&Labels::new(), uptime().as_secs_f64());
    one(text, "evenkeel_ready", Kind::Gauge, "1 while the process takes new work.", ready);
    one(text, "evenkeel_workers", Kind::Gauge, "Data workers.", facts.workers as u64);
    let help = "Number of the routing state in force.";
    one(text, "evenkeel_config_generation", Kind::Gauge, help, generation);
    text.family(
        "evenkeel_admin_refused_total",
        Kind::Counter,
        "Admin calls refused before they were looked at.",
    );
    for (reason, count) in [(Reason::Unauthorized, &app.unauthorized), (Reason::Forbidden, &app.forbidden)] {
        text.sample(&Labels::new().with("reason", reason.as_str()), count.load(Relaxed));
    }
    let help = "Lines of the audit log that were lost because the writer lagged or failed.";
    one(text, "evenkeel_audit_log_dropped_total", Kind::Counter, help, app.audit.dropped());
    if let Some(bytes) = process::resident_bytes() {
        one(text, "process_resident_memory_bytes", Kind::Gauge, "Resident memory of the process.", bytes);
    }
    if let Some(count) = process::open_descriptors() {
        one(text, "process_open_fds", Kind::Gauge, "File descriptors that are open.", count);
    }
}
