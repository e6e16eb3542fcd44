//! What waits to be launched, and why. Source: spec 5.8.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::app_path::AppPath;
use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::{Query, below};
use crate::api::headers::INDEX;
use crate::api::wire;
use crate::api::wire::app::app_json;
use crate::api::wire::queue::{QueueItem, item_json};
use crate::api::write_request::{unknown_value, warn};
use crate::domain::{AppId, Timestamp};
use crate::scheduler::{self, Funnel, Suspects};
use crate::state::ClusterState;
use crate::world::blocking;

/// Declined offers that one item lists; one per agent would swell the answer on large clusters.
const UNUSED_OFFERS_MAX: usize = 1_000;

/// Instances of one app that wait, of whichever content.
struct Waiting {
    count: usize,
    since: Timestamp,
    backing_off_until: Timestamp,
}

/// Everything that waits, by app.
fn waiting_by_app(state: &ClusterState, now: Timestamp) -> BTreeMap<AppId, Waiting> {
    let mut by_app: BTreeMap<AppId, Waiting> = BTreeMap::new();
    for group in scheduler::waiting(state, now) {
        let none = Waiting { count: 0, since: group.since(), backing_off_until: Timestamp::default() };
        let entry = by_app.entry(group.app.clone()).or_insert(none);
        entry.count += group.instances.len();
        entry.since = entry.since.min(group.since());
        entry.backing_off_until = entry.backing_off_until.max(group.backing_off_until.unwrap_or_default());
    }
    by_app
}

/// `GET /v2/queue`
pub(in crate::api) async fn list(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    let (offers, unknown): (Vec<&str>, Vec<&str>) =
        query.all("embed").partition(|embed| *embed == "lastUnusedOffers");
    let warnings: Vec<String> = unknown.iter().map(|value| unknown_value("embed", value)).collect();
    let view = context.read(query.is_stale()).await?;
    let now = context.now();
    let asked = Asked { suspects: context.suspects(&view), now, with_offers: !offers.is_empty() };
    let work = move || {
        let waiting = waiting_by_app(&view, now);
        let items = waiting.iter().filter_map(|(app, waiting)| item(&view, app, waiting, &asked));
        Json(json!({ "queue": items.collect::<Vec<_>>() })).into_response()
    };
    let mut response = blocking(work).await;
    warn(&mut response, &warnings);
    Ok(response)
}

/// What is the same for all items of one answer.
struct Asked {
    suspects: Suspects,
    now: Timestamp,
    with_offers: bool,
}

fn item(state: &ClusterState, app: &AppId, waiting: &Waiting, asked: &Asked) -> Option<Value> {
    let (now, content) = (asked.now, state.current(app)?);
    let unused_max = if asked.with_offers { UNUSED_OFFERS_MAX } else { 0 };
    let funnel = scheduler::funnel(state, app, &asked.suspects, unused_max)?;
    let unused = funnel.processed.saturating_sub(funnel.suitable);
    // Nothing is remembered of earlier offers: what an agent has spare now is its last offer.
    let summary = summary_of(&funnel);
    let mut item = item_json(&QueueItem {
        count: u32::try_from(waiting.count).unwrap_or(u32::MAX),
        role: content.spec.role.clone(),
        delay: waiting.backing_off_until.since(now),
        since: waiting.since,
        processed_offers: funnel.processed.into(),
        unused_offers: unused.into(),
        last_unused_at: (unused > 0).then_some(now),
        last_used_at: None,
        last_offers: summary.clone(),
        launch_attempt: summary,
        app: Value::Object(app_json(app, content)),
    });
    if let Some(fields) = item.as_object_mut().filter(|_| asked.with_offers) {
        fields.insert("lastUnusedOffers".to_owned(), unused_offers(&funnel, now));
    }
    Some(item)
}

fn summary_of(funnel: &Funnel) -> wire::queue::Funnel {
    let declined = funnel.summary.iter().map(|line| (line.reason, line.declined.into())).collect();
    wire::queue::Funnel { processed: funnel.processed.into(), declined }
}

fn unused_offers(funnel: &Funnel, now: Timestamp) -> Value {
    let unused = funnel.unused.iter().map(|unused| {
        json!({
            "offer": wire::offer::offer_json(&unused.offer),
            "reason": [unused.reason.as_str()],
            "timestamp": now.to_string(),
        })
    });
    unused.collect()
}

/// `DELETE /v2/queue/{id}/delay`
pub(in crate::api) async fn reset_delay(
    State(context): State<Context>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let rest = below(&uri, "/v2/queue/");
    let id = rest.trim_end_matches('/').strip_suffix("/delay").ok_or_else(ApiError::unknown_uri)?;
    let AppPath::App(id) = AppPath::parse(id) else { return Err(ApiError::unknown_uri()) };
    let missing = || ApiError::missing(format!("Application {} not found in tasks queue.", id.as_str()));
    context.control.reset_delay(&id.app().ok_or_else(missing)?).await?;
    let index = context.store().snapshot().index;
    Ok((StatusCode::NO_CONTENT, [(INDEX, index.to_string())]).into_response())
}
