//! `/v1/resilience`: which agents could each be lost alone with everything still placed.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::only;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::Query;
use crate::api::wire::what_if::{LISTED_MAX, bounded};
use crate::control::ControlError;
use crate::forecast::Indispensable;

/// `GET /v1/resilience`: what the leader found when it last looked.
pub(in crate::api) async fn show(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &[])?;
    let Some(look) = context.resilience.borrow().clone() else {
        let why = "the leader has not looked yet which agents could be lost; it does so within seconds";
        return Err(ControlError::Unavailable(why.to_owned()).into());
    };
    let found = &look.survey;
    let (indispensable, left_out) = bounded(&found.indispensable, LISTED_MAX, agent_json);
    let body = json!({
        "index": found.index,
        "at": look.at.to_string(),
        "tookMillis": u64::try_from(look.took.as_millis()).unwrap_or(u64::MAX),
        "agents": found.agents,
        "dispensable": found.dispensable(),
        "indispensable": indispensable,
        "indispensableLeftOut": left_out,
    });
    Ok(Json(body).into_response())
}

fn agent_json(found: &Indispensable) -> Value {
    let waits: serde_json::Map<String, Value> =
        found.waits.iter().map(|(app, count)| (app.to_string(), json!(count))).collect();
    json!({ "agent": found.agent.as_str(), "hostname": found.hostname, "waits": waits })
}
