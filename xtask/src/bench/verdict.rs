//! Whether a row came out as it has to.

use super::Entry;
use super::peers::Kind;
use super::rows::{Aim, Row, Variant};
use super::table::{best_peer, figure};

/// One aim and what came of it, as a sentence.
pub(super) fn of(row: &Row, entries: &[Entry]) -> Vec<String> {
    row.aims.iter().map(|aim| judge(row, *aim, entries)).collect()
}

fn sentence(row: &Row, aim: Aim) -> String {
    let head = |column: usize| row.columns.get(column).map_or("", |column| column.head);
    match aim {
        Aim::OfBestPeer(column, bound) => format!("{} at most {bound:.2} × the best peer's", head(column)),
        Aim::Growth(bound) => {
            let label = |variant: Option<&Variant>| variant.map_or("", |variant| variant.label);
            let (first, last) = (label(row.variants.first()), label(row.variants.last()));
            format!("{} with {last} at most {bound:.2} × that with {first}", head(0))
        }
        Aim::Below(column, bound) => format!("{} below {bound}", head(column)),
    }
}

fn judge(row: &Row, aim: Aim, entries: &[Entry]) -> String {
    let ours: Vec<&Entry> =
        entries.iter().filter(|e| e.peer.kind == Kind::Evenkeel && !e.samples.is_empty()).collect();
    let (found, bound) = match aim {
        Aim::OfBestPeer(column, bound) => {
            let ratio = |entry: &&Entry| {
                let best = best_peer(entries, entry.variant, column).filter(|best| *best > 0.0)?;
                Some(figure(entry, column) / best)
            };
            (worst(ours.iter().filter_map(ratio)), bound)
        }
        Aim::Growth(bound) => {
            let at = |variant: usize| ours.iter().find(|entry| entry.variant == variant);
            let ends = at(0).zip(at(row.variants.len().saturating_sub(1)));
            (ends.map(|(first, last)| figure(last, 0) / figure(first, 0)), bound)
        }
        Aim::Below(column, bound) => (worst(ours.iter().map(|entry| figure(entry, column))), bound),
    };
    let aim = sentence(row, aim);
    match found {
        None => format!("not judged: {aim}"),
        Some(found) if found <= bound => format!("met: {aim}: {found:.2}"),
        // A hair's breadth is not to look like a mistake.
        Some(found) if format!("{found:.2}") == format!("{bound:.2}") => format!("MISSED: {aim}: {found:.4}"),
        Some(found) => format!("MISSED: {aim}: {found:.2}"),
    }
}

fn worst(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    numbers.max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Sample;
    use crate::bench::peers::Peer;
    use crate::bench::rows;

    fn entry(name: &str, variant: usize, values: &[f64]) -> Entry {
        let sample = Sample { values: values.to_vec(), ..Sample::default() };
        Entry {
            peer: Peer::named(name),
            variant,
            samples: vec![sample],
            skipped: None,
            trouble: None,
            calls: None,
        }
    }

    fn row(name: &str) -> &'static Row {
        rows::ALL.iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn the_best_peer_sets_the_measure() {
        let entries =
            |ours| [entry("evenkeel", 0, &[ours]), entry("nginx", 0, &[10.0]), entry("haproxy", 0, &[12.0])];
        let sentence = "CPU µs/request at most 0.85 × the best peer's";
        assert_eq!(of(row("http1"), &entries(8.0)), [format!("met: {sentence}: 0.80")]);
        assert_eq!(of(row("http1"), &entries(9.0)), [format!("MISSED: {sentence}: 0.90")]);
        assert_eq!(of(row("http1"), &entries(8.0)[..1]), [format!("not judged: {sentence}")]);
    }

    #[test]
    fn growth_is_from_the_first_size_to_the_last() {
        let entries =
            [entry("evenkeel", 0, &[10.0]), entry("evenkeel", 1, &[30.0]), entry("evenkeel", 2, &[11.0])];
        let found = of(row("targets"), &entries);
        assert_eq!(
            found,
            ["met: CPU µs/request with 10,000 targets at most 1.20 × that with 10 targets: 1.10"]
        );
    }

    #[test]
    fn a_bound_holds_in_every_variant() {
        let found = of(row("start"), &[entry("evenkeel", 0, &[20.0]), entry("evenkeel", 1, &[120.0])]);
        assert_eq!(found, ["MISSED: ms to first answer below 100: 120.00"]);
    }
}
