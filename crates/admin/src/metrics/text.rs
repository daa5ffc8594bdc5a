//! Writing the exposition format: families in one piece, labels escaped once.

use std::fmt::{Display, Write as _};

/// What a family's samples mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Cumulative buckets, a sum and a count.
    Histogram,
}

/// Labels in their final form, without braces: `pool="app",target="10.0.0.1:80"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Labels(String);

impl Labels {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a label. Backslashes, quotes and line feeds are escaped, as the format asks for.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }
}

/// The page as it grows.
#[derive(Debug)]
pub(super) struct Text {
    out: String,
    family: &'static str,
}

impl Text {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes), family: "" }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Begins a family; every sample until the next one belongs to it. `help` is one line.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample of the family.
    pub(super) fn sample(&mut self, labels: &Labels, value: impl Display) {
        self.line("", labels, "", value);
    }

    /// One bucket of a histogram: `count` measurements were at most `limit`.
    pub(super) fn bucket(&mut self, labels: &Labels, limit: &str, count: u64) {
        self.line("_bucket", labels, limit, count);
    }

    /// Sum and count of a histogram.
    pub(super) fn sum_and_count(&mut self, labels: &Labels, sum: f64, count: u64) {
        self.line("_sum", labels, "", sum);
        self.line("_count", labels, "", count);
    }

    fn line(&mut self, suffix: &str, labels: &Labels, limit: &str, value: impl Display) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        if !labels.0.is_empty() || !limit.is_empty() {
            self.out.push('{');
            self.out.push_str(&labels.0);
            if !limit.is_empty() {
                self.out.push_str(if labels.0.is_empty() { "le=\"" } else { ",le=\"" });
                self.out.push_str(limit);
                self.out.push('"');
            }
            self.out.push('}');
        }
        // Writing to memory does not fail.
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_reads_as_the_format_wants_it() {
        let mut text = Text::with_capacity(0);
        text.family("a_total", Kind::Counter, "Help.");
        text.sample(&Labels::new(), 1);
        text.sample(&Labels::new().with("x", "q\"b\\n\nü").with("y", ""), 2);
        text.family("h_seconds", Kind::Histogram, "Help.");
        text.bucket(&Labels::new(), "0.5", 3);
        text.bucket(&Labels::new().with("x", "1"), "+Inf", 4);
        text.sum_and_count(&Labels::new(), 0.25, 4);
        assert_eq!(
            text.finish(),
            "# HELP a_total Help.\n# TYPE a_total counter\na_total 1\na_total{x=\"q\\\"b\\\\n\\nü\",y=\"\"} 2\n\
             # HELP h_seconds Help.\n# TYPE h_seconds histogram\nh_seconds_bucket{le=\"0.5\"} 3\n\
             h_seconds_bucket{x=\"1\",le=\"+Inf\"} 4\nh_seconds_sum 0.25\nh_seconds_count 4\n"
        );
    }
}
