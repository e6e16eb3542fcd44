//! The one table of codes: from a refused request to status and Marathon-shaped body.
//!
//! Source: spec 1.2, 1.3. `docs/http-status.md` tells the reader what to do about each.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::extract::JSON;
use super::headers::FORMER_LEADER;
use crate::api::wire::decode::{AppError, BodyError};
use crate::api::wire::deployment::locked_json;
use crate::control::ControlError;
use crate::store::ReadError;

/// Seconds that a client is asked to wait before it repeats a 503.
const RETRY_AFTER_SECONDS: &str = "1";

/// Status and body of a request that was not carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    body: Value,
    /// Nothing was done, because this master does not lead any more.
    is_of_former_leader: bool,
}

impl ApiError {
    /// `{"message": …}` under a status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::with_body(status, json!({ "message": message.into() }))
    }

    /// A body of its own shape under a status.
    pub fn with_body(status: StatusCode, body: Value) -> Self {
        Self { status, body, is_of_former_leader: false }
    }

    /// The status' own name as message, as Marathon's servlet answers.
    pub fn plain(status: StatusCode) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or("Unknown"))
    }

    /// 404 of a look-up in a handler: Marathon adds an empty list of details.
    pub fn missing(message: impl Into<String>) -> Self {
        let body = json!({ "message": message.into(), "details": [] });
        Self::with_body(StatusCode::NOT_FOUND, body)
    }

    /// 404 of a look-up of an app.
    pub fn missing_app(id: impl std::fmt::Display) -> Self {
        Self::missing(format!("App '{id}' does not exist"))
    }

    /// 404 of a path that the API does not have.
    pub fn unknown_uri() -> Self {
        Self::new(StatusCode::NOT_FOUND, "URI not found")
    }

    /// 400: JSON that does not parse; `details` is the parser's text.
    pub fn unparseable(details: impl Into<String>) -> Self {
        BodyError::NotJson(details.into()).into()
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::with_body(StatusCode::BAD_REQUEST, error.body())
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        Self::with_body(StatusCode::UNPROCESSABLE_ENTITY, error.body())
    }
}

impl From<AppError> for ControlError {
    /// For closures that `control` calls back.
    fn from(error: AppError) -> Self {
        match error {
            AppError::InvalidJson(broken) => Self::InvalidJson(broken),
            AppError::NotValid(broken) => Self::Violations(broken),
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::InvalidJson(broken) => AppError::InvalidJson(broken).into(),
            ControlError::Violations(broken) => AppError::NotValid(broken).into(),
            ControlError::Bad(message) => Self::new(StatusCode::BAD_REQUEST, message),
            ControlError::NotFound(message) => Self::new(StatusCode::NOT_FOUND, message),
            ControlError::AppExists(app) => {
                Self::new(StatusCode::CONFLICT, format!("An app with id [{app}] already exists."))
            }
            ControlError::Locked(by) => Self::with_body(StatusCode::CONFLICT, locked_json(&by)),
            ControlError::TooManyDeployments(max) => Self::new(
                StatusCode::FORBIDDEN,
                format!(
                    "Max number ({max}) of running deployments is achieved. Wait for existing deployments \
                     to complete or cancel one with DELETE /v2/deployments/<DEPLOYMENT_ID>?force=true."
                ),
            ),
            ControlError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "The Idempotency-Key was used before for a request with other content. Use a new key.",
            ),
            ControlError::PortsExhausted { from, to } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!(
                    "All service ports from {from} to {to} are in use. Name one outside this range or remove an app."
                ),
            ),
            ControlError::NotLeader => Self {
                is_of_former_leader: true,
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "This master lost leadership before it could answer. Nothing was changed; try again.",
                )
            },
            ControlError::Unavailable(why) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("Not available: {why}. Nothing was changed; try again."),
            ),
            ControlError::OutcomeUnknown(why) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "No answer in time: {why}. The change may or may not happen; look before repeating it, \
                     or repeat it with the same Idempotency-Key."
                ),
            ),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        ControlError::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, JSON)], self.body.to_string()).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if self.is_of_former_leader {
            response.headers_mut().insert(FORMER_LEADER, HeaderValue::from_static("true"));
        }
        response
    }
}
