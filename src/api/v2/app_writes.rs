//! Apps: changing them. Source: spec 1.5.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use crate::api::app_path::PathId;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::wire::app::{AppUpdate, created_json, decode_app, decode_update};
use crate::api::wire::decode::{AppError, parse_body};
use crate::api::wire::deployment::result_json;
use crate::api::write_request::{WriteRequest, warn, written};
use crate::control::{Edit, Merge, Started};
use crate::domain::{AppId, SpecVersion, Violation};

/// An edit as sent, and what was odd about it.
struct Asked {
    merge: Change,
    warnings: Vec<String>,
}

/// The two things that a definition in a PUT or PATCH can mean.
enum Change {
    To(Merge),
    BackTo(SpecVersion),
}

/// Path in a violation, for an element of a list of definitions.
fn in_element(error: AppError, at: usize) -> AppError {
    let inside = |violations: Vec<Violation>| {
        let moved = violations.into_iter().map(|it| {
            let path = if it.path == "/" { String::new() } else { it.path };
            Violation::new(format!("({at}){path}"), it.message)
        });
        moved.collect()
    };
    match error {
        AppError::InvalidJson(violations) => AppError::InvalidJson(inside(violations)),
        AppError::NotValid(violations) => AppError::NotValid(inside(violations)),
    }
}

/// Reads one definition for the app that a path names: the `id` in it is ignored, as in
/// Marathon, and one that names another app is told of.
fn asked_at_path(app: &AppId, body: Value, is_partial: bool) -> Result<Asked, AppError> {
    let other = body.get("id").filter(|id| !id.is_null() && !names(id, app)).is_some();
    let mut asked = asked(app, body, is_partial)?;
    if other {
        asked.warnings.insert(0, format!("field '/id' is ignored: the path names '{app}'"));
    }
    Ok(asked)
}

/// Whether an `id` as clients write it, absolute or within the app's group, is this app's.
fn names(id: &Value, app: &AppId) -> bool {
    let text = id.as_str().unwrap_or_default();
    ["/", app.parent()].iter().any(|group| AppId::resolve(text, group).is_ok_and(|id| id == *app))
}

/// Reads one definition for `app`. The `id` in it is ignored: the caller knows it.
fn asked(app: &AppId, mut body: Value, is_partial: bool) -> Result<Asked, AppError> {
    if let Some(fields) = body.as_object_mut() {
        fields.remove("id");
    }
    if !is_partial {
        let decoded = decode_app(&body, app.parent())?;
        let spec = decoded.spec;
        return Ok(Asked {
            merge: Change::To(Box::new(move |_| Ok(spec.clone()))),
            warnings: decoded.warnings,
        });
    }
    let update = decode_update(&body)?.within(app.parent());
    let warnings = update.warnings.clone();
    if let Some(version) = update.version {
        return Ok(Asked { merge: Change::BackTo(SpecVersion(version)), warnings });
    }
    let group = app.parent().to_owned();
    let merge: Merge = Box::new(move |current| {
        let merged = match current {
            Some(current) => update.merge(current),
            None => decode_app(&body, &group).map(|decoded| decoded.spec),
        };
        Ok(merged?)
    });
    Ok(Asked { merge: Change::To(merge), warnings })
}

impl Change {
    /// As an edit; `may_create` tells PUT from PATCH.
    fn into_edit(self, may_create: bool) -> Edit {
        match self {
            Self::BackTo(version) => Edit::Rollback(version),
            Self::To(merge) if may_create => Edit::Put(merge),
            Self::To(merge) => Edit::Patch(merge),
        }
    }
}

/// The app that a path names, to be changed.
fn named(id: &PathId) -> Result<AppId, ApiError> {
    id.app().ok_or_else(|| ApiError::missing_app(id.as_str()))
}

fn result(status: StatusCode, started: &Started) -> Response {
    written(status, &result_json(started.version, &started.deployment), started)
}

