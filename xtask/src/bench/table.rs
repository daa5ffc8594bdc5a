//! The figures of a row as a table, for the terminal and for the page.

use super::Entry;
use super::measure::{Busy, Sample, median};
use super::peers::Kind;
use super::rows::{Column, Row};

/// From here on a core counts as full.
pub(super) const FULL: f64 = 0.95;
/// Share of the proxy's core that others may use before it is worth a remark.
const NOISE: f64 = 0.05;
/// A cell without a figure.
const NONE: &str = "–";

/// Rows of cells, the head first.
#[derive(Debug)]
pub(super) struct Table(Vec<Vec<String>>);

/// The medians of each peer's runs.
pub(super) fn of(row: &Row, entries: &[Entry]) -> Table {
    let shape = Shape {
        row,
        grows: row.variants.len() > 1,
        busy: entries.iter().flat_map(|entry| &entry.samples).any(|sample| sample.busy.is_some()),
        calls: entries.iter().any(|entry| entry.calls.is_some()),
    };
    let mut lines = vec![shape.head()];
    lines.extend(entries.iter().map(|entry| shape.cells(entry, entries)));
    Table(lines)
}

/// The lowest figure in a column among those we compare ourselves with, in one variant.
pub(super) fn best_peer(entries: &[Entry], variant: usize, column: usize) -> Option<f64> {
    let others = entries
        .iter()
        .filter(|e| e.peer.kind != Kind::Evenkeel && e.variant == variant && !e.samples.is_empty());
    others.map(|entry| figure(entry, column)).min_by(f64::total_cmp)
}

/// The median of one column; 0 without a run.
pub(super) fn figure(entry: &Entry, column: usize) -> f64 {
    median(entry.samples.iter().filter_map(|sample| sample.values.get(column).copied()))
}

/// What the table calls a line.
pub(super) fn label(row: &Row, entry: &Entry) -> String {
    match row.variants.get(entry.variant).map_or("", |variant| variant.label) {
        "" => entry.peer.name.clone(),
        label => format!("{}, {label}", entry.peer.name),
    }
}

/// Which columns a row's table has.
#[derive(Debug)]
struct Shape<'a> {
    row: &'a Row,
    grows: bool,
    busy: bool,
    calls: bool,
}

impl Shape<'_> {
    fn head(&self) -> Vec<String> {
        let (first, others) = self.columns();
        let mut head = vec!["proxy", first.head, "spread", "× best peer"];
        head.extend(self.grows.then_some("× its smallest"));
        head.extend(others.iter().map(|column| column.head));
        head.extend(self.busy.then_some("cores busy"));
        head.extend(self.calls.then_some("calls/request"));
        head.push("remarks");
        head.into_iter().map(str::to_owned).collect()
    }

    fn columns(&self) -> (Column, &[Column]) {
        const NOTHING: Column = Column { head: "", digits: 0 };
        self.row.columns.split_first().map_or((NOTHING, &[]), |(first, others)| (*first, others))
    }

    fn cells(&self, entry: &Entry, all: &[Entry]) -> Vec<String> {
        let mut cells = vec![label(self.row, entry)];
        if entry.samples.is_empty() {
            cells.resize(self.head().len() - 1, NONE.to_owned());
            cells.push(remarks(entry));
            return cells;
        }
        let (first, others) = self.columns();
        let print = |number: usize, column: &Column| format!("{:.*}", column.digits, figure(entry, number));
        let values = || entry.samples.iter().filter_map(|sample| sample.values.first().copied());
        let (low, high) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        cells.push(print(0, &first));
        cells.push(format!("{low:.0$}–{high:.0$}", first.digits));
        cells.push(ratio(figure(entry, 0), best_peer(all, entry.variant, 0)));
        if self.grows {
            let smallest = all.iter().find(|e| e.peer.name == entry.peer.name && !e.samples.is_empty());
            cells.push(ratio(figure(entry, 0), smallest.map(|entry| figure(entry, 0))));
        }
        cells.extend(others.iter().enumerate().map(|(number, column)| print(number + 1, column)));
        if self.busy {
            cells.push(busy(entry).map_or(NONE.to_owned(), |busy| {
                format!("{:.0} % / {:.0} %", 100.0 * busy.proxy_cores, 100.0 * busy.load_cores)
            }));
        }
        if self.calls {
            cells.push(entry.calls.as_ref().map_or(NONE.to_owned(), |calls| format!("{:.2}", calls.total())));
        }
        cells.push(remarks(entry));
        cells
    }
}

/// A ratio says nothing when the other side is nothing, or less.
fn ratio(figure: f64, to: Option<f64>) -> String {
    to.filter(|to| *to > 0.0).map_or(NONE.to_owned(), |to| format!("{:.2}", figure / to))
}

fn busy(entry: &Entry) -> Option<Busy> {
    let all: Vec<Busy> = entry.samples.iter().filter_map(|sample| sample.busy).collect();
    let middle = |of: fn(&Busy) -> f64| median(all.iter().map(of));
    Some(Busy {
        proxy_share: middle(|b| b.proxy_share),
        proxy_cores: middle(|b| b.proxy_cores),
        load_cores: middle(|b| b.load_cores),
        shared: all.first()?.shared,
    })
}

