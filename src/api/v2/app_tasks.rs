//! Tasks of one app or group: looking at them, killing them. Source: spec 1.5, 9.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::apps::{apps_below, found, shown_task_json, shown_tasks};
use super::tasks::{Victims, kill, text_answer, wants_text};
use crate::api::app_path::PathId;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::Query;
use crate::api::wire::task::TaskContext;
use crate::api::write_request::WriteRequest;
use crate::domain::{AppVersion, TaskId};
use crate::state::ClusterState;

/// `GET /v2/apps/{id}/tasks`
pub(super) async fn list(
    context: &Context,
    id: &PathId,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    Ok(answer(&view, &[found(&view, id)?], headers))
}

/// `GET /v2/apps/{group}/*/tasks`
pub(super) async fn list_group(
    context: &Context,
    group: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    Ok(answer(&view, &apps_below(&view, group)?, headers))
}

fn answer(state: &ClusterState, apps: &[&AppVersion], headers: &HeaderMap) -> Response {
    if wants_text(headers) {
        return text_answer(state, apps);
    }
    let shown = apps.iter().flat_map(|app| shown_tasks(state, &app.app));
    let tasks: Vec<Value> =
        shown.map(|(row, task)| shown_task_json(state, row, task, TaskContext::default())).collect();
    Json(json!({ "tasks": tasks })).into_response()
}

/// `DELETE /v2/apps/{id}/tasks`
pub(super) async fn kill_all(
    context: &Context,
    id: &PathId,
    request: &WriteRequest,
) -> Result<Response, ApiError> {
    let view = context.read(false).await?;
    let app = &found(&view, id)?.app;
    let host = request.query.get("host").filter(|host| *host != "*");
    let on_host = shown_tasks(&view, app).filter(|(_, task)| host.is_none_or(|host| task.hostname == host));
    let ids: Vec<TaskId> = on_host.map(|(_, task)| task.id.clone()).collect();
    kill(context, &view, Victims::Several(ids), request).await
}

/// `DELETE /v2/apps/{id}/tasks/{task}`
pub(super) async fn kill_one(
    context: &Context,
    id: &PathId,
    task: &TaskId,
    request: &WriteRequest,
) -> Result<Response, ApiError> {
    let view = context.read(false).await?;
    let app = &found(&view, id)?.app;
    if !shown_tasks(&view, app).any(|(_, shown)| shown.id == *task) {
        return Err(ApiError::missing(format!("Task '{task}' does not exist")));
    }
    kill(context, &view, Victims::One(task.clone()), request).await
}