fn locate(response: &mut Response, request: &WriteRequest, app: &AppId) {
    if let Some(location) = request.location_of(app) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

/// `POST /v2/apps`
pub(in crate::api) async fn create(
    State(context): State<Context>,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    let decoded = decode_app(&parse_body(request.json_bytes()?)?, "/")?;
    let missing = || AppError::InvalidJson(vec![Violation::new("/id", "error.path.missing")]);
    let app = decoded.id.ok_or_else(missing)?;
    let edit = Edit::Create(Box::new(decoded.spec.clone()));
    let started = context.control.edit_apps(vec![(app.clone(), edit)], request.options(false)).await?;
    // A repeat under the same idempotency key has the same body, so the same content.
    let spec = started.app.as_ref().map_or(&decoded.spec, |app| &app.spec);
    let body = created_json(&app, spec, started.version, &started.deployment);
    let mut response = written(StatusCode::CREATED, &body, &started);
    locate(&mut response, &request, &app);
    warn(&mut response, &decoded.warnings);
    Ok(response)
}

/// `PUT /v2/apps/{id}`
pub(super) async fn put(
    context: &Context,
    id: &PathId,
    request: &WriteRequest,
) -> Result<Response, ApiError> {
    let app = AppId::parse(id.as_str())
        .map_err(|error| AppError::NotValid(vec![Violation::new("/id", error.to_string())]))?;
    let body = parse_body(request.json_bytes()?)?;
    let asked = asked_at_path(&app, body, request.query.flag("partialUpdate", true))?;
    let edits = vec![(app.clone(), asked.merge.into_edit(true))];
    let started = context.control.edit_apps(edits, request.options(false)).await?;
    let status = if started.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = result(status, &started);
    if started.created {
        locate(&mut response, request, &app);
    }
    warn(&mut response, &asked.warnings);
    Ok(response)
}

/// `PATCH /v2/apps/{id}`
pub(super) async fn patch(
    context: &Context,
    id: &PathId,
    request: &WriteRequest,
) -> Result<Response, ApiError> {
    let body = parse_body(request.json_bytes()?)?;
    let app = named(id)?;
    let asked = asked_at_path(&app, body, true)?;
    let edits = vec![(app, asked.merge.into_edit(false))];
    let started = context.control.edit_apps(edits, request.options(false)).await?;
    let mut response = result(StatusCode::OK, &started);
    warn(&mut response, &asked.warnings);
    Ok(response)
}

/// `PUT /v2/apps`
pub(in crate::api) async fn put_all(
    State(context): State<Context>,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    change_all(&context, &request, true).await
}

/// `PATCH /v2/apps`
pub(in crate::api) async fn patch_all(
    State(context): State<Context>,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    change_all(&context, &request, false).await
}

async fn change_all(
    context: &Context,
    request: &WriteRequest,
    may_create: bool,
) -> Result<Response, ApiError> {
    let is_partial = !may_create || request.query.flag("partialUpdate", true);
    let Value::Array(bodies) = parse_body(request.json_bytes()?)? else {
        return Err(AppError::InvalidJson(vec![Violation::new("/", "error.expected.jsarray")]).into());
    };
    let (mut edits, mut warnings, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (at, body) in bodies.into_iter().enumerate() {
        let app = id_in(&body).map_err(|error| in_element(error, at))?;
        if !seen.insert(app.clone()) {
            let twice = Violation::new("/id", format!("'{app}' is named twice; each app may appear once"));
            return Err(in_element(AppError::NotValid(vec![twice]), at).into());
        }
        let asked = asked(&app, body, is_partial).map_err(|error| in_element(error, at))?;
        warnings.extend(asked.warnings);
        edits.push((app, asked.merge.into_edit(may_create)));
    }
    let started = context.control.edit_apps(edits, request.options(false)).await?;
    let mut response = result(StatusCode::OK, &started);
    warn(&mut response, &warnings);
    Ok(response)
}

/// One definition that names its app itself, as an edit; what is missing stays as it is.
pub(in crate::api) fn put_in_list(body: Value) -> Result<(AppId, Edit), AppError> {
    let app = id_in(&body)?;
    let asked = asked(&app, body, true)?;
    Ok((app, asked.merge.into_edit(true)))
}

/// The id that an element of a list has to name.
fn id_in(body: &Value) -> Result<AppId, AppError> {
    let update: AppUpdate = decode_update(body)?;
    let missing = || AppError::InvalidJson(vec![Violation::new("/id", "error.path.missing")]);
    update.id.ok_or_else(missing)
}

/// `POST /v2/apps/{id}/restart`
pub(super) async fn restart(
    context: &Context,
    id: &PathId,
    request: &WriteRequest,
) -> Result<Response, ApiError> {
    let edits = vec![(named(id)?, Edit::Restart)];
    let started = context.control.edit_apps(edits, request.options(false)).await?;
    Ok(result(StatusCode::OK, &started))
}

/// `DELETE /v2/apps/{id}`; forces unless told otherwise, as Marathon does.
pub(super) async fn remove(
    context: &Context,
    id: &PathId,
    request: &WriteRequest,
) -> Result<Response, ApiError> {
    let edits = vec![(named(id)?, Edit::Remove)];
    let started = context.control.edit_apps(edits, request.options(true)).await?;
    Ok(result(StatusCode::OK, &started))
}
