//! End to end, what clients send us over HTTP: the real binary, real sockets, one story per file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)] // tests

#[allow(dead_code, unreachable_pub, reason = "shared by all test binaries, each of which uses a part")]
#[path = "../support.rs"]
mod support;
mod talk;

mod access;
mod cut_answers;
mod errors;
mod expect_continue;
mod forwarded;
mod framing;
mod hardening;
mod hostile_targets;
mod limits;
mod malformed;
mod pipelining;
mod routes;
mod slow_peers;
mod timeouts;
mod upgrade;
mod vanishing_clients;
