//! What is promised, and whether it was kept.

use super::faults::Done;
use super::house::{Phase, Stage};
use crate::bench::table::FULL;

/// Good answers of all that were due, at half load with faults.
const AVAILABILITY: f64 = 0.9999;
/// Without a failure in so many, a share of failures under 0.01 % is shown with 95 % confidence (rule of three).
const ENOUGH: u64 = 30_000;
/// Good answers under overload, of the most there ever were.
const GOODPUT: f64 = 0.9;
/// A refusal, from the request, for 99 of 100.
const REFUSED_WITHIN_MS: f64 = 100.0;
/// The admin API, every time.
const ADMIN_WITHIN_MS: f64 = 100.0;
/// What memory may grow by from twice saturation to all that comes after.
const GROWTH: f64 = 1.1;
const GROWTH_MIB: f64 = 4.0;

/// How a promise fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Kept,
    Broken,
    /// Nothing speaks against it, and too little for it.
    NotShown,
}

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) promise: String,
    pub(super) found: String,
    /// On how many observations this rests.
    pub(super) count: u64,
    pub(super) state: State,
}

impl Verdict {
    fn new(promise: &str, found: String, count: u64, is_kept: bool) -> Self {
        let state = match (is_kept, count) {
            (false, _) => State::Broken,
            (true, 0) => State::NotShown,
            (true, _) => State::Kept,
        };
        Self { promise: promise.to_owned(), found, count, state }
    }
}

/// All promises. `admitted` is the share of clients that a flood lets in.
pub(super) fn all(stages: &[Stage], faults: &Done, admitted: f64) -> Vec<Verdict> {
    let of = |wanted: fn(Phase) -> bool| stages.iter().filter(move |stage| wanted(stage.wanted.phase));
    let peak = |wanted: fn(Phase) -> bool| of(wanted).map(Stage::good_per_second).fold(0.0, f64::max);
    let free_peak = peak(|phase| phase == Phase::Climb);
    let limited_peak = peak(|phase| matches!(phase, Phase::LimitedClimb | Phase::Overload(_)));
    let mut verdicts = Vec::new();
    for stage in of(|phase| phase == Phase::Steady) {
        verdicts.extend(steady(stage));
    }
    verdicts.push(injected(faults));
    for stage in of(|phase| phase == Phase::Beyond) {
        verdicts.push(goodput(stage, free_peak));
    }
    for stage in of(|phase| matches!(phase, Phase::Overload(_))) {
        verdicts.push(goodput(stage, limited_peak));
    }
    for stage in of(|phase| phase == Phase::Flood) {
        verdicts.push(flood(stage, admitted));
    }
    let overload: Vec<&Stage> = of(|phase| matches!(phase, Phase::Overload(_) | Phase::Flood)).collect();
    verdicts.extend([refusals(&overload), memory(&overload), admin(stages)]);
    verdicts
}

fn steady(stage: &Stage) -> [Verdict; 2] {
    let told = &stage.told;
    let failed = told.failed() + told.refused();
    let errors = Verdict::new(
        "half load with faults: no GET fails",
        format!("{failed} failed {}{}", told.error_list(), told.refusal_list()).trim().to_owned(),
        told.due(),
        failed == 0,
    );
    // A client that finds its kept connection closed sends again and is served: we count that against us here.
    let served = told.good.saturating_sub(told.retried);
    let share = served as f64 / told.due().max(1) as f64;
    let found = format!(
        "{:.4} %: {served} of {}; {} sent again, {} given up",
        share * 100.0,
        told.due(),
        told.retried,
        told.abandoned
    );
    let mut available = Verdict::new(
        "half load with faults: availability at least 99.99 %",
        found,
        told.due(),
        share >= AVAILABILITY,
    );
    if available.state == State::Kept && told.due() < ENOUGH {
        available.state = State::NotShown;
    }
    [errors, available]
}

fn injected(faults: &Done) -> Verdict {
    let Done { kills, reloads, weights, members, trouble } = faults;
    let found = format!(
        "{kills} kills, {reloads} reloads, {weights} weights, {members} members changed; {}",
        if trouble.is_empty() { "all taken".to_owned() } else { trouble.join("; ") }
    );
    let is_kept = trouble.is_empty() && *kills > 0 && *reloads > 0 && *weights > 0 && *members > 0;
    Verdict::new("every change during the run is taken", found, reloads + weights + members, is_kept)
}

