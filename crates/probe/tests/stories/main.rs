//! Probes against real sockets: what a target does, and what becomes of it.

mod changes;
mod http;
mod origin;
mod passive;
mod tcp;
mod trouble;
mod world;
