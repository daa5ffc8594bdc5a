//! The verdict over a run: what was sent, what was executed, and what of it was lost.
//!
//! A request is *lost* if it got no complete, correct answer although its bytes may have reached us, a healthy
//! server existed, and it was safe to try elsewhere. A request that is not idempotent and whose server dies
//! gets one explicit 502, 503 or 504: *reported*. Silence, a wrong body, another request's answer, and double
//! execution of such a request are defects at all times.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::body::BodyCheck;
use crate::client::{ClientJournal, Outcome, Record, is_idempotent};
use crate::origin::{Entry, OriginJournal};

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// No whole answer, or a refusal although a healthy server existed.
    Lost,
    /// Not idempotent, and executed more than once.
    Duplicated,
    /// Answered with what belongs to another request.
    Misrouted,
    /// The answer broke off visibly, and no origin is to blame.
    Truncated,
    /// A whole answer that is not what the origin sent, or a request body that changed on the way.
    WrongBody,
}

/// One request and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Offence {
    /// What.
    pub fault: Fault,
    /// `x-request-id`.
    pub id: String,
    /// Method, outcome, and which origins saw it.
    pub detail: String,
}

/// What a run allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether a healthy server existed all the time. If not, explicit refusals are *reported*, not lost.
    pub healthy_server: bool,
}

/// The result of `judge`. All numbers count requests.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// N: all that were sent or could not be sent.
    pub sent: usize,
    /// A whole, correct answer with status 2xx, or 101, by an origin.
    pub answered_2xx: usize,
    /// A whole, correct answer with another status by an origin.
    pub answered_other: usize,
    /// An explicit 502, 503 or 504 that the rules permit.
    pub reported_5xx: usize,
    /// Of `reported_5xx`, those no origin ever read: after a refused connect there should be none.
    pub reported_unseen: usize,
    /// See `Fault::Lost`.
    pub lost: usize,
    /// See `Fault::Duplicated`.
    pub duplicated: usize,
    /// See `Fault::Misrouted`.
    pub misrouted: usize,
    /// See `Fault::Truncated`.
    pub truncated: usize,
    /// Broke off visibly because the origin broke it off: rightly passed on.
    pub cut_by_origin: usize,
    /// See `Fault::WrongBody`.
    pub wrong_body: usize,
    /// No connection was to be had: nothing reached us.
    pub refused: usize,
    /// Pipelined behind an announced close, and executed nowhere.
    pub unprocessed: usize,
    /// Executed by an origin under an id this client never sent.
    pub strays: usize,
    /// Time to each whole, correct answer, ascending.
    pub latencies: Vec<Duration>,
    /// Every fault found, in order of sending.
    pub offences: Vec<Offence>,
}

/// Compares the journals. A healthy server existed all the time.
pub fn judge(client: &ClientJournal, origins: &[&OriginJournal]) -> Verdict {
    judge_by(Rules { healthy_server: true }, client, origins)
}

/// Compares the journals by these rules.
pub fn judge_by(rules: Rules, client: &ClientJournal, origins: &[&OriginJournal]) -> Verdict {
    let mut seen: HashMap<String, Vec<Trace>> = HashMap::new();
    for (origin, journal) in origins.iter().enumerate() {
        journal.with_entries(|entries| {
            for entry in entries {
                seen.entry(entry.id.clone()).or_default().push(Trace::new(origin, entry));
            }
        });
    }
    let mut verdict = Verdict { sent: client.records.len(), ..Verdict::default() };
    for record in &client.records {
        let traces = seen.remove(&record.id).unwrap_or_default();
        let judged = Judged { rules, record, traces: &traces };
        judged.outcome(&mut verdict);
        judged.execution(&mut verdict);
    }
    verdict.strays = seen.values().flatten().filter(|trace| trace.executed).count();
    verdict.latencies.sort_unstable();
    verdict
}

/// What the judge needs of an entry.
#[derive(Debug)]
struct Trace {
    origin: usize,
    executed: bool,
    /// The origin kept its side: the whole answer went out.
    faithful: bool,
    body_hash: Option<u64>,
}

impl Trace {
    fn new(origin: usize, entry: &Entry) -> Self {
        Self {
            origin,
            executed: entry.executed(),
            faithful: entry.answered.is_some() && !entry.spoilt,
            body_hash: entry.complete.then_some(entry.body_hash),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let executed = if self.executed { "executed" } else { "not executed" };
        let faithful = if self.faithful { "answered" } else { "not answered whole" };
        write!(f, "origin {} ({executed}, {faithful})", self.origin)
    }
}

struct Judged<'a> {
    rules: Rules,
    record: &'a Record,
    traces: &'a [Trace],
}

