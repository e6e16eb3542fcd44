//! For machines that watch this process: `/ping`, `/ready`, `/metrics`.
//!
//! Every master answers them about itself.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::accept;
use super::context::Context;
use super::extract::JSON;

/// What Prometheus' text format is asked for by.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4";

/// The value of `Accept`.
pub(super) fn accepted(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT)?.to_str().ok()
}

/// `GET /ping`: `pong` in the form that is liked best, once this process can do its work.
pub(super) async fn ping(State(context): State<Context>, headers: HeaderMap) -> Response {
    let form = accept::best(accepted(&headers), &["text/plain", JSON, "text/html"]);
    let (status, text) = match context.ready.missing() {
        None => (StatusCode::OK, "pong".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}")),
    };
    match form {
        None if status == StatusCode::OK => StatusCode::NO_CONTENT.into_response(),
        Some(JSON) => (status, [(header::CONTENT_TYPE, JSON)], json!(text).to_string()).into_response(),
        Some("text/html") => (status, [(header::CONTENT_TYPE, "text/html")], text).into_response(),
        _ => (status, [(header::CONTENT_TYPE, "text/plain")], text).into_response(),
    }
}

/// `GET /ready`: whether this master can answer, as an object. A process that only waits to be
/// taken in is alive, which `/ping` says, and not ready.
pub(super) async fn ready(State(context): State<Context>) -> Response {
    let (status, body) = match context.missing() {
        None => (StatusCode::OK, json!({ "ready": true })),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "ready": false, "message": missing })),
    };
    (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

/// `GET /metrics`: Marathon's JSON, OpenMetrics or Prometheus' text, as asked for.
pub(super) async fn metrics(State(context): State<Context>, headers: HeaderMap) -> Response {
    page(&context, accepted(&headers))
}

/// `GET /metrics/prometheus`: Prometheus' text whatever is asked for.
pub(super) async fn metrics_prometheus(State(context): State<Context>) -> Response {
    page(&context, Some(PROMETHEUS_TEXT))
}

fn page(context: &Context, accept: Option<&str>) -> Response {
    let page = context.metrics.render(accept);
    ([(header::CONTENT_TYPE, page.content_type)], page.body).into_response()
}
