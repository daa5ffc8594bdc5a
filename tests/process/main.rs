//! End to end, what happens to our process: the real binary, real sockets, one story per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

#[allow(unreachable_pub, reason = "shared by all test binaries")]
#[path = "../support.rs"]
mod support;
mod world;

mod api_fuzz;
mod bad_config;
mod cli;
mod clock;
mod demo;
mod descriptors;
mod listeners_live;
mod logs;
mod memory;
mod metrics;
mod names;
mod panic;
mod ports;
mod reload;
mod save;
mod start;
mod stop;