impl Judged<'_> {
    fn outcome(&self, verdict: &mut Verdict) {
        match &self.record.outcome {
            Outcome::Answered { body: BodyCheck::OtherId(_), .. } => self.fault(verdict, Fault::Misrouted),
            Outcome::Answered { body: BodyCheck::Wrong(_), .. } => self.fault(verdict, Fault::WrongBody),
            Outcome::Answered { status, origin: Some(_), .. } => {
                verdict.latencies.push(self.record.latency);
                let good = (200..300).contains(status) || *status == 101;
                *(if good { &mut verdict.answered_2xx } else { &mut verdict.answered_other }) += 1;
            }
            Outcome::Answered { status, origin: None, .. } => self.refusal(verdict, *status),
            Outcome::Truncated { .. } if self.blames_origin() => verdict.cut_by_origin += 1,
            Outcome::Truncated { .. } => self.fault(verdict, Fault::Truncated),
            Outcome::Unprocessed if !self.executed() => verdict.unprocessed += 1,
            Outcome::ConnectRefused | Outcome::ConnectTimedOut => verdict.refused += 1,
            Outcome::Closed
            | Outcome::Reset
            | Outcome::TimedOut
            | Outcome::Malformed(_)
            | Outcome::Unprocessed => self.fault(verdict, Fault::Lost),
        }
    }

    /// An answer that is not an origin's. A refusal is in order only where trying elsewhere was not.
    fn refusal(&self, verdict: &mut Verdict, status: u16) {
        let explicit = matches!(status, 502..=504);
        if explicit && !(self.rules.healthy_server && is_idempotent(self.record.method)) {
            verdict.reported_5xx += 1;
            verdict.reported_unseen += usize::from(self.traces.is_empty());
        } else {
            self.fault(verdict, Fault::Lost);
        }
    }

    fn execution(&self, verdict: &mut Verdict) {
        let times = self.traces.iter().filter(|trace| trace.executed).count();
        if times > 1 && !is_idempotent(self.record.method) {
            self.fault(verdict, Fault::Duplicated);
        }
        let changed = |trace: &Trace| trace.body_hash.is_some_and(|hash| hash != self.record.body_hash);
        let known = matches!(&self.record.outcome, Outcome::Answered { body: BodyCheck::Wrong(_), .. });
        if !known && self.traces.iter().any(changed) {
            self.fault(verdict, Fault::WrongBody);
        }
    }

    fn executed(&self) -> bool {
        self.traces.iter().any(|trace| trace.executed)
    }

    fn blames_origin(&self) -> bool {
        !self.traces.is_empty() && self.traces.iter().all(|trace| !trace.faithful)
    }

    fn fault(&self, verdict: &mut Verdict, fault: Fault) {
        let count = match fault {
            Fault::Lost => &mut verdict.lost,
            Fault::Duplicated => &mut verdict.duplicated,
            Fault::Misrouted => &mut verdict.misrouted,
            Fault::Truncated => &mut verdict.truncated,
            Fault::WrongBody => &mut verdict.wrong_body,
        };
        *count += 1;
        let Record { method, outcome, connection, reused, latency, .. } = self.record;
        let reused = if *reused { ", reused" } else { "" };
        let traces: Vec<String> = self.traces.iter().map(ToString::to_string).collect();
        let seen = if traces.is_empty() { "no origin".to_owned() } else { traces.join(", ") };
        let detail = format!(
            "{method} on connection {connection}{reused}: {outcome:?} after {latency:?}; seen by {seen}"
        );
        verdict.offences.push(Offence { fault, id: self.record.id.clone(), detail });
    }
}

impl Verdict {
    /// The `p`th percentile (0 to 100) of the latencies; zero when nothing was answered.
    pub fn latency(&self, p: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (p / 100.0 * last as f64).round() as usize;
        self.latencies.get(at.min(last)).copied().unwrap_or_default()
    }

    /// Prints the line of this run, and panics with the first offenders unless nothing was lost, duplicated,
    /// misrouted, truncated or changed. A run in which nothing was answered proves nothing, and fails, too.
    #[track_caller]
    pub fn assert_none_lost(&self, name: &str) {
        println!("{name}: {self}");
        assert!(self.offences.is_empty(), "{name}: {self}{}", self.first_offences());
        assert!(self.answered_2xx > 0, "{name}: nothing was answered: {self}");
    }

    /// `assert_none_lost`, and every single request was answered by an origin with a 2xx.
    #[track_caller]
    pub fn assert_all_answered(&self, name: &str) {
        self.assert_none_lost(name);
        assert!(self.answered_2xx == self.sent, "{name}: not all of them were answered: {self}");
    }

    fn first_offences(&self) -> String {
        let lines = self.offences.iter().take(10);
        lines.map(|o| format!("\n  {:?} {}: {}", o.fault, o.id, o.detail)).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "N={} lost={} duplicated={} misrouted={} truncated={} wrong_body={} reported={}",
            self.sent,
            self.lost,
            self.duplicated,
            self.misrouted,
            self.truncated,
            self.wrong_body,
            self.reported_5xx
        )?;
        let unusual = [
            ("other_status", self.answered_other),
            ("refused", self.refused),
            ("cut_by_origin", self.cut_by_origin),
            ("unprocessed", self.unprocessed),
            ("strays", self.strays),
        ];
        for (name, count) in unusual.iter().filter(|(_, count)| *count > 0) {
            write!(f, " {name}={count}")?;
        }
        let n = self.sent.max(1) as f64;
        if self.lost == 0 {
            // The rule of three: with none in N, 3/N bounds the share with 95 % confidence.
            write!(f, " (95 % bound for loss 3/N = {:.3} %)", (300.0 / n).min(100.0))
        } else {
            write!(f, " (share lost {:.3} %)", 100.0 * self.lost as f64 / n)
        }
    }
}
