//! Our own paths: what Marathon never had. Unknown fields and parameters are refused here.

pub(super) mod rebalance;
pub(super) mod resilience;
pub(super) mod what_if;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::context::{Context, ReplaceError, Replaced};
use super::error::ApiError;
use super::extract::{JsonBytes, Query};
use crate::api::wire;
use crate::domain::{Reserved, Resources, Violation};
use crate::scheduler::{self, Suspicion};
use crate::state::{AgentRow, Presence};

/// Refuses query parameters that do not exist, so that typos are seen.
fn only(query: &Query, known: &[&str]) -> Result<(), ApiError> {
    match query.names().find(|name| !known.contains(name)) {
        Some(name) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("Unknown query parameter '{name}'. Known here: {known}.");
            Err(ApiError::new(StatusCode::BAD_REQUEST, message))
        }
        None => Ok(()),
    }
}

/// `GET /v1/offers`: what every agent has spare, at one index, and whose offers are held back.
pub(super) async fn offers(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &["stale"])?;
    let view = context.read(query.is_stale()).await?;
    let offers = scheduler::make_offers(&view, &context.suspects(&view));
    Ok(Json(wire::offer::offers_json(view.index, &offers)).into_response())
}

/// `GET /v1/agents`: every machine that ever registered, and how it is connected, where this master
/// leads.
pub(super) async fn agents(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &["stale"])?;
    let view = context.read(query.is_stale()).await?;
    let suspects = context.suspects(&view);
    let shown = |row: &AgentRow| agent_json(row, suspects.get(&row.info.id).copied());
    let agents: Vec<Value> = view.agents.values().map(|row| shown(row)).collect();
    Ok(Json(json!({ "index": view.index, "agents": agents })).into_response())
}

fn agent_json(row: &AgentRow, suspicion: Option<Suspicion>) -> Value {
    let attributes: serde_json::Map<String, Value> =
        row.info.attributes.iter().map(|(name, value)| (name.clone(), value.to_string().into())).collect();
    let (presence, unreachable_since) = match row.presence {
        Presence::Registered => (suspicion.and_then(Suspicion::presence).unwrap_or("registered"), None),
        Presence::Unreachable { since } => ("unreachable", Some(since.to_string())),
    };
    json!({
        "id": row.info.id.as_str(),
        "hostname": row.info.hostname,
        "http": row.info.http,
        "presence": presence,
        "unreachableSince": unreachable_since,
        "totals": resources_json(&row.info.totals),
        "used": resources_json(&row.used),
        "reserved": by_role_json(&row.info.reserved),
        "usedReserved": by_role_json(&row.drawn),
        "heldPorts": row.held_ports.to_string(),
        "attributes": attributes,
        "hasDocker": row.info.has_docker,
        "hindrances": row.hindrances.all().collect::<Vec<_>>(),
        "version": row.info.version,
        "firstRegisteredAt": row.registered_at.to_string(),
        "startedAt": row.info.incarnation.started.to_string(),
    })
}

fn by_role_json(reserved: &Reserved) -> Value {
    let parts = reserved.iter().map(|(role, part)| (role.clone(), resources_json(part)));
    Value::Object(parts.collect())
}

fn resources_json(resources: &Resources) -> Value {
    json!({
        "cpus": resources.cpus.to_f64(),
        "mem": resources.mem.to_f64(),
        "disk": resources.disk.to_f64(),
        "gpus": resources.gpus.to_f64(),
        "ports": resources.ports.to_string(),
    })
}

/// `GET /v1/members`: the masters of the quorum, as this one knows them.
pub(super) async fn members(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &[])?;
    let leadership = context.leadership();
    let leader = leadership.leader.map(|leader| leader.node);
    let members: Vec<Value> = context
        .members
        .list()
        .into_iter()
        .map(|member| {
            json!({
                // Text, because ids use all 64 bits and many JSON readers keep only 53.
                "id": member.master.node.to_string(),
                "http": member.master.http,
                "cluster": member.master.cluster,
                "votes": member.votes,
                "leads": Some(member.master.node) == leader,
            })
        })
        .collect();
    Ok(Json(json!({ "term": leadership.term, "members": members })).into_response())
}

