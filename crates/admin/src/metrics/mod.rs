//! `/metrics`: the Prometheus text exposition format, version 0.0.4.

mod listeners;
mod pools;
mod process;
mod targets;
mod text;
mod transitions;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use evenkeel_base::Reason;
use evenkeel_state::uptime;

pub(crate) use process::resident_bytes;
pub(crate) use transitions::Transitions;

use crate::app::App;
use crate::control::Refusal;
use crate::handlers::{Answer, Shared};
use text::{Kind, Labels, Text};

/// Counters and histograms in the Prometheus text format. A target's latency histogram appears with its first
/// answer.
#[utoipa::path(get, path = "/metrics", tag = "probes",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4")))]
pub(crate) async fn show(State(app): Shared) -> Answer<impl IntoResponse> {
    // Ten thousand targets are tens of megabytes of text: the control side does not stand still for that.
    let page = tokio::task::spawn_blocking(move || page(&app)).await;
    let page = page.map_err(|_| Refusal::new(Reason::Internal, "the metrics could not be collected"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page))
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
