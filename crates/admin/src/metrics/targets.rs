//! Counters of targets.

use evenkeel_state::{BUCKET_LIMITS_US, Snapshot, Standing, Target, Totals};

use super::text::{Kind, Labels, Text};
use crate::handlers::listing::ordered;

/// What one target takes on the page, histogram included: the page is allocated once.
pub(super) const BYTES_PER_TARGET: usize = 5_500;

struct Row<'s> {
    labels: Labels,
    target: &'s Target,
    totals: Totals,
}

pub(super) fn write(text: &mut Text, snapshot: &Snapshot) {
    let mut rows = Vec::new();
    for pool in ordered(snapshot) {
        let of_pool = Labels::new().with("pool", pool.name().as_str());
        for target in &pool.targets {
            let labels = of_pool.clone().with("target", &target.address.to_string());
            rows.push(Row { labels, target, totals: target.live.totals() });
        }
    }
    states(text, &rows);
    counters(text, &rows);
    answers(text, &rows);
    latencies(text, &rows);
}

fn each(text: &mut Text, rows: &[Row<'_>], family: (&'static str, Kind, &str), value: fn(&Row<'_>) -> u64) {
    let (name, kind, help) = family;
    text.family(name, kind, help);
    for row in rows {
        text.sample(&row.labels, value(row));
    }
}

fn states(text: &mut Text, rows: &[Row<'_>]) {
    let up = ("evenkeel_target_up", Kind::Gauge, "1 while the target may get work.");
    each(text, rows, up, |row| u64::from(row.target.standing() == Standing::Available));
    let weight = ("evenkeel_target_weight", Kind::Gauge, "The target's share; 0 drains it.");
    each(text, rows, weight, |row| u64::from(row.target.weight.as_u16()));
    let in_flight =
        ("evenkeel_target_in_flight", Kind::Gauge, "Requests (HTTP) or connections (TCP) in flight.");
    each(text, rows, in_flight, |row| row.totals.in_flight);
}

fn counters(text: &mut Text, rows: &[Row<'_>]) {
    let mut count = |name, help, value| each(text, rows, (name, Kind::Counter, help), value);
    let help = "Requests (HTTP) or connections (TCP) begun, retries included.";
    count("evenkeel_target_requests_total", help, |row| row.totals.started);
    count("evenkeel_target_connects_total", "Dials that succeeded.", |row| row.totals.connects);
    count("evenkeel_target_connect_errors_total", "Dials that failed.", |row| row.totals.connect_errors);
    count("evenkeel_target_reused_total", "Requests that went over a kept connection.", |row| {
        row.totals.reused
    });
    count("evenkeel_target_retries_total", "Tries given up here and made elsewhere.", |row| {
        row.totals.retries
    });
    let help = "Requests or connections without a valid answer.";
    count("evenkeel_target_failures_total", help, |row| row.totals.failures);
    count("evenkeel_target_bytes_to_total", "Bytes sent to the target.", |row| row.totals.bytes_to);
    count("evenkeel_target_bytes_from_total", "Bytes received from the target.", |row| row.totals.bytes_from);
}

fn answers(text: &mut Text, rows: &[Row<'_>]) {
    const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    text.family(
        "evenkeel_target_answers_total",
        Kind::Counter,
        "Answers by the class of their status (HTTP).",
    );
    for row in rows.iter().filter(|row| row.totals.answers.iter().any(|count| *count > 0)) {
        for (class, count) in CLASSES.iter().zip(row.totals.answers) {
            text.sample(&row.labels.clone().with("class", class), count);
        }
    }
}

fn latencies(text: &mut Text, rows: &[Row<'_>]) {
    let limits: Vec<String> = BUCKET_LIMITS_US.iter().map(|us| seconds(*us).to_string()).collect();
    let help = "Time to the head of the answer (HTTP) or to connect (TCP).";
    text.family("evenkeel_target_latency_seconds", Kind::Histogram, help);
    for row in rows {
        let count: u64 = row.totals.latency.iter().sum();
        if count == 0 {
            // Twenty-three lines that say nothing, for each of ten thousand idle targets.
            continue;
        }
        let mut below = 0;
        for (limit, held) in limits.iter().zip(row.totals.latency) {
            below += held;
            text.bucket(&row.labels, limit, below);
        }
        text.bucket(&row.labels, "+Inf", count);
        text.sum_and_count(&row.labels, seconds(row.totals.latency_sum_us), count);
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
