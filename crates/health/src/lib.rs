//! Brains for verdicts on targets: is it up, is it down, is it sent away for a while, and why.
//!
//! Owns: rise and fall of probe verdicts with flap damping, ejection by real traffic with growing
//! duration, the limits that keep ejection from emptying a pool, the jitter of probes, and the retry
//! budget.
//!
//! Does not know: probes, sockets, HTTP, addresses, weights, clocks or randomness. `now` is the
//! monotonic time since an arbitrary start, random bits are arguments, and a target is whatever key the
//! caller calls it by.
//!
//! ```
//! use std::time::Duration;
//! use evenkeel_base::Reason;
//! use evenkeel_health::{Outcome, Policy, PoolHealth, ProbePolicy, State};
//!
//! let policy = Policy { probe: Some(ProbePolicy { rise: 2, fall: 2 }), passive: None };
//! let mut health = PoolHealth::new(policy);
//! let second = Duration::from_secs;
//! health.insert("db1", second(0));
//! health.handle("db1", Outcome::ProbeFailed(Reason::ProbeRefused), second(1));
//! let transition = health.handle("db1", Outcome::ProbeFailed(Reason::ProbeRefused), second(2));
//! assert_eq!(transition.map(|t| t.to), Some(State::Down { reason: Reason::ProbeRefused }));
//! ```

mod budget;
mod delay;
mod ejector;
mod policy;
mod pool;
#[cfg(test)]
mod simulation;
mod state;
mod target;
mod verdict;
mod window;

pub use budget::RetryBudget;
pub use delay::{FIRST_PROBE_WITHIN, first_probe_delay, probe_delay};
pub use policy::{PassivePolicy, Policy, ProbePolicy};
pub use pool::PoolHealth;
pub use state::{Outcome, State, Transition};
