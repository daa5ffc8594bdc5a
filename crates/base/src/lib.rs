//! The words every other crate speaks: names, identities, addresses, weights and reasons.
//!
//! Owns: the newtypes and closed vocabularies of the product, their text forms, and the seeded
//! random numbers that brains take as an argument.
//!
//! Does not know: sockets, clocks, configuration files, HTTP, or anything else of the house.

mod addr;
mod id_map;
mod name;
mod random;
mod reason;

pub use addr::{AddrError, BindAddr, ClientAddr, TargetAddr};
pub use id_map::{IdHasher, IdMap};
pub use name::{ListenerName, MAX_NAME_BYTES, NameError, PoolName, TargetId, Weight, WorkerId};
pub use random::SplitMix64;
pub use reason::Reason;
