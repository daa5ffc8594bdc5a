//! The figures of a row as a table, for the terminal and for the page.

use super::Entry;
use super::measure::{Sample, median};
use super::peers::Kind;

/// From here on a core counts as full.
const FULL: f64 = 0.95;
/// Share of the proxy's core that others may use before it is worth a remark.
const NOISE: f64 = 0.05;

const HEAD: [&str; 12] = [
    "proxy",
    "CPU µs/request",
    "spread",
    "× best peer",
    "requests/s",
    "MiB/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "peak MiB",
    "core busy",
    "remarks",
];

/// Rows of cells, the head first.
#[derive(Debug)]
pub(super) struct Table(Vec<Vec<String>>);

/// The medians of each peer's runs.
pub(super) fn of(entries: &[Entry]) -> Table {
    let best = best_peer(entries);
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| cells(entry, best)));
    Table(rows)
}

/// The lowest cost of those we compare ourselves with.
pub(super) fn best_peer(entries: &[Entry]) -> Option<f64> {
    let others = entries.iter().filter(|e| e.peer.kind != Kind::Evenkeel && !e.samples.is_empty());
    others.map(cost).min_by(f64::total_cmp)
}

/// The median cost of a request.
pub(super) fn cost(entry: &Entry) -> f64 {
    middle(entry, |s| s.cost_us)
}

fn middle(entry: &Entry, figure: impl Fn(&Sample) -> f64) -> f64 {
    median(entry.samples.iter().map(figure))
}

fn cells(entry: &Entry, best: Option<f64>) -> Vec<String> {
    if entry.samples.is_empty() {
        let mut cells = vec![entry.peer.name.clone()];
        cells.resize(HEAD.len() - 1, "–".to_owned());
        cells.push(remarks(entry));
        return cells;
    }
    let costs = || entry.samples.iter().map(|s| s.cost_us);
    let spread = format!("{:.2}–{:.2}", costs().fold(f64::MAX, f64::min), costs().fold(0.0, f64::max));
    let busy = format!(
        "{:.0} % / {:.0} %",
        100.0 * middle(entry, |s| s.proxy_core),
        100.0 * middle(entry, |s| s.load_core)
    );
    vec![
        entry.peer.name.clone(),
        format!("{:.2}", cost(entry)),
        spread,
        best.map_or("–".to_owned(), |best| format!("{:.2}", cost(entry) / best)),
        format!("{:.0}", middle(entry, |s| s.requests_per_s)),
        format!("{:.0}", middle(entry, |s| s.mib_per_s)),
        format!("{:.2}", middle(entry, |s| s.p50_ms)),
        format!("{:.2}", middle(entry, |s| s.p99_ms)),
        format!("{:.2}", middle(entry, |s| s.p999_ms)),
        format!("{:.1}", middle(entry, |s| s.peak_mib)),
        busy,
        remarks(entry),
    ]
}

/// What a reader must know before quoting the figures.
fn remarks(entry: &Entry) -> String {
    let mut remarks: Vec<String> = entry.skipped.iter().map(|reason| format!("skipped: {reason}")).collect();
    remarks.extend(entry.trouble.iter().map(|message| format!("FAILED: {message}")));
    let errors: u64 = entry.samples.iter().map(|s| s.errors).sum();
    if errors > 0 {
        remarks.push(format!("{errors} ERRORS"));
    }
    if !entry.samples.is_empty() {
        let (proxy, load) = (middle(entry, |s| s.proxy_core), middle(entry, |s| s.load_core));
        if proxy < FULL {
            let limit =
                if load >= FULL { "origin or load generator is" } else { "neither core is full: waiting is" };
            remarks.push(format!("{limit} the limit"));
        }
        let others = proxy - middle(entry, |s| s.proxy_share);
        if others > NOISE {
            remarks.push(format!("{:.0} % of its core went to others", others * 100.0));
        }
    }
    // A program's own words may run over lines, a cell may not.
    remarks.join("; ").split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}

