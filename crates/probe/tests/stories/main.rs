//! Probes against real sockets: what a target does, and what becomes of it.
// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod changes;
mod http;
mod origin;
mod passive;
mod tcp;
mod trouble;
mod world;
