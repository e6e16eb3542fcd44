//! Why an app waits, and why its tasks are where they are. Ours, below Marathon's paths.

use axum::Json;
use axum::response::{IntoResponse, Response};

use super::apps;
use crate::api::app_path::{AppPath, PathId};
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::Query;
use crate::api::wire::explain::ExplanationBody;
use crate::scheduler;

/// `GET /v2/apps/{id}/explain`; an app that is itself called so is shown instead.
pub(super) async fn show(context: &Context, id: &PathId, query: &Query) -> Result<Response, ApiError> {
    let itself = AppPath::Explain(id.clone()).as_app();
    let view = context.read(query.is_stale()).await?;
    let is_app = |id: &PathId| id.app().is_some_and(|app| view.apps.contains(&app));
    if let Some(itself) = itself.filter(is_app) {
        return apps::show(context, &itself, query).await;
    }
    let now = context.now();
    let suspects = context.suspects(&view);
    let explain = |app| scheduler::explain(&view, &app, &suspects, now, context.strategy);
    let explanation = id.app().and_then(explain);
    let explanation = explanation.ok_or_else(|| ApiError::missing_app(id.as_str()))?;
    Ok(Json(ExplanationBody::of(&explanation)).into_response())
}
