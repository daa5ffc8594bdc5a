//! Names against a name server of our own, which does whatever a bad day can bring.
// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod f42;
mod server;
mod settings;
mod start;
mod world;
