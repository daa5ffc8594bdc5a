//! What can go wrong with a call, and what is said about it.

use std::fmt;

use evenkeel_api::ErrorDetail;
use evenkeel_base::Reason;

use super::address::{ApiUrl, TOKEN_VARIABLE};
use crate::exit::Exit;
use crate::screen::{Failure, harmless};

/// Why a call came to nothing. Its text says cause and remedy, and never holds the token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ApiError {
    /// No connection.
    Unreachable {
        /// Where.
        url: ApiUrl,
        /// Why.
        cause: String,
    },
    /// The connection ended before the answer.
    Broken {
        /// Where.
        url: ApiUrl,
    },
    /// No answer in time.
    Late {
        /// Where.
        url: ApiUrl,
        /// The time.
        seconds: f32,
        /// Whether the change may have been made, or may yet be.
        maybe_done: bool,
    },
    /// What answers is not the admin API, or not of this version.
    Garbled {
        /// Where.
        url: ApiUrl,
        /// How it shows.
        cause: String,
    },
    /// The token is missing or wrong.
    Unauthorized {
        /// Where.
        url: ApiUrl,
        /// Whether one was sent.
        had_token: bool,
    },
    /// The process said no, and why.
    Refused(Box<ErrorDetail>),
}

impl ApiError {
    /// Whether the process may be back in a moment, as after a restart.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Broken { .. } | Self::Late { .. })
    }

    /// Whether the process refused for this reason.
    pub(crate) fn is(&self, reason: Reason) -> bool {
        matches!(self, Self::Refused(detail) if detail.reason == reason.as_str())
    }

    fn exit(&self) -> Exit {
        if self.is(Reason::BadConfig) { Exit::BadConfig } else { Exit::Failed }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, cause } => write!(
                f,
                "cannot reach the admin API at {url}: {cause}; is evenkeel running? give --api or EVENKEEL_ADMIN"
            ),
            Self::Broken { url } => write!(
                f,
                "the admin API at {url} closed the connection before it answered; is evenkeel running? see its log"
            ),
            Self::Late { url, seconds, maybe_done } => {
                write!(f, "the admin API at {url} did not answer within {seconds} s; ")?;
                f.write_str(if *maybe_done {
                    "the change may still be made: see evenkeel status"
                } else {
                    "try again, or give another --api"
                })
            }
            Self::Garbled { url, cause } => write!(
                f,
                "what listens at {url} is not the admin API of this version: {}; give --api or EVENKEEL_ADMIN",
                harmless(cause)
            ),
            Self::Unauthorized { url, had_token: false } => {
                write!(f, "the admin API at {url} wants a token; set {TOKEN_VARIABLE}, or give --token")
            }
            Self::Unauthorized { url, had_token: true } => write!(
                f,
                "the admin API at {url} does not take this token; set {TOKEN_VARIABLE} (or --token) to the one that \
                 [admin] token names"
            ),
            Self::Refused(detail) => refused(f, detail),
        }
    }
}

fn refused(f: &mut fmt::Formatter<'_>, detail: &ErrorDetail) -> fmt::Result {
    write!(f, "{} ({})", harmless(&detail.message), harmless(&detail.reason))?;
    // Elsewhere the place says nothing that the message does not.
    if let Some(at) = detail.at.as_ref().filter(|_| detail.reason == Reason::BadInput.as_str()) {
        write!(f, " at {}", harmless(at))?;
    }
    detail.problems.iter().try_for_each(|problem| write!(f, "\n  {}", harmless(problem)))
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { exit: error.exit(), message: error.to_string() }
    }
}
