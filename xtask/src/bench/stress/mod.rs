//! `cargo xtask bench stress`: load on a schedule up to saturation and beyond, faults during the run, overload against
//! limits; and whether what is promised of all that was kept. `docs/stress-test.md` says how to read it.

mod admin;
mod faults;
mod house;
mod judge;
mod plan;
mod report;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::machine::{self, Placement};
use super::open_loop::Plan;
use super::options::named_path;
use super::peers;
use super::process::Scratch;
use crate::shell::Outcome;
use house::{House, Limits, Phase, Stage, Wanted};
use plan::Times;

const USAGE: &str = "\
cargo xtask bench stress [OPTIONS]

  --minutes N              how long, 0.5 to 120 (5); under 2 the figures show that it works, and little else
  --peer evenkeel=PATH     this program instead of one built now
  --write                  put the table into docs/performance.md

Needs two cores, and taskset, setpriv and prlimit (util-linux) and nginx. More cores make more load possible.
Exit: 0 every promise was kept, 1 one was broken or something failed.";

/// Requests a second that the climb begins with.
const FIRST_STEP: u64 = 1000;
/// The same with slow targets behind limits.
const FIRST_LIMITED_STEP: u64 = 400;
/// More steps than any machine needs.
const MAX_STEPS: u32 = 14;
/// Less than this share of what was offered is answered: saturation.
const KEPT_UP: f64 = 0.9;
/// Clients of the climb and of the steady load.
const CLIENTS: u32 = 128;
/// Bytes in the body of every answer.
const BODY: usize = 128;
/// Multiples of saturation offered against limits.
const OVERLOADS: [u64; 3] = [2, 5, 10];

/// What the limits are under overload, and what stands behind them: 64 requests at once, each 40 ms, are 1,600 a
/// second whatever the machine, so that ten times as much can be offered from one core.
const LIMITS: Limits =
    Limits { connections: 600, at_once: 64, pending: 64, delay: Duration::from_millis(40) };
/// Clients that offer it: all are admitted.
const OVERLOAD_CLIENTS: u32 = 512;
/// Clients of the flood: half of them are admitted.
const FLOOD_CLIENTS: u32 = 1200;

#[derive(Debug)]
struct Options {
    minutes: f64,
    extra: Vec<(String, PathBuf)>,
    write: bool,
    help: bool,
}

/// Runs it.
///
/// # Errors
/// When the options are wrong, something cannot be started, or a promise was broken.
pub(super) fn run(root: &Path, words: &[String]) -> Outcome {
    let options = Options::parse(words)?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    let found = peers::find(root, &["evenkeel".to_owned()], &options.extra)?;
    let peer = found.first().ok_or("no evenkeel")?;
    let cores = machine::cores(Placement::Wide)?;
    println!("{}: {}", peer.version, machine::description());
    machine::warn_if_busy(&cores);
    let times = Times::of(options.minutes);
    let mut stages = Vec::new();

    let scratch = Scratch::new()?;
    let mut house = House::open(root, &scratch, &cores, peer, None)?;
    let peak = climb(&mut house, &times, FIRST_STEP, CLIENTS, &mut stages)?;
    let steady =
        Wanted { phase: Phase::Steady, offered: (peak / 2.0) as u64, clients: CLIENTS, length: times.steady };
    let injected = plan::faults(times.steady, house.targets());
    stages.push(shown(house.stage(&steady, &injected)?));
    let faults = house.end_faults()?;
    drop(house);

    let mut house = House::open(root, &scratch, &cores, peer, Some(LIMITS))?;
    let peak = climb(&mut house, &times, FIRST_LIMITED_STEP, OVERLOAD_CLIENTS, &mut stages)?;
    for factor in OVERLOADS {
        let offered = (peak * factor as f64) as u64;
        let phase = Phase::Overload(factor);
        let wanted = Wanted { phase, offered, clients: OVERLOAD_CLIENTS, length: times.overload };
        stages.push(shown(house.stage(&wanted, &[])?));
    }
    let flood =
        Wanted { phase: Phase::Flood, offered: peak as u64, clients: FLOOD_CLIENTS, length: times.overload };
    stages.push(shown(house.stage(&flood, &[])?));
    drop(house);

    let verdicts = judge::all(&stages, &faults, f64::from(LIMITS.connections) / f64::from(FLOOD_CLIENTS));
    report::print(root, &stages, &faults, &verdicts, &options)
}

/// Doubles what is offered until less than that is answered, twice in a row: once may be chance. Without limits it
/// doubles once more then; behind limits the overload is what lies beyond. Gives the best rate of good answers.
fn climb(
    house: &mut House<'_>,
    times: &Times,
    first: u64,
    clients: u32,
    stages: &mut Vec<Stage>,
) -> Outcome<f64> {
    let phase = if house.is_limited() { Phase::LimitedClimb } else { Phase::Climb };
    let mut run = |phase, offered| {
        let stage = shown(house.stage(&Wanted { phase, offered, clients, length: times.step }, &[])?);
        let good = stage.good_per_second();
        stages.push(stage);
        Ok::<f64, String>(good)
    };
    let (mut offered, mut peak) = (first, 0.0_f64);
    for _ in 0..MAX_STEPS {
        let enough = offered as f64 * KEPT_UP;
        let mut good = run(phase, offered)?;
        if good < enough {
            good = good.max(run(phase, offered)?);
        }
        peak = peak.max(good);
        if good < enough {
            break;
        }
        offered *= 2;
    }
    if phase == Phase::Climb {
        run(Phase::Beyond, offered * 2)?;
    }
    if peak < 1.0 { Err("nothing was answered".to_owned()) } else { Ok(peak) }
}

/// One line while it runs: five minutes are long.
fn shown(stage: Stage) -> Stage {
    println!("{}", stage.line());
    stage
}

impl Wanted {
    fn plan(&self, address: std::net::SocketAddr) -> Plan {
        Plan {
            address,
            per_second: self.offered,
            length: self.length,
            connections: self.clients,
            body: BODY as u64,
            patience: self.phase.patience(),
            routes: 0,
        }
    }
}

impl Options {
    fn parse(words: &[String]) -> Outcome<Self> {
        let mut options = Self { minutes: 5.0, extra: Vec::new(), write: false, help: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--help" | "-h" => options.help = true,
                "--write" => options.write = true,
                "--peer" => options.extra.push(named_path(value()?)?),
                "--minutes" => {
                    let minutes = value()?.parse().ok().filter(|minutes| (0.5..=120.0).contains(minutes));
                    options.minutes = minutes.ok_or("--minutes: write a number from 0.5 to 120")?;
                }
                other => return Err(format!("stress has no option {other}")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_mistakes_named() {
        assert_eq!(parse("").unwrap().minutes, 5.0);
        assert_eq!(parse("--minutes 0.5 --write").unwrap().minutes, 0.5);
        assert!(parse("--minutes 0").unwrap_err().contains("0.5 to 120"));
        assert!(parse("--minutes NaN").is_err());
        assert!(parse("http1").unwrap_err().contains("no option http1"));
    }

    #[test]
    fn the_flood_is_twice_what_is_admitted_and_overload_is_not() {
        assert_eq!(FLOOD_CLIENTS, 2 * LIMITS.connections);
        // Checks of ours need room beside them.
        const { assert!(OVERLOAD_CLIENTS + 16 < LIMITS.connections) };
        const { assert!(OVERLOAD_CLIENTS > 2 * (LIMITS.at_once + LIMITS.pending)) };
    }
}
