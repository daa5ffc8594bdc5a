//! Evenkeel with its targets, and one stretch of load upon it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::BODY;
use super::faults::{self, Done};
use super::plan::Fault;
use super::watch::{Watch, Watched};
use crate::bench::Cores;
use crate::bench::load;
use crate::bench::measure::{Usage, Used};
use crate::bench::open_loop::Told;
use crate::bench::origin::Origin;
use crate::bench::peers::Peer;
use crate::bench::process::{self, Process, Scratch};
use crate::bench::rows::Work;
use crate::bench::template::{self, Values};
use crate::shell::Outcome;

/// Targets of the pool; one more waits to be added.
const TARGETS: usize = 3;
const TEMPLATE: &str = "bench/peers/evenkeel-stress.toml";
/// From the start of the generator to its first request.
const HEAD_START: Duration = Duration::from_millis(300);
/// A last reload is in force by then.
const RELOAD_LIMIT: Duration = Duration::from_secs(5);

/// What bounds the load, and how long each answer takes behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Client connections at once.
    pub(super) connections: u32,
    /// Requests at the targets at once.
    pub(super) at_once: u32,
    /// Requests that wait for one of those.
    pub(super) pending: u32,
    pub(super) delay: Duration,
}

/// What a stretch of load is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Up to saturation.
    Climb,
    /// More than can be answered, without limits.
    Beyond,
    /// Half of saturation, with faults.
    Steady,
    /// Up to saturation of slow targets behind limits.
    LimitedClimb,
    /// So many times that.
    Overload(u64),
    /// More connections than are admitted.
    Flood,
}

/// One stretch of load, before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) phase: Phase,
    /// Requests a second.
    pub(super) offered: u64,
    pub(super) clients: u32,
    pub(super) length: Duration,
}

/// One stretch of load, after.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) wanted: Wanted,
    pub(super) told: Told,
    pub(super) used: Used,
    pub(super) admin: Watched,
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct House<'a> {
    pub(super) root: &'a Path,
    pub(super) scratch: &'a Scratch,
    cores: &'a Cores,
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    pub(super) admin: PathBuf,
    limits: Option<Limits>,
    /// Those of the configuration, and the one that is added; `None` while killed.
    pub(super) origins: Vec<(SocketAddr, Option<Origin>)>,
    pub(super) generation: u64,
    pub(super) done: Done,
}

impl Phase {
    pub(super) fn name(self) -> String {
        match self {
            Self::Climb => "climb".to_owned(),
            Self::Beyond => "beyond saturation".to_owned(),
            Self::Steady => "half load, faults".to_owned(),
            Self::LimitedClimb => "climb, limits".to_owned(),
            Self::Overload(factor) => format!("overload {factor} ×"),
            Self::Flood => "too many clients".to_owned(),
        }
    }

    /// How long a user waits for a request to be sent at all.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Steady => Duration::from_secs(5),
            _ => Duration::from_secs(1),
        }
    }
}

impl Stage {
    pub(super) fn good_per_second(&self) -> f64 {
        self.told.good as f64 / self.wanted.length.as_secs_f64()
    }

    /// One line while the test runs.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<18} {:>8}/s offered, {:>8.0}/s good, p99 {:.2} ms, {} refused, {} errors {}",
            self.wanted.phase.name(),
            self.wanted.offered,
            self.good_per_second(),
            self.told.latency.percentile_ms(0.99),
            self.told.refused(),
            self.told.failed(),
            self.told.error_list()
        )
    }
}

impl<'a> House<'a> {
    /// Starts the targets, then Evenkeel.
    pub(super) fn open(
        root: &'a Path,
        scratch: &'a Scratch,
        cores: &'a Cores,
        peer: &Peer,
        limits: Option<Limits>,
    ) -> Outcome<Self> {
        let mut origins = Vec::new();
        for _ in 0..=TARGETS {
            let address = process::free_address()?;
            origins.push((address, Some(start_origin(root, scratch, cores, limits, address)?)));
        }
        let addresses: Vec<SocketAddr> = origins.iter().map(|(address, _)| *address).collect();
        let address = process::free_address()?;
        let config = configure(root, scratch, limits, address, &addresses, 0)?;
        let mut process = peer.launch_with(&config, scratch, &cores.proxy)?;
        process.accepts(address)?;
        load::check_answer(address, BODY)?;
        let admin = scratch.path("admin.sock");
        let done = Done::default();
        Ok(Self { root, scratch, cores, process, address, admin, limits, origins, generation: 0, done })
    }

