//! Apps: looking at them. Source: spec 1.5, 1.6.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::app_path::PathId;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::Query;
use crate::api::wire::app::{AppInfo, Embeds, app_json};
use crate::api::wire::counts::{Counts, task_stats};
use crate::api::wire::selector::Selector;
use crate::api::wire::task::{TaskContext, task_json};
use crate::api::write_request::{unknown_value, warn};
use crate::domain::{AppId, AppVersion, SpecVersion, Timestamp};
use crate::state::{ClusterState, InstanceRow, TaskRow};
use crate::world::blocking;

/// What an answer about apps shows beside their definitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    tasks: bool,
    last_task_failure: bool,
    readiness: bool,
    task_stats: bool,
}

impl Wanted {
    /// What `embed` parameters ask for; unknown ones are passed over, as Marathon does, and
    /// told of.
    fn of(query: &Query) -> (Self, Vec<String>) {
        let (mut wanted, mut warnings) = (Self::default(), Vec::new());
        for embed in query.all("embed") {
            let prefixes = ["group.apps.", "apps.", "app."];
            let name = prefixes.iter().find_map(|prefix| embed.strip_prefix(prefix)).unwrap_or(embed);
            match name {
                "tasks" => wanted.tasks = true,
                "lastTaskFailure" => wanted.last_task_failure = true,
                "failures" => (wanted.tasks, wanted.last_task_failure) = (true, true),
                "readiness" => wanted.readiness = true,
                "taskStats" => wanted.task_stats = true,
                "counts" | "deployments" => {} // Always shown.
                _ => warnings.push(unknown_value("embed", embed)),
            }
        }
        (wanted, warnings)
    }
}

/// Instances with a task that people see.
pub(super) fn shown_tasks<'a>(
    state: &'a ClusterState,
    app: &'a AppId,
) -> impl Iterator<Item = (&'a InstanceRow, &'a TaskRow)> {
    let shown = state.instances_of(app).filter(|instance| !instance.expunged);
    shown.filter_map(|instance| Some((instance, instance.task.as_ref()?)))
}

/// One task that people see.
pub(super) fn shown_task_json(
    state: &ClusterState,
    instance: &InstanceRow,
    task: &TaskRow,
    context: TaskContext,
) -> Value {
    task_json(instance, task, state.content_of(instance).map(|content| &content.spec), context)
}

/// An app and its standing; counts and deployments are always shown.
fn info(state: &ClusterState, app: &AppVersion, wanted: Wanted, now: Timestamp) -> Value {
    let id = &app.app;
    let instances: Vec<&InstanceRow> = state.instances_of(id).collect();
    let tasks = || {
        let shown = shown_tasks(state, id);
        shown.map(|(row, task)| shown_task_json(state, row, task, TaskContext::default())).collect()
    };
    let failure = || state.apps.get(id).and_then(|row| row.last_failure.clone());
    let embeds = Embeds {
        counts: Some(Counts::of(instances.iter().copied())),
        deployments: Some(state.deployments_of(id).map(|row| row.id.clone()).collect()),
        tasks: wanted.tasks.then(tasks),
        last_task_failure: wanted.last_task_failure.then(failure),
        task_stats: wanted.task_stats.then(|| task_stats(&instances, app, now)),
        readiness: wanted.readiness,
    };
    AppInfo { id, app, embeds: &embeds }.json()
}

/// Every app with its current content, in id order.
pub(super) fn all_apps(state: &ClusterState) -> impl Iterator<Item = &AppVersion> {
    state.apps.iter().filter_map(|(id, _)| state.current(id))
}

/// Every app below a group.
///
/// # Errors
/// 404 for a group without apps; the root is always there.
pub(super) fn apps_below<'a>(state: &'a ClusterState, group: &str) -> Result<Vec<&'a AppVersion>, ApiError> {
    let prefix = format!("{}/", group.trim_end_matches('/'));
    let below: Vec<&AppVersion> = all_apps(state).filter(|it| it.app.as_str().starts_with(&prefix)).collect();
    if below.is_empty() && prefix != "/" {
        return Err(ApiError::missing(format!("Group '{group}' does not exist")));
    }
    Ok(below)
}

