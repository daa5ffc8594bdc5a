//! What a reader gets: a line for each stretch of load, and the verdicts.

use std::path::Path;

use super::Options;
use super::faults::Done;
use super::house::Stage;
use super::judge::{State, Verdict};
use crate::bench::machine;
use crate::bench::report::put;
use crate::bench::table::Table;
use crate::shell::Outcome;

const HEAD: [&str; 15] = [
    "stretch",
    "offered/s",
    "good/s",
    "refused/s",
    "errors",
    "given up",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "longest ms",
    "refusal p99 ms",
    "admin longest ms",
    "peak MiB",
    "cores busy",
    "remarks",
];

/// Share of Evenkeel's core that others may use before it is worth a remark.
const NOISE: f64 = 0.1;

/// Prints everything, and puts it into the page when that is asked for.
///
/// # Errors
/// When a promise was broken.
pub(super) fn print(
    root: &Path,
    stages: &[Stage],
    faults: &Done,
    verdicts: &[Verdict],
    options: &Options,
) -> Outcome {
    let table = table(stages);
    println!("\n{}\n", table.text());
    verdicts.iter().for_each(|verdict| println!("{}", line(verdict)));
    let noisy = stages.iter().filter(|stage| !noise(stage).is_empty()).count();
    if noisy > 0 {
        println!(
            "\nwarning: others used Evenkeel's core in {noisy} of {} stretches; a broken promise may be theirs",
            stages.len()
        );
    }
    if options.write {
        put(
            root,
            "stress",
            &section(&table, faults, verdicts, &machine::description(), &machine::date()?, options.minutes),
        )?;
    }
    match verdicts.iter().filter(|verdict| verdict.state == State::Broken).count() {
        0 => Ok(()),
        1 => Err("1 promise was broken".to_owned()),
        count => Err(format!("{count} promises were broken")),
    }
}

fn table(stages: &[Stage]) -> Table {
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    lines.extend(stages.iter().map(cells));
    Table::new(lines)
}

fn cells(stage: &Stage) -> Vec<String> {
    let told = &stage.told;
    let per_second = |count: u64| format!("{:.0}", count as f64 / stage.wanted.length.as_secs_f64());
    let ms = |ms: f64| format!("{ms:.2}");
    let latency = |share| ms(told.latency.percentile_ms(share));
    let busy = stage.used.busy;
    let remarks = [told.error_list(), told.refusal_list(), stage.admin.last_failure.clone(), noise(stage)];
    let remarks: Vec<&str> = remarks.iter().map(String::as_str).filter(|remark| !remark.is_empty()).collect();
    vec![
        stage.wanted.phase.name(),
        stage.wanted.offered.to_string(),
        per_second(told.good),
        per_second(told.refused()),
        told.failed().to_string(),
        told.abandoned.to_string(),
        latency(0.5),
        latency(0.99),
        latency(0.999),
        ms(told.latency.max_ms()),
        ms(told.refusal.percentile_ms(0.99)),
        ms(stage.admin.answers.max_ms()),
        format!("{:.1}", stage.used.peak_mib),
        format!("{:.0} % / {:.0} %", 100.0 * busy.proxy_cores, 100.0 * busy.load_cores),
        remarks.join("; ").replace('|', "/"),
    ]
}

/// Others on Evenkeel's core make every figure worse than it is.
fn noise(stage: &Stage) -> String {
    let others = stage.used.busy.proxy_cores - stage.used.busy.proxy_share;
    if others > NOISE { format!("{:.0} % of its core went to others", others * 100.0) } else { String::new() }
}

fn line(verdict: &Verdict) -> String {
    let state = match verdict.state {
        State::Kept => "kept",
        State::Broken => "BROKEN",
        State::NotShown => "not shown",
    };
    format!("{state}: {}: {} (N = {})", verdict.promise, verdict.found, verdict.count)
}

fn section(
    table: &Table,
    faults: &Done,
    verdicts: &[Verdict],
    machine: &str,
    date: &str,
    minutes: f64,
) -> String {
    let verdicts: Vec<String> = verdicts.iter().map(|verdict| format!("* {}", line(verdict))).collect();
    format!(
        "### Stress\n\nLoad on a schedule to saturation and beyond, {} faults at half load, overload against limits \
         ([how to read it](stress-test.md)).\n\n{}\n\n{}\n\n{machine}; {date}. Cores busy: Evenkeel's / those of origin \
         and load generator.\nRepeat: `cargo xtask bench stress --minutes {minutes}`",
        faults.kills + faults.reloads + faults.weights + faults.members,
        verdicts.join("\n"),
        table.markdown()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::{Busy, Used};
    use crate::bench::open_loop::Told;
    use crate::bench::stress::house::{Phase, Wanted};
    use crate::bench::stress::watch::Watched;
    use std::time::Duration;

    fn run() -> (Vec<Stage>, Vec<Verdict>) {
        let wanted = Wanted { phase: Phase::Steady, offered: 10, clients: 1, length: Duration::from_secs(2) };
        let busy = Busy { proxy_share: 0.5, proxy_cores: 0.7, ..Busy::default() };
        let used = Used { cpu_us: 1.0, peak_mib: 20.0, busy };
        let mut told = Told { good: 19, ..Told::default() };
        told.errors.insert("timeout".to_owned(), 1);
        let stage = Stage { wanted, told, used, admin: Watched::default() };
        let verdict =
            Verdict { promise: "p".to_owned(), found: "f".to_owned(), count: 20, state: State::Broken };
        (vec![stage], vec![verdict])
    }

    #[test]
    fn every_stretch_has_its_line_and_every_verdict_its_count() {
        let (stages, verdicts) = run();
        let text = table(&stages).text();
        assert!(
            text.contains("half load, faults") && text.contains("1 × timeout; 20 % of its core"),
            "{text}"
        );
        assert_eq!(line(&verdicts[0]), "BROKEN: p: f (N = 20)");
        let page = section(&table(&stages), &Done::default(), &verdicts, "M", "D", 5.0);
        assert!(
            page.contains("* BROKEN: p") && page.contains("M; D.") && page.contains("--minutes 5`"),
            "{page}"
        );
    }

    #[test]
    fn a_broken_promise_is_a_failure() {
        let (stages, mut verdicts) = run();
        let options = Options { minutes: 5.0, extra: Vec::new(), write: false, help: false };
        let print =
            |verdicts: &[Verdict]| print(Path::new("/"), &stages, &Done::default(), verdicts, &options);
        assert_eq!(print(&verdicts), Err("1 promise was broken".to_owned()));
        verdicts[0].state = State::NotShown;
        assert_eq!(print(&verdicts), Ok(()));
    }
}
