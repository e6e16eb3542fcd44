//! `/v1/rebalance`: which instances had better be elsewhere, and having them moved.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::only;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::{JsonBytes, Query};
use crate::api::wire::decode::parse_body;
use crate::api::wire::rebalance::{decode_budget, rebalance_json};
use crate::control::{MOVES_MAX, MOVES_MAX_MOST, MOVES_PER_APP_MAX};
use crate::forecast::Budget;

/// `GET /v1/rebalance`: the plan, and what moves already.
pub(in crate::api) async fn plan(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &["maxMoves", "maxMovesPerApp", "stale"])?;
    let limit = |name: &str, default: u32| match query.get(name) {
        None => Ok(default),
        Some(text) => {
            text.parse().ok().filter(|count| (1..=MOVES_MAX_MOST).contains(count)).ok_or_else(|| {
                let message =
                    format!("Query parameter '{name}={text}': expected a number from 1 to {MOVES_MAX_MOST}.");
                ApiError::new(StatusCode::BAD_REQUEST, message)
            })
        }
    };
    let budget = budget(limit("maxMoves", MOVES_MAX)?, limit("maxMovesPerApp", MOVES_PER_APP_MAX)?);
    let view = context.read(query.is_stale()).await?;
    let suspects = context.suspects(&view);
    let plan = context.control.plan_rebalance(view, budget, suspects).await?;
    Ok(Json(rebalance_json(&plan)).into_response())
}

/// `POST /v1/rebalance`: the same, and the moves are asked for.
pub(in crate::api) async fn apply(
    State(context): State<Context>,
    query: Query,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, ApiError> {
    only(&query, &[])?;
    let body = if bytes.is_empty() { Value::Object(serde_json::Map::new()) } else { parse_body(&bytes)? };
    let (moves, per_app) = decode_budget(&body)?;
    let budget = budget(moves.unwrap_or(MOVES_MAX), per_app.unwrap_or(MOVES_PER_APP_MAX));
    let suspects = context.suspects(&context.store().snapshot());
    let plan = context.control.rebalance(budget, suspects).await?;
    Ok(Json(rebalance_json(&plan)).into_response())
}

/// `DELETE /v1/rebalance`: whatever shall move stays.
pub(in crate::api) async fn stop(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &[])?;
    let stopped = context.control.stop_rebalance().await?;
    Ok(Json(json!({ "stopped": stopped })).into_response())
}

fn budget(moves: u32, per_app: u32) -> Budget {
    let number = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Budget { moves_max: number(moves), moves_per_app_max: number(per_app) }
}
