//! End to end, what targets do to us: the real binary, real sockets, one story per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

#[allow(unreachable_pub, reason = "shared by all test binaries")]
#[path = "../support.rs"]
mod support;

mod kit;

mod affinity;
mod algorithms;
mod drain;
mod ejection;
mod failover;
mod half_close;
mod hanging;
mod health;
mod killed;
mod limits;
mod mixed;
mod outage;
mod places;
mod pool_reuse;
mod pooled;
mod retry;
mod round_robin;
mod unreachable;
