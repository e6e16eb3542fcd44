//! Tasks of all apps: looking at them, killing them. Source: spec 1.8, 9.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::apps::{all_apps, shown_task_json, shown_tasks};
use crate::api::accept;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::{JSON, Query};
use crate::api::ops::accepted;
use crate::api::wire::decode::{AppError, parse_body};
use crate::api::wire::deployment::result_json;
use crate::api::wire::task::{AppTasks, TaskContext, state_name, tasks_text};
use crate::api::write_request::{WriteRequest, unknown_value, warn, written, written_at};
use crate::control::Kill;
use crate::domain::{AppVersion, TaskId, Violation};
use crate::state::{ClusterState, InstanceRow, TaskRow};
use crate::world::blocking;

/// What old bridges ask for.
const TEXT: &str = "text/plain";

/// Tasks that one request may kill; more would make one log entry too large.
const VICTIMS_MAX: usize = 10_000;

/// Whether the client prefers the text form; JSON wins when it does not care.
pub(super) fn wants_text(headers: &HeaderMap) -> bool {
    accept::best(accepted(headers), &[JSON, TEXT]) == Some(TEXT)
}

/// The text form.
pub(super) fn text_answer<'a>(state: &'a ClusterState, apps: &[&'a AppVersion]) -> Response {
    let line = |app: &&'a AppVersion| {
        let instances = state.instances_of(&app.app).collect();
        AppTasks { id: &app.app, spec: &app.spec, instances }
    };
    let lines: Vec<AppTasks> = apps.iter().map(line).collect();
    ([(header::CONTENT_TYPE, TEXT)], tasks_text(&lines)).into_response()
}

/// The states that `status` parameters ask for; unknown ones are passed over and told of,
/// and without a known one nothing is filtered.
fn wanted_states(query: &Query) -> (Vec<&'static str>, Vec<String>) {
    let (mut states, mut warnings) = (Vec::new(), Vec::new());
    for name in ["status", "status[]"] {
        for word in query.all(name) {
            match word.to_ascii_lowercase().as_str() {
                "running" => states.push("TASK_RUNNING"),
                "staging" => states.push("TASK_STAGING"),
                _ => warnings.push(unknown_value(name, word)),
            }
        }
    }
    (states, warnings)
}

/// Tasks whose app was removed and that have not ended yet, such as in a long grace period:
/// they hold their resources, so people must see them. An app that is gone has no service ports.
fn orphans(state: &ClusterState) -> impl Iterator<Item = (&InstanceRow, &TaskRow)> {
    let of_nobody = |row: &&InstanceRow| !row.expunged && !state.apps.contains(&row.app);
    let rows = state.instances.values().map(|row| &**row).filter(of_nobody);
    rows.filter_map(|row| Some((row, row.task.as_ref().filter(|task| task.is_live())?)))
}

/// `GET /v2/tasks`
pub(in crate::api) async fn list(
    State(context): State<Context>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    if wants_text(&headers) {
        return Ok(blocking(move || text_answer(&view, &all_apps(&view).collect::<Vec<_>>())).await);
    }
    let (states, warnings) = wanted_states(&query);
    let mut response = blocking(move || all_tasks(&view, &states)).await;
    warn(&mut response, &warnings);
    Ok(response)
}

/// The JSON form of all tasks in one of these states, or without any in whichever.
fn all_tasks(state: &ClusterState, states: &[&str]) -> Response {
    let is_wanted = |task: &TaskRow| states.is_empty() || states.contains(&state_name(task));
    let shown = all_apps(state).flat_map(|app| shown_tasks(state, &app.app));
    let of_apps = shown.map(|(row, task)| (row, task, TaskContext { service_ports: true }));
    let orphans = orphans(state).map(|(row, task)| (row, task, TaskContext::default()));
    let tasks: Vec<Value> = of_apps
        .chain(orphans)
        .filter(|(_, task, _)| is_wanted(task))
        .map(|(row, task, context)| shown_task_json(state, row, task, context))
        .collect();
    Json(json!({ "tasks": tasks })).into_response()
}

/// `POST /v2/tasks/delete`
pub(in crate::api) async fn delete(
    State(context): State<Context>,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    let body = parse_body(request.json_bytes()?)?;
    let (ids, warnings) = ids_in(&body)?;
    let view = context.read(false).await?;
    let is_shown = |id: &TaskId| view.task(id).is_some_and(|(instance, _)| !instance.expunged);
    let known = ids.into_iter().filter(is_shown).collect();
    let mut response = kill(&context, &view, Victims::Several(known), &request).await?;
    warn(&mut response, &warnings);
    Ok(response)
}

/// `{"ids": […]}`, and unknown fields beside it.
fn ids_in(body: &Value) -> Result<(Vec<TaskId>, Vec<String>), ApiError> {
    let wrong = |path: String, code: &str| AppError::InvalidJson(vec![Violation::new(path, code)]);
    let fields = body.as_object().ok_or_else(|| wrong("/".into(), "error.expected.jsobject"))?;
    let ids = fields.get("ids").ok_or_else(|| wrong("/ids".into(), "error.path.missing"))?;
    let ids = ids.as_array().ok_or_else(|| wrong("/ids".into(), "error.expected.jsarray"))?;
    if ids.len() > VICTIMS_MAX {
        let message = format!("No more than {VICTIMS_MAX} tasks can be killed by one request.");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    let mut tasks = Vec::with_capacity(ids.len());
    for (at, id) in ids.iter().enumerate() {
        let text = id.as_str().ok_or_else(|| wrong(format!("/ids({at})"), "error.expected.jsstring"))?;
        let task = TaskId::new(text);
        if task.parts().is_none() {
            let why = "expected <app>.instance-<uuid>._app.<attempt>";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("Invalid task id '{text}'. [{why}]")));
        }
        tasks.push(task);
    }
    let unknown = fields.keys().filter(|name| *name != "ids").map(|name| format!("unknown field '/{name}'"));
    Ok((tasks, unknown.collect()))
}

/// Tasks to be killed, and the form of the answer.
pub(super) enum Victims {
    /// Answered as `{"task": …}`.
    One(TaskId),
    /// Answered as `{"tasks": […]}`.
    Several(Vec<TaskId>),
}

impl Victims {
    fn ids(&self) -> &[TaskId] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Several(ids) => ids,
        }
    }
}

/// Kills tasks as `scale`, `wipe` and `force` say, and shows them as they were just before.
pub(super) async fn kill(
    context: &Context,
    view: &ClusterState,
    victims: Victims,
    request: &WriteRequest,
) -> Result<Response, ApiError> {
    let kill = match (request.query.flag("scale", false), request.query.flag("wipe", false)) {
        (true, true) => {
            let message = "You cannot use scale and wipe at the same time.";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        }
        (true, false) => Kill::Scale,
        (false, true) => Kill::Wipe,
        (false, false) => Kill::Relaunch,
    };
    let rows = victims.ids().iter().filter_map(|id| view.task(id));
    let mut before: Vec<Value> =
        rows.map(|(row, task)| shown_task_json(view, row, task, TaskContext::default())).collect();
    let started = context.control.kill_tasks(victims.ids().to_vec(), kill, request.options(false)).await?;
    if let Some(started) = started {
        let body = result_json(started.version, &started.deployment);
        return Ok(written(StatusCode::OK, &body, &started));
    }
    let body = match victims {
        Victims::One(_) => json!({ "task": before.pop() }),
        Victims::Several(_) => json!({ "tasks": before }),
    };
    // Recorded at this index or before it.
    let index = context.store().snapshot().index;
    Ok(written_at(StatusCode::OK, &body, index))
}