    /// Targets of the configuration.
    pub(super) fn targets(&self) -> usize {
        TARGETS
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// One stretch of load, with faults at their times.
    pub(super) fn stage(&mut self, wanted: &Wanted, faults: &[(Duration, Fault)]) -> Outcome<Stage> {
        let plan = wanted.plan(self.address);
        let before = Usage::now(&self.process, self.cores)?;
        let watch = Watch::start(self.admin.clone());
        let generator = plan.start(self.scratch, &self.cores.load)?;
        let start = Instant::now() + HEAD_START;
        for (at, fault) in faults {
            sleep((start + *at).saturating_duration_since(Instant::now()));
            // The processes that this starts live as long as the thread that starts them: this one.
            faults::inject(self, *fault)?;
        }
        let told = plan.finish(generator)?;
        let used = Usage::now(&self.process, self.cores)?.since(&before, self.cores)?;
        Ok(Stage { wanted: *wanted, told, used, admin: watch.finish()? })
    }

    /// Writes the configuration of the next generation.
    pub(super) fn reconfigure(&mut self) -> Outcome {
        self.generation += 1;
        let addresses: Vec<SocketAddr> = self.origins.iter().map(|(address, _)| *address).collect();
        configure(self.root, self.scratch, self.limits, self.address, &addresses, self.generation).map(|_| ())
    }

    pub(super) fn restart(&mut self, number: usize) -> Outcome {
        let address = self.origins[number].0;
        let origin = start_origin(self.root, self.scratch, self.cores, self.limits, address)?;
        self.origins[number].1 = Some(origin);
        Ok(())
    }

    /// What was done to it; and whether the last reload came to be in force.
    pub(super) fn end_faults(&mut self) -> Outcome<Done> {
        let wanted = self.generation.to_string();
        let deadline = Instant::now() + RELOAD_LIMIT;
        let in_force =
            || load::ask(self.address, "/generation").is_some_and(|body| body == wanted.as_bytes());
        while !in_force() {
            if Instant::now() > deadline {
                self.done.trouble.push(format!("reload {wanted} is not in force"));
                break;
            }
            sleep(Duration::from_millis(10));
        }
        Ok(std::mem::take(&mut self.done))
    }
}

/// Quick ones without limits; slow ones behind them.
fn start_origin(
    root: &Path,
    scratch: &Scratch,
    cores: &Cores,
    limits: Option<Limits>,
    address: SocketAddr,
) -> Outcome<Origin> {
    match limits {
        None => Origin::nginx_at(root, &Work { body: BODY, ..Work::PLAIN }, scratch, &cores.load, address),
        Some(limits) => Origin::slow_at(BODY, limits.delay, scratch, &cores.load, address),
    }
}

fn configure(
    root: &Path,
    scratch: &Scratch,
    limits: Option<Limits>,
    address: SocketAddr,
    origins: &[SocketAddr],
    generation: u64,
) -> Outcome<PathBuf> {
    let text = std::fs::read_to_string(root.join(TEMPLATE)).map_err(|e| format!("{TEMPLATE}: {e}"))?;
    scratch
        .write("stress.toml", template::fill(&text, &values(scratch, limits, address, origins, generation))?)
}

fn values(
    scratch: &Scratch,
    limits: Option<Limits>,
    address: SocketAddr,
    origins: &[SocketAddr],
    generation: u64,
) -> Values {
    let limit = |of: fn(&Limits) -> u32| limits.as_ref().map_or(0, of).to_string();
    Values {
        flags: if limits.is_some() { vec!["limits"] } else { Vec::new() },
        words: vec![
            ("dir", scratch.folder()),
            ("listen", address.to_string()),
            ("generation", generation.to_string()),
            ("connections", limit(|limits| limits.connections)),
            ("at_once", limit(|limits| limits.at_once)),
            ("pending", limit(|limits| limits.pending)),
        ],
        lists: vec![("target", origins.iter().take(TARGETS).map(ToString::to_string).collect())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_limits_only_when_they_are_set() {
        let root = crate::shell::workspace_root();
        let scratch = Scratch::new().unwrap();
        let address = "127.0.0.1:80".parse().unwrap();
        let origins = [81, 82, 83, 84].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let text = |limits| {
            std::fs::read_to_string(configure(&root, &scratch, limits, address, &origins, 7).unwrap())
                .unwrap()
        };
        let free = text(None);
        assert!(free.contains("127.0.0.1:83") && !free.contains("127.0.0.1:84") && free.contains("\"7\""));
        assert!(!free.contains("max_connections") && !free.contains("[pool.app.limits]"), "{free}");
        let limited = text(Some(super::super::LIMITS));
        assert!(limited.contains("max_connections = 600") && limited.contains("pending = 64"), "{limited}");
    }
}