/// What a reader must know before quoting the figures.
fn remarks(entry: &Entry) -> String {
    let mut remarks: Vec<String> = entry.skipped.iter().map(|reason| format!("skipped: {reason}")).collect();
    remarks.extend(entry.trouble.iter().map(|message| format!("FAILED: {message}")));
    let errors: u64 = entry.samples.iter().map(|s: &Sample| s.errors).sum();
    if errors > 0 {
        remarks.push(format!("{errors} ERRORS"));
    }
    if let Some(busy) = busy(entry).filter(|busy| !busy.shared) {
        if busy.load_cores >= FULL && busy.proxy_cores < FULL {
            remarks.push("origin or load generator is the limit".to_owned());
        }
        let others = busy.proxy_cores - busy.proxy_share;
        if others > NOISE {
            remarks.push(format!("{:.0} % of its core went to others", others * 100.0));
        }
    }
    // A program's own words may run over lines, a cell may not.
    remarks.join("; ").split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}

impl Table {
    /// Lines of cells, the head first, all of one length.
    pub(super) fn new(lines: Vec<Vec<String>>) -> Self {
        Self(lines)
    }

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
    use crate::bench::rows;
    use crate::bench::syscalls::Calls;

    const BUSY: Busy = Busy { proxy_share: 0.97, proxy_cores: 0.99, load_cores: 0.7, shared: false };

    fn entry(name: &str, variant: usize, costs: &[f64]) -> Entry {
        let sample = |cost: &f64| Sample {
            values: vec![*cost, 1000.0, 1.0, 0.5, 0.6, 0.7, 8.0],
            busy: Some(BUSY),
            errors: 0,
        };
        let samples = costs.iter().map(sample).collect();
        Entry { peer: Peer::named(name), variant, samples, skipped: None, trouble: None, calls: None }
    }

    fn row(name: &str) -> &'static Row {
        rows::ALL.iter().find(|row| row.name == name).unwrap()
    }

    fn column(table: &Table, head: &str) -> Vec<String> {
        let at = table.0[0].iter().position(|cell| cell == head).unwrap();
        table.0[1..].iter().map(|line| line[at].clone()).collect()
    }

    #[test]
    fn ratios_are_to_the_best_peer_and_not_to_ourselves() {
        let entries = [
            entry("evenkeel", 0, &[8.0, 9.0, 7.0]),
            entry("haproxy", 0, &[20.0]),
            entry("nginx", 0, &[10.0, 12.0]),
        ];
        let table = of(row("http1"), &entries);
        assert_eq!(column(&table, "× best peer"), ["0.73", "1.82", "1.00"]);
        assert_eq!(table.0[1][1..3], ["8.00", "7.00–9.00"]);
        assert_eq!(column(&of(row("http1"), &entries[..1]), "× best peer"), ["–"]);
        assert_eq!(ratio(1.0, Some(-0.1)), "–");
    }

    #[test]
    fn sizes_are_compared_with_the_same_size_and_with_the_smallest() {
        let entries = [
            entry("evenkeel", 0, &[8.0]),
            entry("nginx", 0, &[10.0]),
            entry("evenkeel", 2, &[9.0]),
            entry("nginx", 2, &[30.0]),
        ];
        let table = of(row("targets"), &entries);
        assert_eq!(column(&table, "× best peer"), ["0.80", "1.00", "0.30", "1.00"]);
        assert_eq!(column(&table, "× its smallest"), ["1.00", "1.00", "1.12", "3.00"]);
        assert_eq!(column(&table, "proxy")[2], "evenkeel, 10,000 targets");
    }

    #[test]
    fn calls_have_a_column_when_they_were_counted() {
        let mut counted = entry("nginx", 0, &[1.0]);
        counted.calls = Some(Calls::default());
        let table = of(row("http1"), &[counted, entry("haproxy", 0, &[1.0])]);
        assert_eq!(column(&table, "calls/request"), ["0.00", "–"]);
    }

    #[test]
    fn remarks_name_the_limit_the_noise_and_the_errors() {
        let with = |change: &dyn Fn(&mut Sample)| {
            let mut entry = entry("nginx", 0, &[1.0]);
            entry.samples.iter_mut().for_each(change);
            remarks(&entry)
        };
        assert_eq!(with(&|_| ()), "");
        assert_eq!(with(&|s| s.errors = 3), "3 ERRORS");
        let mut failed = entry("nginx", 0, &[]);
        failed.trouble = Some("it ended:\n  a|b".to_owned());
        assert_eq!(remarks(&failed), "FAILED: it ended: a/b");
        assert_eq!(
            with(&|s| s.busy = Some(Busy { proxy_share: 0.5, ..BUSY })),
            "49 % of its core went to others"
        );
        let limit = Busy { proxy_share: 0.6, proxy_cores: 0.6, load_cores: 1.0, shared: false };
        assert_eq!(with(&|s| s.busy = Some(limit)), "origin or load generator is the limit");
        assert_eq!(with(&|s| s.busy = Some(Busy { shared: true, ..limit })), "");
    }

    #[test]
    fn a_peer_without_figures_says_why() {
        let mut skipped = entry("nginx", 0, &[]);
        skipped.skipped = Some("no stream".to_owned());
        let table = of(row("http1"), &[skipped]);
        assert_eq!(table.0[1].len(), table.0[0].len());
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
