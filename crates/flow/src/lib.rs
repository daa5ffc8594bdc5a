//! The client table: which target a client was sent to, so that it comes back to the same one.
//!
//! Owns: the memory of clients by address, its bound, what is forgotten when (least recently used, or too
//! old), and the index that finds an entry in constant time.
//!
//! Does not know: sockets, pools, whether a target is available, clocks or randomness. `now` is the monotonic
//! time since an arbitrary start, and the seed of the index is an argument.
//!
//! ```
//! use std::net::IpAddr;
//! use std::time::Duration;
//! use evenkeel_base::TargetId;
//! use evenkeel_flow::{ClientKey, ClientTable};
//!
//! let (ttl, now) = (Duration::from_secs(3600), Duration::from_secs(1));
//! let mut table = ClientTable::new(2048, ttl, 0x5eed);
//! let client = ClientKey::from(IpAddr::from([192, 0, 2, 7]));
//! assert!(table.look_up(client, now).is_none());
//! table.remember(client, TargetId(3), now);
//! assert_eq!(table.look_up(client, now).map(|entry| entry.target), Some(TargetId(3)));
//! ```

mod index;
mod key;
mod slots;
mod table;

pub use key::ClientKey;
pub use table::{ClientTable, Entry};