impl Table {
    /// Aligned columns: the first and the last to the left, figures to the right.
    pub(super) fn text(&self) -> String {
        let columns = self.0.first().map_or(0, Vec::len);
        let width =
            |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cell = |(column, (cell, width)): (usize, (&String, &usize))| {
                if column == 0 || column + 1 == columns {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            };
            row.iter().zip(&widths).enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The same for the page.
    pub(super) fn markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |", row.join(" | "));
        let mut lines: Vec<String> = self.0.iter().map(line).collect();
        let columns = self.0.first().map_or(0, Vec::len);
        let rule: Vec<&str> =
            (0..columns).map(|c| if c == 0 || c + 1 == columns { "---" } else { "--:" }).collect();
        lines.insert(1.min(lines.len()), format!("|{}|", rule.join("|")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::Peer;

    fn entry(name: &str, costs: &[f64]) -> Entry {
        let sample = |cost: &f64| Sample {
            cost_us: *cost,
            requests_per_s: 1000.0,
            proxy_share: 0.97,
            proxy_core: 0.99,
            load_core: 0.7,
            ..Sample::default()
        };
        Entry {
            peer: Peer::named(name),
            samples: costs.iter().map(sample).collect(),
            skipped: None,
            trouble: None,
        }
    }

    #[test]
    fn ratios_are_to_the_best_peer_and_not_to_ourselves() {
        let table = of(&[
            entry("evenkeel", &[8.0, 9.0, 7.0]),
            entry("haproxy", &[20.0]),
            entry("nginx", &[10.0, 12.0]),
        ]);
        let ratios: Vec<&str> = table.0.iter().skip(1).map(|row| &*row[3]).collect();
        assert_eq!(ratios, ["0.73", "1.82", "1.00"]);
        assert_eq!(table.0[1][1..3], ["8.00", "7.00–9.00"]);
        assert_eq!(of(&[entry("evenkeel", &[8.0])]).0[1][3], "–");
    }

    #[test]
    fn remarks_name_the_limit_the_noise_and_the_errors() {
        let with = |change: &dyn Fn(&mut Sample)| {
            let mut entry = entry("nginx", &[1.0]);
            entry.samples.iter_mut().for_each(change);
            remarks(&entry)
        };
        assert_eq!(with(&|_| ()), "");
        assert_eq!(with(&|s| s.errors = 3), "3 ERRORS");
        let mut failed = entry("nginx", &[]);
        failed.trouble = Some("it ended:\n  a|b".to_owned());
        assert_eq!(remarks(&failed), "FAILED: it ended: a/b");
        assert_eq!(with(&|s| s.proxy_share = 0.5), "49 % of its core went to others");
        let limited =
            |load: f64| with(&move |s| (s.proxy_core, s.proxy_share, s.load_core) = (0.6, 0.6, load));
        assert_eq!(limited(1.0), "origin or load generator is the limit");
        assert_eq!(limited(0.5), "neither core is full: waiting is the limit");
    }

    #[test]
    fn a_peer_without_figures_says_why() {
        let mut skipped = entry("nginx", &[]);
        skipped.skipped = Some("no stream".to_owned());
        let table = of(&[skipped]);
        assert_eq!(table.0[1].len(), HEAD.len());
        assert!(table.text().lines().last().unwrap().ends_with("–  skipped: no stream"));
    }

    #[test]
    fn columns_are_aligned() {
        let table =
            Table(["a,µs,z", "bb,1,", "c,100,r"].map(|l| l.split(',').map(str::to_owned).collect()).to_vec());
        assert_eq!(table.text(), "a    µs  z\nbb    1\nc   100  r");
        assert_eq!(table.markdown(), "| a | µs | z |\n|---|--:|---|\n| bb | 1 |  |\n| c | 100 | r |");
    }
}
