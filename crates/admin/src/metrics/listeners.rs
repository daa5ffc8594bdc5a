//! Counters of listeners.

use evenkeel_state::{ListenerView, Snapshot};

use super::text::{Kind, Labels, Text};
use crate::view::{ListenerCounts, listener_counts};

type Row<'s> = (Labels, &'s ListenerView, ListenerCounts);

pub(super) fn write(text: &mut Text, snapshot: &Snapshot) {
    let views = snapshot.config.listeners.iter().filter_map(|config| snapshot.listeners.get(&config.name));
    let row = |view| {
        let view: &ListenerView = view;
        (Labels::new().with("listener", view.config.name.as_str()), view, listener_counts(view))
    };
    let rows: Vec<Row<'_>> = views.map(|view| row(view)).collect();
    let mut each = |name: &'static str, kind: Kind, help: &str, value: fn(&Row<'_>) -> u64| {
        text.family(name, kind, help);
        for row in &rows {
            text.sample(&row.0, value(row));
        }
    };
    each("evenkeel_listener_connections_open", Kind::Gauge, "Client connections that are open.", |row| {
        u64::from(row.1.live.open())
    });
    each("evenkeel_listener_connections_max", Kind::Gauge, "Client connections taken at once.", |row| {
        u64::from(row.1.config.max_connections)
    });
    let help = "Client connections accepted.";
    each("evenkeel_listener_connections_accepted_total", Kind::Counter, help, |row| row.2.accepted);
    let help = "Client connections ended, those that were refused included.";
    each("evenkeel_listener_connections_closed_total", Kind::Counter, help, |row| row.2.closed);
    each("evenkeel_listener_requests_total", Kind::Counter, "Requests read (HTTP).", |row| row.2.requests);
    each("evenkeel_listener_bytes_in_total", Kind::Counter, "Bytes from clients.", |row| row.2.bytes_in);
    each("evenkeel_listener_bytes_out_total", Kind::Counter, "Bytes to clients.", |row| row.2.bytes_out);
    let help = "Tasks that panicked and were contained; anything but 0 is a defect to report.";
    each("evenkeel_panics_total", Kind::Counter, help, |row| row.2.panics);
    let help = "Access log lines dropped because the writer lagged or failed.";
    each("evenkeel_access_log_dropped_total", Kind::Counter, help, |row| row.2.log_dropped);
    text.family("evenkeel_ends_total", Kind::Counter, "Requests and connections ended, by their cause.");
    for (labels, _, counts) in &rows {
        for (reason, count) in &counts.reasons {
            text.sample(&labels.clone().with("reason", reason.as_str()), *count);
        }
    }
}
