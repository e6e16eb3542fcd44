//! Headers that every answer carries, and the count of every request. Source: spec 1.1.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::context::Context;

/// Base URL of the leader.
pub const LEADER: HeaderName = HeaderName::from_static("x-marathon-leader");

/// Masters that a request went through.
pub const VIA: HeaderName = HeaderName::from_static("x-marathon-via");

/// State index at which a write is recorded.
pub const INDEX: HeaderName = HeaderName::from_static("x-platformd-index");

/// Nothing was done, because the master that was asked leads no more.
pub const FORMER_LEADER: HeaderName = HeaderName::from_static("x-platformd-former-leader");

/// Deployment that a write started.
pub const DEPLOYMENT: HeaderName = HeaderName::from_static("marathon-deployment-id");

/// The same for every answer; an answer that says otherwise itself is left alone.
const FIXED: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate")),
    (header::PRAGMA, HeaderValue::from_static("no-cache")),
    (header::EXPIRES, HeaderValue::from_static("0")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
];

/// Counts a request and completes the headers of its answer.
pub(super) async fn complete(State(context): State<Context>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let metrics = context.metrics.api();
    let _active = metrics.begin();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    for (name, value) in FIXED {
        response.headers_mut().entry(name).or_insert(value);
    }
    name_leader(&context, response.headers_mut());
    let route = route.as_ref().map(MatchedPath::as_str);
    metrics.answered(method.as_str(), route, response.status().as_u16(), began.elapsed());
    response
}

/// A passed-on answer keeps the leader's own word.
fn name_leader(context: &Context, headers: &mut HeaderMap) {
    if headers.contains_key(LEADER) {
        return;
    }
    let leader = context.leadership().leader.map(|leader| format!("http://{}", leader.http));
    if let Some(value) = leader.and_then(|leader| HeaderValue::try_from(leader).ok()) {
        headers.insert(LEADER, value);
    }
}
