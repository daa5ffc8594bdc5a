//! `cargo xtask bench`: what one request costs, side by side with other proxies. The method is in
//! `bench/README.md`.

mod chart;
mod load;
mod machine;
mod measure;
mod options;
mod peers;
mod process;
mod report;
mod rows;
mod table;
mod template;

use std::path::Path;

use crate::shell::Outcome;
use load::Load;
use measure::{Sample, Usage};
use options::Options;
use peers::{Origin, Peer};
use process::Scratch;
use rows::Row;

/// Where the proxy runs, and where origin and load generator do.
#[derive(Debug, Clone, Copy)]
struct Cores {
    proxy: usize,
    load: usize,
}

/// What came of one peer in one row.
#[derive(Debug)]
struct Entry {
    peer: Peer,
    samples: Vec<Sample>,
    /// Why it cannot do this work at all; no failure.
    skipped: Option<String>,
    /// What went wrong; the rest of its runs were left out.
    trouble: Option<String>,
}

/// Measures the rows asked for.
///
/// # Errors
/// When the options are wrong, the machine has too few cores, a peer fails, or an answer was wrong.
pub(crate) fn run(root: &Path, words: &[String]) -> Outcome {
    let options = Options::parse(words)?;
    if options.help {
        println!("{}", options::USAGE);
        return Ok(());
    }
    if options.list {
        rows::ALL.iter().for_each(|row| println!("{:<12} {}", row.name, row.title));
        return Ok(());
    }
    let cores = machine::cores()?;
    let peers = peers::find(root, &options)?;
    peers.iter().for_each(|peer| println!("{:<10} {}", peer.name, peer.version));
    let mut failed = Vec::new();
    for row in &options.rows {
        println!("\n{}: {}", row.name, row.title);
        machine::warn_if_busy(cores);
        let entries = measure_row(root, row, &peers, &options, cores)?;
        println!("{}", table::of(&entries).text());
        if entries.iter().any(|e| e.trouble.is_some() || e.samples.iter().any(|s| s.errors > 0)) {
            failed.push(row.name);
        }
        if options.write {
            report::write(root, row, &entries, &options)?;
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("not every answer was right in: {}", failed.join(", ")))
    }
}

/// Runs alternate between the peers, and the first of a round is another each time.
fn measure_row(
    root: &Path,
    row: &Row,
    peers: &[Peer],
    options: &Options,
    cores: Cores,
) -> Outcome<Vec<Entry>> {
    let scratch = Scratch::new()?;
    let origin = Origin::start(root, row, &scratch, cores.load)?;
    let mut entries: Vec<Entry> = peers
        .iter()
        .map(|peer| Entry {
            peer: peer.clone(),
            samples: Vec::new(),
            skipped: peer.cannot(row),
            trouble: None,
        })
        .collect();
    for round in 0..options.runs {
        for turn in 0..entries.len() {
            let entry = &mut entries[(round + turn) % peers.len()];
            if entry.skipped.is_some() || entry.trouble.is_some() {
                continue;
            }
            match measure_once(root, row, &entry.peer, &origin, options, cores, &scratch) {
                Ok(sample) => entry.samples.push(sample),
                Err(message) => entry.trouble = Some(message),
            }
        }
    }
    Ok(entries)
}

fn measure_once(
    root: &Path,
    row: &Row,
    peer: &Peer,
    origin: &Origin,
    options: &Options,
    cores: Cores,
    scratch: &Scratch,
) -> Outcome<Sample> {
    let proxy = peer.start(root, row, origin, scratch, cores.proxy)?;
    load::check_answer(proxy.address, row.body)?;
    let load = Load { root, scratch, core: cores.load, address: proxy.address, row };
    if options.warmup > 0 {
        load.run(options.warmup)?;
    }
    let before = Usage::now(&proxy.process, cores)?;
    let loaded = load.run(options.seconds)?;
    let after = Usage::now(&proxy.process, cores)?;
    measure::sample(&before, &after, &loaded)
}
