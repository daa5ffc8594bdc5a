//! Load on a schedule: every request has its time whether or not the ones before it were answered, and its latency
//! counts from then. So a stall shows in every request that fell into it (no coordinated omission), as it does
//! for a crowd of users who know nothing of each other.
//!
//! Each connection is a thread that sleeps, writes and reads; it runs in a process of its own, kept off the core
//! of the proxy.

mod client;
mod schedule;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::histogram::Histogram;
use super::process::{self, Process, Scratch};
use crate::shell::Outcome;

/// What begins the line that the generating process prints.
const MARK: &str = "evenkeel-bench-load ";
/// What the generator may take beyond its time and its patience.
const GRACE: Duration = Duration::from_secs(15);

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// Requests due in a second, over all connections.
    pub(crate) per_second: u64,
    pub(crate) length: Duration,
    /// Connections, each with one request at a time.
    pub(crate) connections: u32,
    /// Bytes in the body of a good answer.
    pub(crate) body: u64,
    /// A request that could not be sent for so long is given up, as its user would.
    pub(crate) patience: Duration,
    /// Paths asked for in turn: `/r00000/x` and so on; `/` when 0.
    pub(crate) routes: usize,
}

/// What came of it. Every request that was due is in just one of the counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Answered with 200 and the right body.
    pub(crate) good: u64,
    /// Answered with 503, by reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Anything else, by what went wrong.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Never sent: their connection was still busy with an earlier one when patience was over.
    pub(crate) abandoned: u64,
    /// Of those above, sent a second time since a kept connection turned out closed.
    pub(crate) retried: u64,
    /// Of good answers, from when the request was due.
    pub(crate) latency: Histogram,
    /// Of refusals, from when the request was sent.
    pub(crate) refusal: Histogram,
}

impl Plan {
    /// Starts the generator in a process of its own.
    pub(crate) fn start(&self, scratch: &Scratch, cores: &[usize]) -> Outcome<Process> {
        let words = ["bench".to_owned(), "generate".to_owned(), self.to_json().to_string()];
        Process::start("generate", cores, scratch, &process::ourselves()?, words)
    }

    /// Waits for the end of a process from `start`.
    pub(crate) fn finish(&self, mut process: Process) -> Outcome<Told> {
        let status = process.ends_within(self.length + self.patience + GRACE);
        let printed = process.printed();
        let line = printed.lines().find_map(|line| line.strip_prefix(MARK));
        match (status, line.and_then(|json| serde_json::from_str(json).ok())) {
            (Some(status), Some(value)) if status.success() => Told::from_json(&value),
            (Some(status), _) => Err(format!("the load generator failed ({status}): {}", printed.trim())),
            (None, _) => Err("the load generator did not end in time".to_owned()),
        }
    }

    /// Both.
    pub(crate) fn run(&self, scratch: &Scratch, cores: &[usize]) -> Outcome<Told> {
        let process = self.start(scratch, cores)?;
        self.finish(process)
    }

    fn to_json(&self) -> Value {
        json!({
            "address": self.address.to_string(),
            "per_second": self.per_second,
            "length_ms": self.length.as_millis() as u64,
            "connections": self.connections,
            "body": self.body,
            "patience_ms": self.patience.as_millis() as u64,
            "routes": self.routes,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_u64();
        Some(Self {
            address: value["address"].as_str()?.parse().ok()?,
            per_second: number("per_second")?,
            length: Duration::from_millis(number("length_ms")?),
            connections: u32::try_from(number("connections")?).ok()?,
            body: number("body")?,
            patience: Duration::from_millis(number("patience_ms")?),
            routes: usize::try_from(number("routes")?).ok()?,
        })
    }
}

impl Told {
    /// Requests that were due.
    pub(crate) fn due(&self) -> u64 {
        self.good + self.abandoned + self.refused() + self.failed()
    }

    /// Refusals of all reasons.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Errors of all kinds.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// What went wrong, for a reader; empty when nothing did.
    pub(crate) fn error_list(&self) -> String {
        list(&self.errors)
    }

    /// Why requests were refused, for a reader.
    pub(crate) fn refusal_list(&self) -> String {
        list(&self.refused)
    }

    fn merge(&mut self, other: &Self) {
        self.good += other.good;
        self.abandoned += other.abandoned;
        self.retried += other.retried;
        for (mine, theirs) in [(&mut self.refused, &other.refused), (&mut self.errors, &other.errors)] {
            for (name, count) in theirs {
                *mine.entry(name.clone()).or_default() += count;
            }
        }
        self.latency.merge(&other.latency);
        self.refusal.merge(&other.refusal);
    }

    fn to_json(&self) -> Value {
        json!({
            "good": self.good, "abandoned": self.abandoned, "retried": self.retried,
            "refused": self.refused, "errors": self.errors,
            "latency": self.latency.to_json(), "refusal": self.refusal.to_json(),
        })
    }

    fn from_json(value: &Value) -> Outcome<Self> {
        let number = |name: &str| {
            value[name].as_u64().ok_or_else(|| format!("the load generator's report lacks {name}"))
        };
        let counts = |name: &str| {
            let fields = value[name].as_object().into_iter().flatten();
            fields.filter_map(|(key, count)| Some((key.clone(), count.as_u64()?))).collect()
        };
        Ok(Self {
            good: number("good")?,
            abandoned: number("abandoned")?,
            retried: number("retried")?,
            refused: counts("refused"),
            errors: counts("errors"),
            latency: Histogram::from_json(&value["latency"])?,
            refusal: Histogram::from_json(&value["refusal"])?,
        })
    }
}

/// `bench generate PLAN`: the process that sends.
///
/// # Errors
/// When the plan is none.
pub(crate) fn generate(words: &[String]) -> Outcome {
    let plan = words.first().and_then(|json| serde_json::from_str(json).ok());
    let plan = plan.as_ref().and_then(Plan::from_json).ok_or("generate needs a plan")?;
    println!("{MARK}{}", client::send(&plan)?.to_json());
    Ok(())
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_and_reports_cross_the_border_unchanged() {
        let plan = Plan {
            address: "127.0.0.1:80".parse().unwrap(),
            per_second: 5,
            length: Duration::from_millis(1500),
            connections: 2,
            body: 3,
            patience: Duration::from_secs(1),
            routes: 10,
        };
        assert_eq!(Plan::from_json(&plan.to_json()), Some(plan));
        let mut told = Told { good: 2, abandoned: 1, retried: 1, ..Told::default() };
        told.refused.insert("queue-full".to_owned(), 4);
        told.errors.insert("timeout".to_owned(), 5);
        told.latency.record(300);
        told.refusal.record(2);
        assert_eq!(Told::from_json(&told.to_json()), Ok(told.clone()));
        assert_eq!((told.due(), told.error_list()), (12, "5 × timeout".to_owned()));
        let mut twice = told.clone();
        twice.merge(&told);
        assert_eq!((twice.due(), twice.refused["queue-full"], twice.latency.total()), (24, 8, 2));
    }

    #[test]
    fn a_torn_report_is_an_error() {
        assert!(Told::from_json(&json!({"good": 1})).is_err());
        assert!(generate(&["{}".to_owned()]).is_err());
    }
}
