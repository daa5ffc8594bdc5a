//! One change, as the event stream tells it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::target::TargetState;
use crate::words::words;

words! {
    /// What an event is about.
    EventKind {
        /// A target's state.
        Target "target",
        /// A listener.
        Listener "listener",
        /// The configuration.
        Config "config",
    }
}

/// One change: what, from what to what, and why. Fields that do not apply are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Counts from 1 without gaps as long as the process lives; the `id` of the event stream.
    pub sequence: u64,
    /// When (RFC 3339, UTC).
    pub time: String,
    /// What it is about.
    pub kind: EventKind,
    /// The named reason.
    pub reason: String,
    /// The target's pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pool: Option<String>,
    /// The target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub target: Option<String>,
    /// The listener's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub listener: Option<String>,
    /// The target's state before; left out for a new target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub from: Option<TargetState>,
    /// The target's state after; left out for a removed target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub to: Option<TargetState>,
    /// Whether a configuration was adopted or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub adopted: Option<bool>,
    /// What changed, or what is wrong, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}