/// What to send to `POST /v1/members/replace`.
const REPLACE_ADVICE: &str =
    "Send {\"old\": id, \"new\": id} with ids as 'platformd members list' shows them.";

/// Ids of the master that goes and of the one that comes.
///
/// # Errors
/// 400 for what is no JSON, 422 with a path for every field that is wrong.
fn replace_in(bytes: &[u8]) -> Result<(u64, u64), ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let message = format!("The body is empty. {REPLACE_ADVICE}");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    let body: Value = serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_eof() { ": it breaks off" } else { "" };
        let (line, column) = (error.line(), error.column());
        let message = format!("The body is not JSON{what} at line {line}, column {column}. {REPLACE_ADVICE}");
        ApiError::new(StatusCode::BAD_REQUEST, message)
    })?;
    let Some(fields) = body.as_object() else {
        let object = Violation::new("/", "expected an object, {\"old\": id, \"new\": id}");
        return Err(bad_fields(&[object]));
    };
    let mut wrong = Vec::new();
    let mut id = |name: &str| {
        let found = fields.get(name);
        // Text or number: ids use all 64 bits and many JSON writers keep only 53.
        let id = found.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        if id.is_none() {
            let missing = if found.is_none() { "is missing, " } else { "" };
            let message = format!("{missing}expected the id of a master as text or number, such as \"4711\"");
            wrong.push(Violation::new(format!("/{name}"), message));
        }
        id
    };
    let (old, new) = (id("old"), id("new"));
    for name in fields.keys().filter(|name| !["old", "new"].contains(&name.as_str())) {
        wrong.push(Violation::new(format!("/{name}"), "is not known; expected old and new"));
    }
    match (old, new, wrong.as_slice()) {
        (Some(old), Some(new), []) => Ok((old, new)),
        _ => Err(bad_fields(&wrong)),
    }
}

/// 422 that says it all in its message, and again by path.
fn bad_fields(wrong: &[Violation]) -> ApiError {
    let message = wrong.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ");
    let details: Vec<Value> =
        wrong.iter().map(|it| json!({ "path": it.path, "errors": [it.message] })).collect();
    let body = json!({ "message": message, "details": details });
    ApiError::with_body(StatusCode::UNPROCESSABLE_ENTITY, body)
}

/// `POST /v1/members/replace`: a new master takes the place of one that will not return. A repeat
/// says that it is done.
pub(super) async fn replace_member(
    State(context): State<Context>,
    query: Query,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, ApiError> {
    only(&query, &[])?;
    let (old, new) = replace_in(&bytes)?;
    let message = match context.members.replace(old, new).await? {
        Replaced::Now => format!("Master {new} took the place of {old}."),
        Replaced::Before => format!("Master {new} is a member already and {old} is none: nothing to do."),
    };
    Ok(Json(json!({ "message": message })).into_response())
}

impl From<ReplaceError> for ApiError {
    fn from(error: ReplaceError) -> Self {
        match error {
            ReplaceError::NotAMember(why) => {
                let details = json!([{ "path": "/old", "errors": [why] }]);
                let body = json!({ "message": why, "details": details });
                Self::with_body(StatusCode::UNPROCESSABLE_ENTITY, body)
            }
            ReplaceError::Conflict(why) => Self::new(StatusCode::CONFLICT, why),
            ReplaceError::Unavailable(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testkit::Playground;

    #[test]
    fn an_agent_that_is_not_heard_is_not_shown_as_there() {
        let mut ground = Playground::with_agents(1);
        let check = |ground: &Playground, suspicion: Option<Suspicion>, wanted: &str| {
            let row = ground.state.agents.values().next().unwrap();
            assert_eq!(agent_json(row, suspicion)["presence"], wanted);
        };
        let (lasts, limit) = (Duration::from_secs(4), Duration::from_secs(10));
        check(&ground, None, "registered");
        check(&ground, Some(Suspicion::Drained), "registered");
        check(&ground, Some(Suspicion::Silent { lasts, limit }), "suspect");
        check(&ground, Some(Suspicion::Closed { lasts, limit }), "disconnected");
        check(&ground, Some(Suspicion::NotYetBack), "disconnected");
        ground.agent_lost("a1");
        check(&ground, Some(Suspicion::NotYetBack), "unreachable");
    }
}
