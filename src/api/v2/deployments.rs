//! Deployments under way: looking at them, ending them. Source: spec 5.9, 5.10.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::{Query, below};
use crate::api::headers::INDEX;
use crate::api::wire::deployment::{deployment_json, result_json};
use crate::api::write_request::written;
use crate::domain::DeploymentId;

/// `GET /v2/deployments`
pub(in crate::api) async fn list(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    let deployments: Vec<Value> = view.deployments.values().map(|row| deployment_json(row)).collect();
    Ok(Json(deployments).into_response())
}

/// `DELETE /v2/deployments/{id}`: undoes it, or with `force` ends it where it is.
pub(in crate::api) async fn cancel(
    State(context): State<Context>,
    uri: Uri,
    query: Query,
) -> Result<Response, ApiError> {
    let id = DeploymentId::new(below(&uri, "/v2/deployments/"));
    match context.control.cancel_deployment(&id, query.flag("force", false)).await? {
        Some(undo) => {
            let body = result_json(undo.version, &undo.deployment);
            Ok(written(StatusCode::OK, &body, &undo))
        }
        None => {
            Ok((StatusCode::ACCEPTED, [(INDEX, context.store().snapshot().index.to_string())])
                .into_response())
        }
    }
}
