//! Floor 6: HTTP and JSON. Marathon's API, letter by letter, and our own beside it.
//!
//! Ways in: [`router`] and [`serve()`]. A handler decodes, asks and encodes; shapes lie in
//! `wire`, meaning in `control`. Knows no Raft, no agents, no planning.

mod accept;
mod app_path;
mod context;
mod credentials;
mod error;
mod extract;
mod headers;
mod leader_proxy;
mod ops;
mod serve;
mod ui;
mod v1;
mod v2;
pub mod wire;
mod write_request;

use std::any::Any;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::control::ControlError;

pub use context::{Abdicate, Attendance, Context, Member, Members, Readiness, ReplaceError, Replaced};
pub use credentials::{Credentials, CredentialsError, guarded};
pub use error::ApiError;
pub use extract::BODY_BYTES_MAX;
pub use leader_proxy::LEADER_WAIT;
pub use serve::serve;

/// Paths where a POST changes nothing.
const QUESTIONS: [&str; 1] = ["/v1/what-if"];

/// The whole route table.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/", get(ui::home))
        .route("/ui", get(ui::home))
        .route("/ui/", get(ui::page))
        .route("/ping", get(ops::ping))
        .route("/ready", get(ops::ready))
        .route("/metrics", get(ops::metrics))
        .route("/metrics/prometheus", get(ops::metrics_prometheus))
        .route("/v1/offers", get(v1::offers))
        .route("/v1/agents", get(v1::agents))
        .route("/v1/resilience", get(v1::resilience::show))
        .route(
            "/v1/rebalance",
            get(v1::rebalance::plan).post(v1::rebalance::apply).delete(v1::rebalance::stop),
        )
        .route("/v1/what-if", post(v1::what_if::ask))
        .route("/v1/members", get(v1::members))
        .route("/v1/members/replace", post(v1::replace_member))
        .merge(v2_routes())
        .fallback(unknown_uri)
        .method_not_allowed_fallback(method_not_allowed)
        // Bottom to top: the last layer is the outermost.
        .layer(middleware::from_fn(name_odd_flags))
        .layer(middleware::from_fn(within_deadline))
        .layer(middleware::from_fn_with_state(context.clone(), leader_proxy::forward_unless_leader))
        .layer(middleware::from_fn(refuse_large_bodies))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(context.clone(), headers::complete))
        .with_state(context)
}

fn v2_routes() -> Router<Context> {
    let below_apps = get(v2::app_path::get)
        .post(v2::app_path::post)
        .put(v2::app_path::put)
        .patch(v2::app_path::patch)
        .delete(v2::app_path::delete);
    let all_apps = get(v2::apps::list)
        .post(v2::app_writes::create)
        .put(v2::app_writes::put_all)
        .patch(v2::app_writes::patch_all);
    let fixed = [
        ("/v2/apps", all_apps),
        ("/v2/tasks", get(v2::tasks::list)),
        ("/v2/tasks/delete", post(v2::tasks::delete)),
        ("/v2/deployments", get(v2::deployments::list)),
        ("/v2/queue", get(v2::queue::list)),
        ("/v2/info", get(v2::info::info)),
        ("/v2/leader", get(v2::leader::get).delete(v2::leader::abdicate)),
        ("/v2/plugins", get(v2::info::plugins)),
    ];
    let mut routes = Router::new()
        .route("/v2/apps/{*rest}", below_apps)
        .route("/v2/deployments/{id}", delete(v2::deployments::cancel))
        .route("/v2/queue/{*rest}", delete(v2::queue::reset_delay))
        .route("/v2/plugins/{plugin}/{*rest}", any(v2::info::plugin));
    for (path, methods) in fixed {
        // Marathon's servlet does not mind a slash at the end, so clients send one.
        routes = routes.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    routes
}

async fn unknown_uri() -> ApiError {
    ApiError::unknown_uri()
}

async fn method_not_allowed() -> ApiError {
    ApiError::plain(StatusCode::METHOD_NOT_ALLOWED)
}

/// Says no to a body whose announced size is too large, on whichever master it arrives.
async fn refuse_large_bodies(request: Request, next: Next) -> Response {
    let is_large =
        extract::declared_length(request.headers()).is_some_and(|size| size > BODY_BYTES_MAX as u64);
    if !is_large {
        return next.run(request).await;
    }
    // A client that asked before sending gets its answer at once and sends nothing.
    if !request.headers().contains_key(axum::http::header::EXPECT) {
        extract::discard(request.into_body()).await;
    }
    extract::too_large().into_response()
}

/// Tells of switches such as `force=1`, which count as false.
async fn name_odd_flags(query: extract::Query, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    write_request::warn(&mut response, &query.odd_flags());
    response
}

/// Gives up on a request that takes too long, such as a write behind many others.
async fn within_deadline(request: Request, next: Next) -> Response {
    let is_question = request.method().is_safe() || QUESTIONS.contains(&request.uri().path());
    let limit = leader_proxy::WORK_TIMEOUT;
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) if is_question => {
            let waited = format!("no answer within {} s; this master has too much to do", limit.as_secs());
            ApiError::from(ControlError::Unavailable(waited)).into_response()
        }
        Err(_) => {
            let waited = format!("waited {} s", limit.as_secs());
            ApiError::from(ControlError::OutcomeUnknown(waited)).into_response()
        }
    }
}

/// A bug: the request fails, the process and the other requests go on.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let said = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = said, "a request handler panicked; please report this");
    let message = "Internal error. Please report it with the master's log.";
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}
