//! From a refusal to an answer.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use evenkeel_api::{ErrorBody, ErrorDetail};
use evenkeel_base::Reason;
use evenkeel_state::RegistryError;

use crate::control::Refusal;

/// Carries the reason on every refusal, as on the data path.
pub(crate) const REASON_HEADER: &str = "x-evenkeel-reason";

/// The one place where reasons become statuses.
fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::BadInput => StatusCode::BAD_REQUEST,
        Reason::Unauthorized => StatusCode::UNAUTHORIZED,
        Reason::Forbidden => StatusCode::FORBIDDEN,
        Reason::NotFound => StatusCode::NOT_FOUND,
        Reason::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        Reason::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::AlreadyExists | Reason::NeedsRestart | Reason::BindFailed => StatusCode::CONFLICT,
        Reason::Conflict => StatusCode::PRECONDITION_FAILED,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::BadContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Reason::BadConfig => StatusCode::UNPROCESSABLE_ENTITY,
        Reason::Starting | Reason::Draining | Reason::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (status(self.reason), Json(body(self.reason, self.message, self.at, self.problems)))
                .into_response();
        let headers = response.headers_mut();
        headers.insert(REASON_HEADER, HeaderValue::from_static(self.reason.as_str()));
        if self.reason == Reason::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn body(reason: Reason, message: String, at: Option<String>, problems: Vec<String>) -> ErrorBody {
    ErrorBody { error: ErrorDetail { reason: reason.as_str().to_owned(), message, at, problems } }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}
