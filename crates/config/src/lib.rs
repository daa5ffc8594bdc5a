//! What the operator wrote, checked once and turned into what the product needs.
//!
//! Owns: the definition of every key (`keys`), the reading of TOML that collects *every* problem with its
//! place and advice (`read`, `check`), the checked [`Config`], its limits, the difference of two
//! configurations ([`diff`]), the TOML of one ([`to_toml`]), and the edits that write a runtime change back
//! with comments kept ([`edit`]).
//!
//! Does not know: files, the environment, the clock, sockets or tokio. Includes and secrets come in through
//! the [`Source`] its caller supplies.

mod check;
mod checked;
mod diff;
pub mod edit;
mod facts;
#[doc(hidden)]
pub mod fuzzing;
mod keys;
pub mod limits;
mod load;
mod one_liner;
mod print;
mod problem;
mod read;
mod reference;
mod schema;
mod source;
mod suggest;
mod units;

pub use checked::*;
pub use diff::{Change, Subject, diff};
pub use load::load;
pub use one_liner::{UsageError, one_liner};
pub use print::to_toml;
pub use problem::{Problem, Problems};
pub use reference::reference_markdown;
pub use schema::json_schema;
pub use source::{NoSource, Source};
