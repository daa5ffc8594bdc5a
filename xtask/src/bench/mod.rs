//! `cargo xtask bench`: what one request costs, side by side with other proxies. The method is in
//! `bench/README.md`.

mod chart;
mod closed_loop;
mod histogram;
mod hold;
mod iperf;
mod load;
mod machine;
mod measure;
mod open_loop;
mod options;
mod origin;
mod peers;
mod process;
mod report;
mod rows;
mod stand;
mod stress;
mod syscalls;
mod table;
mod talk;
mod template;
mod verdict;

use std::path::Path;

use crate::shell::Outcome;
use machine::Placement;
use measure::Sample;
use options::Options;
use origin::Origin;
use peers::Peer;
use process::Scratch;
use rows::Row;
use stand::Stand;
use syscalls::Calls;

/// Where the proxy runs, and where origin and load generator do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores {
    proxy: Vec<usize>,
    load: Vec<usize>,
}

/// What came of one peer in one variant of a row.
#[derive(Debug)]
struct Entry {
    peer: Peer,
    variant: usize,
    samples: Vec<Sample>,
    /// Why it cannot do this work at all; no failure.
    skipped: Option<String>,
    /// What went wrong; the rest of its runs were left out.
    trouble: Option<String>,
    /// System calls of a request, when they were asked for.
    calls: Option<Calls>,
}

/// Measures the rows asked for.
///
/// # Errors
/// When the options are wrong, the machine has too few cores, a peer fails, or an answer was wrong; after
/// `stress`, when a promise was broken.
pub(crate) fn run(root: &Path, words: &[String]) -> Outcome {
    match words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("stress", rest)) => stress::run(root, rest),
        // Parts of the harness that run in processes of their own; not for users.
        Some(("generate", rest)) => open_loop::generate(rest),
        Some(("hold", rest)) => hold::hold(rest),
        Some(("origin", rest)) => origin::serve(rest),
        _ => measure(root, words),
    }
}

fn measure(root: &Path, words: &[String]) -> Outcome {
    let options = Options::parse(words)?;
    if options.help {
        println!("{}", options::USAGE);
        return Ok(());
    }
    if options.list {
        rows::ALL.iter().for_each(|row| println!("{:<12} {}", row.name, row.title));
        return Ok(());
    }
    let peers = peers::find(root, &options.only, &options.extra)?;
    peers.iter().for_each(|peer| println!("{:<10} {}", peer.name, peer.version));
    let mut failed = Vec::new();
    for row in &options.rows {
        println!("\n{}: {}", row.name, row.title);
        let entries = measure_row(root, row, &peers, &options)?;
        println!("{}", table::of(row, &entries).text());
        report::call_lists(row, &entries).iter().for_each(|list| println!("{list}"));
        verdict::of(row, &entries).iter().for_each(|verdict| println!("{verdict}"));
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
fn measure_row(root: &Path, row: &Row, peers: &[Peer], options: &Options) -> Outcome<Vec<Entry>> {
    // The origin and the cores are the same for all variants of a row.
    let work = &row.variants.first().ok_or("a row without variants")?.work;
    let cores = machine::cores(if work.shared_cores { Placement::Shared } else { Placement::Apart })?;
    machine::warn_if_busy(&cores);
    let scratch = Scratch::new()?;
    let origin = Origin::start(root, work, &scratch, &cores.load)?;
    let mut entries = entries(row, peers);
    let count = entries.len();
    let stand = Stand {
        root,
        scratch: &scratch,
        cores: &cores,
        peer: peers.first().ok_or("no peer")?,
        work,
        origin: &origin,
        seconds: options.seconds,
        warmup: options.warmup,
    };
    for round in 0..options.runs {
        for turn in 0..count {
            let entry = &mut entries[(round + turn) % count];
            if entry.skipped.is_none() && entry.trouble.is_none() {
                run_once(row, entry, &stand);
            }
        }
    }
    if let Some(count_calls) = row.calls.filter(|_| options.syscalls) {
        for entry in entries.iter_mut().filter(|e| e.skipped.is_none() && e.trouble.is_none()) {
            match count_calls(&Stand { peer: &entry.peer, work: &row.variants[entry.variant].work, ..stand })
            {
                Ok(calls) => entry.calls = Some(calls),
                Err(message) => entry.trouble = Some(message),
            }
        }
    }
    Ok(entries)
}

/// A line for each peer in each variant.
fn entries(row: &Row, peers: &[Peer]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (variant, work) in row.variants.iter().map(|variant| &variant.work).enumerate() {
        for peer in peers.iter().filter(|peer| peer.applies(work)) {
            entries.push(Entry {
                peer: peer.clone(),
                variant,
                samples: Vec::new(),
                skipped: peer.cannot(work),
                trouble: None,
                calls: None,
            });
        }
    }
    entries
}

fn run_once(row: &Row, entry: &mut Entry, stand: &Stand<'_>) {
    let work = &row.variants[entry.variant].work;
    match (row.measure)(&Stand { peer: &entry.peer, work, ..*stand }) {
        Ok(sample) if sample.values.len() == row.columns.len() => entry.samples.push(sample),
        Ok(sample) => {
            entry.trouble =
                Some(format!("{} figures for {} columns", sample.values.len(), row.columns.len()));
        }
        Err(message) => entry.trouble = Some(message),
    }
}
