//! `/v1/what-if`: what would become of the cluster. Reads and writes nothing.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::only;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::{JsonBytes, Query};
use crate::api::v2::app_writes::put_in_list;
use crate::api::wire::decode::{AppError, parse_body};
use crate::api::wire::what_if::{decode_what_if, outcome_json};
use crate::control::{Edit, Merge, WhatIf};
use crate::domain::{AppId, RunSpec, Violation};

/// `POST /v1/what-if`.
pub(in crate::api) async fn ask(
    State(context): State<Context>,
    query: Query,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, ApiError> {
    only(&query, &["force", "stale"])?;
    let asked = decode_what_if(&parse_body(&bytes)?)?;
    let mut edits: Vec<(String, AppId, Edit)> = Vec::new();
    for (app, instances) in asked.scale {
        edits.push((format!("/scale/{app}"), app, Edit::Patch(to_number(instances))));
    }
    for (at, body) in asked.put.into_iter().enumerate() {
        let (app, edit) = put_in_list(body).map_err(|error| at_path(error, &format!("/put({at})")))?;
        edits.push((format!("/put({at})"), app, edit));
    }
    for (at, app) in asked.delete.into_iter().enumerate() {
        edits.push((format!("/delete({at})"), app, Edit::Remove));
    }
    refuse_repeats(&edits)?;
    let view = context.read(query.is_stale()).await?;
    let force = query.flag("force", false);
    let wish = WhatIf { lose: asked.lose, drain: asked.drain, add: asked.add, edits, force };
    let suspects = context.suspects(&view);
    let outcome = context.control.what_if(view, wish, suspects).await?;
    Ok(Json(outcome_json(&outcome)).into_response())
}

fn to_number(instances: u32) -> Merge {
    Box::new(move |current| Ok(RunSpec { instances, ..current.cloned().unwrap_or_default() }))
}

fn refuse_repeats(edits: &[(String, AppId, Edit)]) -> Result<(), ApiError> {
    let mut seen = BTreeSet::new();
    match edits.iter().find(|(_, app, _)| !seen.insert(app)) {
        Some((path, app, _)) => {
            let twice = format!("'{app}' is named twice; each app may change once");
            Err(AppError::NotValid(vec![Violation::new(path.as_str(), twice)]).into())
        }
        None => Ok(()),
    }
}

/// The same problems below a path.
fn at_path(error: AppError, path: &str) -> AppError {
    let below = |violations: Vec<Violation>| {
        let moved = violations.into_iter().map(|it| {
            let rest = if it.path == "/" { "" } else { it.path.as_str() };
            Violation::new(format!("{path}{rest}"), it.message)
        });
        moved.collect()
    };
    match error {
        AppError::InvalidJson(violations) => AppError::InvalidJson(below(violations)),
        AppError::NotValid(violations) => AppError::NotValid(below(violations)),
    }
}
