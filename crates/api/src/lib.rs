//! What the admin API says and hears: one set of types for the server, the command line and the OpenAPI page.
//!
//! Owns: the JSON form of every request, answer and event, their text words, the paths, and the rule that a
//! request with an unknown or a null field is refused rather than half understood.
//!
//! Does not know: HTTP, how state is kept, or what a configuration file looks like.

mod change;
mod error;
mod event;
mod paths;
mod status;
mod target;
mod traffic;
mod words;

pub use change::{Duty, EditTarget, NewTarget, Plan};
pub use error::{ErrorBody, ErrorDetail};
pub use event::{Event, EventKind};
pub use paths::{PREFIX, connection_path, drain_path, pool_path, target_path, targets_path};
pub use status::{Health, Listener, Pool, Status};
pub use target::{Answers, Latency, Target, TargetState};
pub use traffic::{Client, Connection};
pub use words::UnknownWord;
