//! Our own paths: what Marathon never had. Unknown fields and parameters are refused here.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::context::{Context, ReplaceError};
use super::error::ApiError;
use super::extract::{JsonBytes, Query};
use crate::api::wire;
use crate::domain::Resources;
use crate::scheduler;
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

/// `GET /v1/offers`: what every agent has spare, at one index.
pub(super) async fn offers(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &["stale"])?;
    let view = context.read(query.is_stale()).await?;
    let offers = scheduler::make_offers(&view);
    Ok(Json(wire::offer::offers_json(view.index, &offers)).into_response())
}

/// `GET /v1/agents`: every machine that ever registered.
pub(super) async fn agents(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    only(&query, &["stale"])?;
    let view = context.read(query.is_stale()).await?;
    let agents: Vec<Value> = view.agents.values().map(|row| agent_json(row)).collect();
    Ok(Json(json!({ "index": view.index, "agents": agents })).into_response())
}

fn agent_json(row: &AgentRow) -> Value {
    let attributes: serde_json::Map<String, Value> =
        row.info.attributes.iter().map(|(name, value)| (name.clone(), value.to_string().into())).collect();
    let (presence, unreachable_since) = match row.presence {
        Presence::Registered => ("registered", None),
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
        "heldPorts": row.held_ports.to_string(),
        "attributes": attributes,
        "hasDocker": row.info.has_docker,
        "version": row.info.version,
        "firstRegisteredAt": row.registered_at.to_string(),
        "startedAt": row.info.incarnation.started.to_string(),
    })
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

/// Body of `POST /v1/members/replace`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    #[serde(deserialize_with = "node_id")]
    old: u64,
    #[serde(deserialize_with = "node_id")]
    new: u64,
}

/// A master's id as number or as text.
fn node_id<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(from)?;
    let id = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    id.ok_or_else(|| serde::de::Error::custom("expected a master's id, such as \"4711\""))
}

/// `POST /v1/members/replace`: a new master takes the place of one that will not return.
pub(super) async fn replace_member(
    State(context): State<Context>,
    query: Query,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, ApiError> {
    only(&query, &[])?;
    let Replace { old, new } = serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("Body must be {{\"old\": id, \"new\": id}}: {error}"),
        ),
        _ => ApiError::unparseable(error.to_string()),
    })?;
    match context.members.replace(old, new).await {
        Ok(()) => {
            Ok(Json(json!({ "message": format!("Master {new} took the place of {old}.") })).into_response())
        }
        Err(ReplaceError::Unknown(why)) => Err(ApiError::new(StatusCode::NOT_FOUND, why)),
        Err(ReplaceError::Unavailable(why)) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why)),
    }
}
