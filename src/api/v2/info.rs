//! What this is: build, settings, leader; and plugins, of which there are none. Source: spec 1.9.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::context::Context;
use crate::api::error::ApiError;
use crate::api::extract::{Query, below};
use crate::api::leader_proxy::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};
use crate::control::SERVICE_PORTS;
use crate::domain::ClusterId;

/// The Marathon that clients should take us for; they branch on it. Source: spec 13.
const MARATHON_VERSION: &str = "1.11.24";

/// `GET /v2/info`
pub(in crate::api) async fn info(State(context): State<Context>, query: Query) -> Result<Response, ApiError> {
    let view = context.read(query.is_stale()).await?;
    let leadership = context.leadership();
    let (host, port) = context.me.http.rsplit_once(':').unwrap_or((&context.me.http, ""));
    let body = json!({
        "name": "marathon",
        "version": MARATHON_VERSION,
        "buildref": concat!("platformd-", env!("CARGO_PKG_VERSION")),
        "elected": leadership.leads,
        "leader": leadership.leader.map(|leader| leader.http),
        "frameworkId": view.cluster.as_ref().map(ClusterId::as_str),
        "marathon_config": marathon_config(host, &context.me.cluster),
        "zookeeper_config": zookeeper_config(),
        "http_config": { "http_port": port.parse::<u16>().ok(), "https_port": null },
    });
    Ok(Json(body).into_response())
}

/// Marathon's settings: ours where we have the like, its defaults where nothing depends on them.
fn marathon_config(host: &str, cluster: &str) -> Value {
    let (from, to) = SERVICE_PORTS;
    let mut config = json!({
        "access_control_allow_origin": null,
        "checkpoint": true,
        "decline_offer_duration": 120_000,
        "default_network_name": null,
        "env_vars_prefix": null,
        "executor": "//cmd",
        "failover_timeout": 604_800,
        "features": [],
        "framework_name": "marathon",
        "ha": true,
        "hostname": host,
        "launch_token": 100,
        "launch_token_refresh_interval": 30_000,
        "leader_proxy_connection_timeout_ms": u64::try_from(CONNECT_TIMEOUT.as_millis()).ok(),
        "leader_proxy_read_timeout_ms": u64::try_from(ANSWER_TIMEOUT.as_millis()).ok(),
        "local_port_min": from,
        "local_port_max": to,
        "master": cluster,
        "max_instances_per_offer": 5,
        "mesos_bridge_name": "mesos-bridge",
        "mesos_heartbeat_failure_threshold": 5,
        "mesos_heartbeat_interval": 15_000,
        "mesos_leader_ui_url": null,
        "mesos_role": "*",
        "mesos_user": null,
        "new_group_enforce_role": "off",
    });
    let rest = json!({
        "min_revive_offers_interval": 5_000,
        "offer_matching_timeout": 3_000,
        "on_elected_prepare_timeout": 180_000,
        "reconciliation_initial_delay": 15_000,
        "reconciliation_interval": 600_000,
        "scale_apps_initial_delay": 15_000,
        "scale_apps_interval": 300_000,
        "store_cache": true,
        "task_launch_confirm_timeout": 300_000,
        "task_launch_timeout": 300_000,
        "task_lost_expunge_initial_delay": 300_000,
        "task_lost_expunge_interval": 30_000,
        "task_reservation_timeout": 20_000,
        "webui_url": null,
        "maintenance_mode": true,
    });
    if let (Value::Object(config), Value::Object(rest)) = (&mut config, rest) {
        config.extend(rest);
    }
    config
}

/// There is no ZooKeeper; clients only look whether the keys are there.
fn zookeeper_config() -> Value {
    json!({
        "zk": null,
        "zk_compression": null,
        "zk_compression_threshold": null,
        "zk_connection_timeout": null,
        "zk_max_node_size": null,
        "zk_max_versions": null,
        "zk_session_timeout": null,
        "zk_timeout": null,
    })
}

/// `GET /v2/plugins`
pub(in crate::api) async fn plugins() -> Json<Value> {
    Json(json!({ "plugins": [] }))
}

/// Anything below a plugin.
pub(in crate::api) async fn plugin(uri: Uri) -> ApiError {
    let path = below(&uri, "/v2/plugins/");
    let plugin = path.split('/').next().unwrap_or_default();
    ApiError::missing(format!("No plugin with this pluginId: {plugin}"))
}
