//! Who leads, and asking it to stop leading. Source: spec 1.8.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::Query;
use crate::world;

/// From the answer to the change, so that the answer gets through. Source: Marathon.
const ABDICATION_PAUSE: Duration = Duration::from_millis(500);

fn none() -> ApiError {
    ApiError::missing("There is no leader")
}

/// `GET /v2/leader`
pub(in crate::api) async fn get(State(context): State<Context>) -> Result<Response, ApiError> {
    let leader = context.leadership().leader.ok_or_else(none)?;
    Ok(Json(json!({ "leader": leader.http })).into_response())
}

/// `DELETE /v2/leader`
pub(in crate::api) async fn abdicate(
    State(context): State<Context>,
    query: Query,
) -> Result<Response, ApiError> {
    if let Some(name) = ["backup", "restore"].into_iter().find(|name| query.get(name).is_some()) {
        let message = format!("'{name}' is not supported. Leave it out to hand leadership over.");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    if !context.leadership().leads {
        return Err(none());
    }
    let abdicate = context.abdicate.clone();
    world::spawn(async move {
        tokio::time::sleep(ABDICATION_PAUSE).await;
        abdicate.abdicate();
    });
    Ok(Json(json!({ "message": "Leadership abdicated", "details": [] })).into_response())
}