/// The app that a path names.
///
/// # Errors
/// 404 when there is none.
pub(super) fn found<'a>(state: &'a ClusterState, id: &PathId) -> Result<&'a AppVersion, ApiError> {
    let app = id.app().and_then(|app| state.current(&app));
    app.ok_or_else(|| ApiError::missing_app(id.as_str()))
}

/// `GET /v2/apps`
pub(in crate::api) async fn list(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    let labels = query.get("label").map(Selector::parse).transpose();
    let labels =
        labels.map_err(|error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    let contains = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let view = context.read(query.is_stale()).await?;
    let ((wanted, warnings), now) = (Wanted::of(&query), context.now());
    let work = move || {
        let apps: Vec<Value> = all_apps(&view)
            .filter(|app| query.get("id").is_none_or(|part| contains(app.app.as_str(), part)))
            .filter(|app| {
                query.get("cmd").is_none_or(|part| contains(app.spec.cmd.as_deref().unwrap_or(""), part))
            })
            .filter(|app| labels.as_ref().is_none_or(|labels| labels.matches(&app.spec.labels)))
            .map(|app| info(&view, app, wanted, now))
            .collect();
        Json(json!({ "apps": apps })).into_response()
    };
    let mut response = blocking(work).await;
    warn(&mut response, &warnings);
    Ok(response)
}

/// `GET /v2/apps/{id}`
pub(super) async fn show(context: &Context, id: &PathId, query: &Query) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    let (embedded, warnings) = Wanted::of(query);
    let wanted = Wanted { tasks: true, last_task_failure: true, ..embedded };
    let (id, now) = (id.clone(), context.now());
    let work = move || {
        let app = info(&view, found(&view, &id)?, wanted, now);
        Ok::<_, ApiError>(Json(json!({ "app": app })).into_response())
    };
    let mut response = blocking(work).await?;
    warn(&mut response, &warnings);
    Ok(response)
}

/// `GET /v2/apps/{group}/*`
pub(super) async fn list_group(context: &Context, group: &str, query: &Query) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    let ((wanted, warnings), now) = (Wanted::of(query), context.now());
    let group = group.to_owned();
    let work = move || {
        let apps = apps_below(&view, &group)?.into_iter().map(|app| info(&view, app, wanted, now));
        Ok::<_, ApiError>(Json(json!({ "*": apps.collect::<Vec<_>>() })).into_response())
    };
    let mut response = blocking(work).await?;
    warn(&mut response, &warnings);
    Ok(response)
}

/// `GET /v2/apps/{id}/versions`
pub(super) async fn versions(context: &Context, id: &PathId, query: &Query) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    let app = &found(&view, id)?.app;
    let mut versions: Vec<String> = view.versions_of(app).map(|(version, _)| version.to_string()).collect();
    versions.reverse();
    Ok(Json(json!({ "versions": versions })).into_response())
}

/// `GET /v2/apps/{id}/versions/{version}`
pub(super) async fn version(
    context: &Context,
    id: &PathId,
    version: &str,
    query: &Query,
) -> Result<Response, ApiError> {
    let at = Timestamp::parse(version).ok_or_else(|| {
        let message = format!("Invalid timestamp provided '{version}'. Expecting ISO-8601 datetime string.");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    })?;
    let view = context.read(query.is_stale()).await?;
    let app = &found(&view, id)?.app;
    let content = view.versions.get(&(app.clone(), SpecVersion(at)));
    let content =
        content.ok_or_else(|| ApiError::missing(format!("App '{app}' does not exist in version {at}")))?;
    Ok(Json(Value::Object(app_json(app, content))).into_response())
}
