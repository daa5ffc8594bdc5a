//! Puts a row's figures into `docs/performance.md`, between its markers, and its chart beside it.

use std::fs;
use std::path::Path;

use super::Entry;
use super::chart::{self, Bar};
use super::machine;
use super::options::Options;
use super::peers::Kind;
use super::rows::Row;
use super::{table, verdict};
use crate::shell::Outcome;

const PAGE: &str = "docs/performance.md";

/// Writes section and chart.
///
/// # Errors
/// When a file cannot be read or written, or the page's markers do not match.
pub(super) fn write(root: &Path, row: &Row, entries: &[Entry], options: &Options) -> Outcome {
    let section = section(row, entries, &machine::description(), &machine::date()?, &options.command(row));
    let folder = root.join("docs/performance");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let chart = folder.join(format!("{}.svg", row.name));
    let head = row.columns.first().map_or("", |column| column.head);
    let title = format!("{}: {head} (shorter is better)", row.title);
    fs::write(&chart, chart::svg(&title, &bars(row, entries)))
        .map_err(|e| format!("{}: {e}", chart.display()))?;
    put(root, row.name, &section)
}

/// Puts a section into the page, in the place of the one it has of that name.
///
/// # Errors
/// When the page cannot be read or written, or its markers do not match.
pub(super) fn put(root: &Path, name: &str, section: &str) -> Outcome {
    let page = root.join(PAGE);
    let text = if page.exists() {
        fs::read_to_string(&page).map_err(|e| format!("{PAGE}: {e}"))?
    } else {
        "# Performance\n".to_owned()
    };
    fs::write(&page, replace(&text, name, section)?).map_err(|e| format!("{PAGE}: {e}"))?;
    println!("written to {PAGE}");
    Ok(())
}

fn bars(row: &Row, entries: &[Entry]) -> Vec<Bar> {
    let measured = entries.iter().filter(|entry| !entry.samples.is_empty());
    let bar = |entry: &Entry| Bar {
        label: table::label(row, entry),
        value: table::figure(entry, 0).max(0.0),
        ours: entry.peer.kind == Kind::Evenkeel,
    };
    measured.map(bar).collect()
}

fn section(row: &Row, entries: &[Entry], machine: &str, date: &str, command: &str) -> String {
    let mut versions: Vec<String> =
        entries.iter().map(|e| format!("{} = {}", e.peer.name, e.peer.version)).collect();
    versions.sort();
    versions.dedup();
    let mut lines = vec![format!("### {}", row.title), String::new(), row.about.to_owned(), String::new()];
    lines.extend(verdict::of(row, entries).iter().map(|verdict| format!("* {verdict}")));
    lines.extend([String::new(), table::of(row, entries).markdown(), String::new()]);
    lines.extend(call_lists(row, entries).iter().map(|list| format!("* {list}")));
    lines.extend([
        String::new(),
        format!("![{}](performance/{}.svg)", row.title, row.name),
        String::new(),
        format!(
            "{machine}; {date}; {}. Cores busy: the proxy's / those of origin and load generator.",
            versions.join(", ")
        ),
        format!("Repeat: `{command}`"),
    ]);
    let mut text = lines.join("\n");
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text
}

/// Which system calls a request costs, for each peer that was traced.
pub(super) fn call_lists(row: &Row, entries: &[Entry]) -> Vec<String> {
    let list = |entry: &Entry| {
        let calls = entry.calls.as_ref()?;
        Some(format!(
            "{}: {:.2} system calls per request: {}",
            table::label(row, entry),
            calls.total(),
            calls.list()
        ))
    };
    entries.iter().filter_map(list).collect()
}

/// The page with the row's section replaced, or appended when there is none yet.
fn replace(page: &str, row: &str, section: &str) -> Outcome<String> {
    let (begin, end) = (format!("<!-- bench:{row} -->"), format!("<!-- /bench:{row} -->"));
    let marked = format!("{begin}\n{section}\n{end}");
    let Some((before, rest)) = page.split_once(&begin) else {
        return Ok(format!("{}\n\n{marked}\n", page.trim_end()));
    };
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("{PAGE}: {begin} has no {end}"))?;
    Ok(format!("{before}{marked}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Sample;
    use crate::bench::peers::Peer;
    use crate::bench::rows;

    #[test]
    fn a_new_row_is_appended_and_an_old_one_replaced() {
        let page = replace("# Performance\n", "http1", "first").unwrap();
        assert_eq!(page, "# Performance\n\n<!-- bench:http1 -->\nfirst\n<!-- /bench:http1 -->\n");
        let page = replace(&(page + "\nWords behind.\n"), "http1", "second").unwrap();
        assert_eq!(page, {
            "# Performance\n\n<!-- bench:http1 -->\nsecond\n<!-- /bench:http1 -->\n\nWords behind.\n"
        });
        let page = replace(&page, "http1-log", "other").unwrap();
        assert!(page.contains("second") && page.ends_with("other\n<!-- /bench:http1-log -->\n"));
    }

    #[test]
    fn the_page_has_a_place_for_every_row_in_their_order() {
        let page = fs::read_to_string(crate::shell::workspace_root().join(PAGE)).unwrap();
        let names: Vec<&str> = rows::ALL.iter().map(|row| row.name).chain(["stress"]).collect();
        let places = page.lines().filter_map(|line| line.strip_prefix("<!-- bench:")?.strip_suffix(" -->"));
        assert_eq!(places.collect::<Vec<_>>(), names);
        for name in names {
            assert!(replace(&page, name, "x").is_ok(), "{name}");
            assert!(page.contains(&format!("| `{name}` |")), "the list of rows lacks {name}");
        }
    }

    #[test]
    fn a_torn_marker_changes_nothing() {
        assert!(replace("<!-- bench:http1 -->\nwords", "http1", "x").unwrap_err().contains("has no"));
    }

    #[test]
    fn a_section_says_what_how_where_and_when() {
        let sample = Sample { values: vec![10.0], ..Sample::default() };
        let peer = Peer::named("nginx");
        let entry =
            Entry { peer, variant: 0, samples: vec![sample], skipped: None, trouble: None, calls: None };
        let row = &rows::ALL[0];
        let text = section(row, &[entry], "A machine", "2026-01-02", "cargo xtask bench http1");
        for part in [
            row.about,
            "A machine; 2026-01-02",
            "nginx = v1",
            "`cargo xtask bench http1`",
            "http1.svg",
            "| 10.00 |",
            "0.85 ×",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("\n\n\n"));
    }
}
