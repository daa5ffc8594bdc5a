//! The window on a running process: the admin API, its metrics and its stream of events.
//!
//! Owns: the HTTP face of the registry, who may use it ([`Access`], the checks against pages of other origins and
//! rebound names), the audit log of changes, the Prometheus text, and the OpenAPI description.
//!
//! Does not know: the planes, files, signals, or how a configuration is adopted. The process around it answers
//! through [`Control`]; everything else is read from `evenkeel-state`.

mod access;
mod app;
mod audit;
mod clock;
mod control;
mod error;
mod extract;
mod handlers;
mod metrics;
mod openapi;
mod patience;
mod serve;
#[cfg(test)]
mod tests;
mod view;

pub use access::Access;
pub use app::router;
pub use audit::AuditLog;
pub use control::{Control, Facts, Refusal, SavedEdit};
pub use serve::{Listening, serve};
