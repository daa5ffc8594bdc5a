//! End to end, what targets do to us: the real binary, real sockets, one story per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

#[path = "../support.rs"]
mod support;

mod round_robin;
