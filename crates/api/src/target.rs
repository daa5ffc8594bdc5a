//! One target and its counters.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::words;

words! {
    /// Whether a target may be chosen, and why not.
    TargetState {
        /// It gets work.
        Up "up",
        /// It finishes what it has and takes nothing new.
        Draining "draining",
        /// An operator took it out.
        Disabled "disabled",
        /// Its name has no address.
        Unresolved "unresolved",
        /// Probes found it down.
        Down "down",
        /// Real traffic found it failing; it is tried again later.
        Ejected "ejected",
    }
}

/// One member of a pool. Counters count from the target's start in this process and survive reloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// Its pool.
    pub pool: String,
    /// As written in the configuration.
    pub address: String,
    /// Its number in this process; never used twice.
    pub id: u32,
    /// Whether it may be chosen.
    pub state: TargetState,
    /// The named reason why it is not `up`.
    pub reason: Option<String>,
    /// Its share, 0 to 1000.
    pub weight: u16,
    /// Lower is preferred.
    pub priority: u16,
    /// Requests or connections at once; null is unlimited.
    pub max_connections: Option<u32>,
    /// Whether it is the pool's emergency target.
    pub emergency: bool,
    /// The addresses its name resolved to, or the address itself.
    pub resolved: Vec<String>,
    /// Requests (HTTP) or connections (TCP) in flight.
    pub in_flight: u64,
    /// Requests (HTTP) or connections (TCP) begun here, retries included.
    pub requests: u64,
    /// Dials that succeeded.
    pub connects: u64,
    /// Dials that failed.
    pub connect_errors: u64,
    /// Requests that went over a kept connection.
    pub reused: u64,
    /// Answers by class (HTTP).
    pub answers: Answers,
    /// Requests or connections without a valid answer.
    pub failures: u64,
    /// Tries given up here and made elsewhere.
    pub retries: u64,
    /// Failures in a row as of now.
    pub failures_in_a_row: u32,
    /// Bytes sent to the target.
    pub bytes_to: u64,
    /// Bytes received from the target.
    pub bytes_from: u64,
    /// Time to the head of the answer (HTTP) or to connect (TCP).
    pub latency: Latency,
}

/// Answers by class of their status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answers {
    /// 101 alone: other 1xx are not final.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// 2xx.
    #[serde(rename = "2xx")]
    pub successful: u64,
    /// 3xx.
    #[serde(rename = "3xx")]
    pub redirection: u64,
    /// 4xx.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// 5xx.
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// Latencies in microseconds. Quantiles are estimated from buckets that double, by interpolation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Measured so often.
    pub count: u64,
    /// The mean; 0 when nothing was measured.
    pub mean_us: u64,
    /// The median.
    pub p50_us: u64,
    /// 99 of 100 were faster.
    pub p99_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_in_json_and_in_text() {
        for word in TargetState::WORDS {
            let state: TargetState = word.parse().unwrap();
            assert_eq!(state.to_string(), *word);
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("{word:?}"));
        }
        let error = "healthy".parse::<TargetState>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no \"healthy\"; known are up, draining, disabled, unresolved, down, ejected"
        );
    }
}