fn goodput(stage: &Stage, peak: f64) -> Verdict {
    let share = if peak > 0.0 { stage.good_per_second() / peak } else { 0.0 };
    let told = &stage.told;
    let mut verdict = Verdict::new(
        &format!("{}: goodput at least 90 % of its peak, no errors", stage.wanted.phase.name()),
        format!(
            "{:.0} % ({:.0}/s of {peak:.0}/s) at {}/s offered; {} errors {}",
            share * 100.0,
            stage.good_per_second(),
            stage.wanted.offered,
            told.failed(),
            told.error_list()
        ),
        told.due(),
        share >= GOODPUT && told.failed() == 0,
    );
    let busy = stage.used.busy;
    let starved = busy.load_cores >= FULL && busy.proxy_cores < FULL;
    if verdict.state == State::Broken && starved && told.failed() == 0 {
        verdict.found += "; origin and load generator were the limit, not Evenkeel";
        verdict.state = State::NotShown;
    }
    verdict
}

fn flood(stage: &Stage, admitted: f64) -> Verdict {
    let due = stage.told.due() as f64 * admitted;
    let share = stage.told.good as f64 / due.max(1.0);
    let failed = stage.told.failed();
    Verdict::new(
        "too many clients: those admitted are served, no errors",
        format!("{:.0} % of what they asked; {failed} errors {}", share * 100.0, stage.told.error_list()),
        stage.told.due(),
        share >= GOODPUT && failed == 0,
    )
}

fn refusals(stages: &[&Stage]) -> Verdict {
    let count: u64 = stages.iter().map(|stage| stage.told.refusal.total()).sum();
    let slowest = stages.iter().map(|stage| stage.told.refusal.percentile_ms(0.99)).fold(0.0, f64::max);
    let silent =
        stages.iter().flat_map(|stage| &stage.told.refused).filter(|(reason, _)| reason.contains(' '));
    let silent: u64 = silent.map(|(_, count)| count).sum();
    let reasons: std::collections::BTreeSet<&str> =
        stages.iter().flat_map(|stage| stage.told.refused.keys()).map(String::as_str).collect();
    let reasons: Vec<&str> = reasons.into_iter().collect();
    Verdict::new(
        "overload: excess is refused with a reason, 99 of 100 within 100 ms",
        format!("p99 {slowest:.1} ms, {silent} without a reason; {}", reasons.join(", ")),
        count,
        silent == 0 && slowest <= REFUSED_WITHIN_MS,
    )
}

fn memory(stages: &[&Stage]) -> Verdict {
    let peaks: Vec<f64> = stages.iter().map(|stage| stage.used.peak_mib).collect();
    let first = peaks.first().copied().unwrap_or_default();
    let last = peaks.iter().copied().fold(0.0, f64::max);
    Verdict::new(
        "overload: memory is bounded (its peak grows at most by a tenth and 4 MiB beyond that at 2 ×)",
        format!("{first:.1} MiB at 2 ×, {last:.1} MiB at most"),
        peaks.len() as u64,
        last <= first * GROWTH + GROWTH_MIB,
    )
}

