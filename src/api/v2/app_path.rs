//! Below `/v2/apps/`: one handler per method finds out what the path names.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{app_tasks, app_writes, apps, explain};
use crate::api::app_path::AppPath;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::{Query, below};
use crate::api::write_request::WriteRequest;

/// Where ids begin.
const PREFIX: &str = "/v2/apps/";

impl<S: Sync> FromRequestParts<S> for AppPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(&below(&parts.uri, PREFIX)))
    }
}

fn not_allowed() -> ApiError {
    ApiError::plain(StatusCode::METHOD_NOT_ALLOWED)
}

/// `GET` of an app, a group's apps, versions or tasks.
pub(in crate::api) async fn get(
    State(context): State<Context>,
    path: AppPath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match path {
        AppPath::App(id) => apps::show(&context, &id, &query).await,
        AppPath::Group(group) => apps::list_group(&context, &group, &query).await,
        AppPath::Tasks(id) => app_tasks::list(&context, &id, &query, &headers).await,
        AppPath::GroupTasks(group) => app_tasks::list_group(&context, &group, &query, &headers).await,
        AppPath::Versions(id) => apps::versions(&context, &id, &query).await,
        AppPath::Version(id, version) => apps::version(&context, &id, &version, &query).await,
        AppPath::Explain(id) => explain::show(&context, &id, &query).await,
        AppPath::Task(..) | AppPath::Restart(_) => {
            apps::show(&context, &path.as_app().ok_or_else(not_allowed)?, &query).await
        }
    }
}

/// `POST` to an app's `restart`.
pub(in crate::api) async fn post(
    State(context): State<Context>,
    path: AppPath,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    match path {
        AppPath::Restart(id) => app_writes::restart(&context, &id, &request).await,
        _ => Err(not_allowed()),
    }
}

/// `PUT` of an app.
pub(in crate::api) async fn put(
    State(context): State<Context>,
    path: AppPath,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    app_writes::put(&context, &path.as_app().ok_or_else(not_allowed)?, &request).await
}

/// `PATCH` of an app.
pub(in crate::api) async fn patch(
    State(context): State<Context>,
    path: AppPath,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    app_writes::patch(&context, &path.as_app().ok_or_else(not_allowed)?, &request).await
}

/// `DELETE` of an app, its tasks or one task.
pub(in crate::api) async fn delete(
    State(context): State<Context>,
    path: AppPath,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    match path {
        AppPath::Tasks(id) => app_tasks::kill_all(&context, &id, &request).await,
        AppPath::Task(id, task) => app_tasks::kill_one(&context, &id, &task, &request).await,
        other => app_writes::remove(&context, &other.as_app().ok_or_else(not_allowed)?, &request).await,
    }
}
