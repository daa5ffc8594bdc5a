//! The ground's edge: the only crate that touches sockets, timers and the kernel.
//!
//! Owns: the engine's types under our own names ([`rt`]), listening, dialling, buffers, the byte relay with
//! `splice(2)`, and every line of `unsafe` in the product.
//!
//! Does not know: pools, routes, health, HTTP, or why a connection is wanted.

// The engine's types are wrapped here, and nowhere else.
#![allow(clippy::disallowed_types)]

mod buffer;
mod dial;
mod drain;
mod listen;
mod relay;
#[cfg(test)]
mod relay_tests;
pub mod rt;
mod stream;
mod sys;

pub use buffer::{Buffer, Buffers};
pub use dial::{Dial, DialError, DialTo, Direct};
pub use drain::{Drain, DrainSignal, Watch};
pub use listen::{BindError, BoundSocket, Listener, bind};
pub use relay::{Broken, Direction, RelayEnd, relay};
pub use stream::{ResetGuard, Stream};
pub use sys::{cpu_count, give_way, raise_descriptor_limit, use_small_pages};
