//! Apps through the decoder and back; bodies of Marathon's own tests.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::api::wire::decode::{AppError, BodyError, parse_body};
use crate::domain::{
    AppId, AppVersion, DeploymentId, Network, RunSpec, SpecVersion, Timestamp, Violation, validate,
};

mod bad_input;
mod generated;
mod golden;
mod merging;
mod placement;

const NOW: SpecVersion = SpecVersion(Timestamp::from_millis(1_577_836_800_000));

fn web() -> AppId {
    AppId::parse("/web").unwrap()
}

fn version_of(spec: RunSpec) -> AppVersion {
    AppVersion { app: web(), spec, last_scaling: NOW, last_config_change: NOW }
}

/// What GET answers for `spec`, without what is embedded.
fn got(spec: &RunSpec) -> Map<String, Value> {
    app_json(&web(), &version_of(spec.clone()))
}

/// Decodes and applies the rules of meaning, as a POST does.
fn accept(body: &Value) -> Result<RunSpec, AppError> {
    let decoded = decode_app(body, "/")?;
    let broken = validate::run_spec(&decoded.id.unwrap_or_else(web), &decoded.spec);
    if broken.is_empty() { Ok(decoded.spec) } else { Err(AppError::NotValid(broken)) }
}
