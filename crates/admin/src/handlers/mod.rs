//! One function per path and method.

use std::sync::Arc;

use axum::extract::State;

use crate::app::App;
use crate::control::Refusal;

pub(crate) mod changes;
pub(crate) mod configuration;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod listing;
pub(crate) mod traffic;

/// What every handler shares.
pub(crate) type Shared = State<Arc<App>>;

/// An answer, or why not.
pub(crate) type Answer<T> = Result<T, Refusal>;
