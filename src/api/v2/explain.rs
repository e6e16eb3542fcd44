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
use crate::world::blocking;

/// `GET /v2/apps/{id}/explain`; an app that is itself called so is shown instead.
pub(super) async fn show(context: &Context, id: &PathId, query: &Query) -> Result<Response, ApiError> {
    let itself = AppPath::Explain(id.clone()).as_app();
    let view = context.read(query.is_stale()).await?;
    let is_app = |id: &PathId| id.app().is_some_and(|app| view.apps.contains(&app));
    if let Some(itself) = itself.filter(is_app) {
        return apps::show(context, &itself, query).await;
    }
    let now = context.now();
    let (suspects, strategy) = (context.suspects(&view), context.strategy);
    let missing = || ApiError::missing_app(id.as_str());
    let app = id.app().ok_or_else(missing)?;
    let work = move || {
        let explanation = scheduler::explain(&view, &app, &suspects, now, strategy)?;
        Some(Json(ExplanationBody::of(&explanation)).into_response())
    };
    blocking(work).await.ok_or_else(missing)
}
