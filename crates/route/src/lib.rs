//! Which route a request takes: patterns, one canonical path, and a table that finds the most specific match.
//!
//! Owns: host and path patterns with their text forms, the canonical form of a request path (hardening
//! rule 1: matcher, log and forward see the same bytes), and the compiled [`RouteTable`].
//!
//! Does not know: HTTP library types, sockets, pools, or what a route does once it is found.

mod canonical;
mod pattern;
mod table;
mod when;

pub use canonical::canonical_path;
pub use pattern::{HostPattern, MAX_PATTERN_BYTES, MAX_PATTERN_SEGMENTS, PathPattern, PatternError};
pub use table::RouteTable;
pub use when::{Request, When};
