//! How a refusal looks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of every answer with a status of 400 and above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, for programs (`reason`, `at`) and for people (`message`, `problems`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// The named reason, such as `not-found`; the closed list of logs and metrics.
    #[schema(examples("bad-input"))]
    pub reason: String,
    /// One sentence that says the cause and, where there is one, the remedy.
    pub message: String,
    /// Where in the request: a field such as `weight`, a query parameter, or `line:column`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub at: Option<String>,
    /// Every problem of a configuration, each with its place and advice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
