//! End to end, the TCP plane: the real binary, real sockets, one story per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

mod peers;
#[allow(dead_code, reason = "shared by all test binaries, each of which uses a part")]
#[path = "../support.rs"]
mod support;

mod affinity;
mod balance;
mod connections;
mod failover;
mod half_close;
mod limits;
mod link_faults;
mod many;
mod relay;
mod reload;
mod resets;
mod sockets;
mod unix;
