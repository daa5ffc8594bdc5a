//! Puts a row's figures into `docs/performance.md`, between its markers, and its chart beside it.

use std::fs;
use std::path::Path;

use super::Entry;
use super::chart::{self, Bar};
use super::machine;
use super::options::Options;
use super::peers::Kind;
use super::rows::Row;
use super::table;
use crate::shell::Outcome;

const PAGE: &str = "docs/performance.md";

/// Writes section and chart.
///
/// # Errors
/// When a file cannot be read or written, or the page's markers do not match.
pub(super) fn write(root: &Path, row: &Row, entries: &[Entry], options: &Options) -> Outcome {
    let page = root.join(PAGE);
    let text = if page.exists() {
        fs::read_to_string(&page).map_err(|e| format!("{PAGE}: {e}"))?
    } else {
        "# Performance\n".to_owned()
    };
    let section = section(row, entries, &machine::description(), &machine::date()?, &options.command(row));
    let folder = root.join("docs/performance");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let chart = folder.join(format!("{}.svg", row.name));
    let title = format!("{}: CPU µs per request (shorter is better)", row.title);
    fs::write(&chart, chart::svg(&title, &bars(entries))).map_err(|e| format!("{}: {e}", chart.display()))?;
    fs::write(&page, replace(&text, row.name, &section)?).map_err(|e| format!("{PAGE}: {e}"))?;
    println!("written to {PAGE}");
    Ok(())
}

fn bars(entries: &[Entry]) -> Vec<Bar> {
    let measured = entries.iter().filter(|entry| !entry.samples.is_empty());
    let bar = |entry: &Entry| Bar {
        label: entry.peer.name.clone(),
        value: table::cost(entry),
        ours: entry.peer.kind == Kind::Evenkeel,
    };
    measured.map(bar).collect()
}

fn section(row: &Row, entries: &[Entry], machine: &str, date: &str, command: &str) -> String {
    let versions: Vec<String> =
        entries.iter().map(|e| format!("{} = {}", e.peer.name, e.peer.version)).collect();
    format!(
        "### {title}\n\n{about} Aim: at most {aim:.2} × the best peer.\n\n{table}\n\n\
         ![CPU per request](performance/{name}.svg)\n\n\
         {machine}; {date}; {versions}. Core busy: the proxy's / that of origin and load generator.\n\
         Repeat: `{command}`",
        title = row.title,
        about = row.about,
        aim = row.aim,
        table = table::of(entries).markdown(),
        name = row.name,
        versions = versions.join(", "),
    )
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
    fn a_torn_marker_changes_nothing() {
        assert!(replace("<!-- bench:http1 -->\nwords", "http1", "x").unwrap_err().contains("has no"));
    }

    #[test]
    fn a_section_says_what_how_where_and_when() {
        let sample = Sample { cost_us: 10.0, ..Sample::default() };
        let entry = Entry { peer: Peer::named("nginx"), samples: vec![sample], skipped: None, trouble: None };
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
    }
}