fn admin(stages: &[Stage]) -> Verdict {
    let count = stages.iter().map(|stage| stage.admin.answers.total() + stage.admin.failures).sum();
    let failures: u64 = stages.iter().map(|stage| stage.admin.failures).sum();
    let worst = stages.iter().max_by(|a, b| a.admin.worst_ms().total_cmp(&b.admin.worst_ms()));
    let at = worst.map_or_else(String::new, |stage| stage.wanted.phase.name());
    let last = worst.map_or("", |stage| stage.admin.last_failure.as_str());
    let longest = stages.iter().map(|stage| stage.admin.answers.max_ms()).fold(0.0, f64::max);
    Verdict::new(
        "at all times: the admin API answers within 100 ms",
        format!("longest {longest:.1} ms, worst at {at}; {failures} failures {last}").trim().to_owned(),
        count,
        failures == 0 && longest <= ADMIN_WITHIN_MS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::{Busy, Used};
    use crate::bench::open_loop::Told;
    use crate::bench::stress::house::Wanted;
    use crate::bench::stress::watch::Watched;
    use std::time::Duration;

    const BUSY: Busy = Busy { proxy_share: 1.0, proxy_cores: 1.0, load_cores: 0.8, shared: false };

    fn stage(phase: Phase, good: u64) -> Stage {
        let wanted = Wanted { phase, offered: 1000, clients: 1, length: Duration::from_secs(1) };
        let mut admin = Watched::default();
        admin.answers.record(2000);
        let used = Used { cpu_us: 1.0, peak_mib: 20.0, busy: BUSY };
        Stage { wanted, told: Told { good, ..Told::default() }, used, admin }
    }

    fn done() -> Done {
        Done { kills: 1, reloads: 2, weights: 2, members: 2, trouble: Vec::new() }
    }

    fn good_run() -> Vec<Stage> {
        let mut overload = stage(Phase::Overload(2), 990);
        overload.told.refused.insert("queue-full".to_owned(), 1000);
        overload.told.refusal.record(900);
        let mut flood = stage(Phase::Flood, 500);
        flood.told.refused.insert("listener-full".to_owned(), 500);
        vec![
            stage(Phase::Climb, 1000),
            stage(Phase::Beyond, 950),
            stage(Phase::Steady, 40_000),
            stage(Phase::LimitedClimb, 1000),
            overload,
            flood,
        ]
    }

    fn states(stages: &[Stage], faults: &Done) -> Vec<State> {
        all(stages, faults, 0.5).iter().map(|verdict| verdict.state).collect()
    }

    /// The promises broken by one change of a good run.
    fn broken(change: impl FnOnce(&mut Vec<Stage>)) -> Vec<String> {
        let mut stages = good_run();
        change(&mut stages);
        let broken = all(&stages, &done(), 0.5).into_iter().filter(|verdict| verdict.state == State::Broken);
        broken.map(|verdict| verdict.promise.split(':').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_good_run_keeps_every_promise() {
        assert!(
            states(&good_run(), &done()).iter().all(|state| *state == State::Kept),
            "{:?}",
            all(&good_run(), &done(), 0.5)
        );
    }

    #[test]
    fn each_promise_can_be_broken() {
        let error = |stage: &mut Stage| *stage.told.errors.entry("timeout".to_owned()).or_default() += 1;
        assert_eq!(broken(|s| error(&mut s[2])), ["half load with faults"]);
        assert_eq!(broken(|s| s[2].told.retried = 5), ["half load with faults"]);
        assert_eq!(broken(|s| s[2].told.abandoned = 5), ["half load with faults"]);
        assert_eq!(broken(|s| s[1].told.good = 890), ["beyond saturation"]);
        assert_eq!(broken(|s| s[4].told.good = 890), ["overload 2 ×"]);
        assert_eq!(broken(|s| error(&mut s[4])), ["overload 2 ×"]);
        assert_eq!(
            broken(|s| *s[4].told.refused.entry("no reason given".to_owned()).or_default() += 1),
            ["overload"]
        );
        assert_eq!(broken(|s| s[4].told.refusal.record(200_000)), ["overload"]);
        assert_eq!(broken(|s| s[5].used.peak_mib = 27.0), ["overload"]);
        assert_eq!(broken(|s| (s[5].told.good, s[5].told.abandoned) = (400, 100)), ["too many clients"]);
        assert_eq!(broken(|s| s[0].admin.failures = 1), ["at all times"]);
        assert_eq!(broken(|s| s[3].admin.answers.record(101_000)), ["at all times"]);
    }

    #[test]
    fn too_few_observations_show_nothing() {
        let mut stages = good_run();
        stages[2].told.good = 5000;
        assert!(states(&stages, &done()).contains(&State::NotShown));
        let mut stages = good_run();
        stages[1].told.good = 100;
        stages[1].used.busy = Busy { proxy_cores: 0.7, load_cores: 1.0, ..BUSY };
        assert!(!states(&stages, &done()).contains(&State::Broken));
        stages[4].told.good = 100;
        stages[4].used.busy = Busy { proxy_cores: 0.5, load_cores: 1.0, ..BUSY };
        assert!(!states(&stages, &done()).contains(&State::Broken));
        *stages[4].told.errors.entry("timeout".to_owned()).or_default() += 1;
        assert!(states(&stages, &done()).contains(&State::Broken), "an error is nobody else's limit");
    }

    #[test]
    fn a_change_that_was_refused_or_never_made_is_noticed() {
        let trouble = Done { trouble: vec!["PATCH: 500".to_owned()], ..done() };
        assert!(states(&good_run(), &trouble).contains(&State::Broken));
        assert!(states(&good_run(), &Done { kills: 0, ..done() }).contains(&State::Broken));
    }
}
