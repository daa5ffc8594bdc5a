//! Which target gets the next request or connection: a pure function of a table, the live loads and a
//! ticket, one file per algorithm, the same for L4 and L7.
//!
//! Owns: the algorithms and their names, the tables they pick from, the hashes that nodes agree on, and
//! the order in which stand-ins are asked when the chosen target has no room.
//!
//! Does not know: clocks, sockets, HTTP, targets' addresses (only their hashes), why a target is down,
//! where sequence and random bits of a [`Ticket`] come from, or who counts the [`Loads`].
//!
//! A table is built on the control side for one set of candidates and never changes; [`pick`] reads it
//! from any number of threads, without a lock and without allocating.
//!
//! | algorithm | a pick costs | sticks to |
//! |---|---|---|
//! | round-robin, random, p2c, peak-ewma | O(1) | – |
//! | least-connections | O(targets) | – |
//! | ip-hash, ip-port-hash | O(log ring) | client address (and port) |
//! | consistent-hash | O(log ring), plus O(targets) when the first is busy | client address |
//! | maglev | O(1) | client address |
//! | rendezvous | O(targets) | client address |
//! | first | O(targets that are full) | – |
//!
//! When targets have no room, every algorithm tries a bounded number of stand-ins in its own order, and
//! then asks each target once: an admitted target is always found, in O(targets).

mod algorithm;
mod consistent_hash;
mod first;
mod hash;
mod ip_hash;
mod least_connections;
mod load;
mod maglev;
mod member;
mod p2c;
mod peak_ewma;
mod random;
mod rendezvous;
mod ring;
mod round_robin;
mod schedule;
mod table;
mod turns;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;

pub use algorithm::{Algorithm, HashKey, UnknownAlgorithm};
pub use hash::{hash_bytes, hash_ip, hash_ip_port, hash_target};
pub use table::{Candidate, Loads, Slot, Table, Ticket, build, pick};
