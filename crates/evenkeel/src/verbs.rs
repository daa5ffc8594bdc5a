//! One file per verb. The verbs that serve are wired in `serve`.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod connection;
pub(crate) mod man;
pub(crate) mod one_line;
pub(crate) mod reload;
pub(crate) mod status;
pub(crate) mod target;
