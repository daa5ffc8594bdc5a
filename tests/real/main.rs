//! End to end, with real software where Debian has it: the real binary, real sockets, one story per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

#[allow(dead_code, reason = "shared by all test binaries, each of which uses a part")]
#[path = "../support.rs"]
mod support;
mod world;

mod curl;
mod dns;
mod haproxy;
mod mail;
mod nginx;
mod postgres;
mod python;
mod redis;
mod socat;
mod websocket;
mod wrk;
