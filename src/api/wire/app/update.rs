//! A partial definition and how it merges: each field given replaces the whole value.
//! Source: spec 1.5.

use serde_json::{Map, Value};

use super::super::decode::{AppError, into_map};
use super::super::reader::Problems;
use super::definition::{is_content, parse_version, read_app};
use super::{encode, network};
use crate::domain::{AppId, RunSpec, Timestamp, Violation};

/// A partial definition: what PUT (by default) and PATCH send.
#[derive(Clone, Debug, PartialEq)]
pub struct AppUpdate {
    /// The id named in the body; ignored where the path names one.
    pub id: Option<AppId>,
    /// Roll back to the content of this version; nothing else is in the body then.
    pub version: Option<Timestamp>,
    /// What was accepted and has no effect.
    pub warnings: Vec<String>,
    body: Map<String, Value>,
    group: String,
}

/// Reads a partial definition. Types are checked now, meaning after the merge.
///
/// # Errors
/// [`AppError`] for wrong types, for a `version` that is no timestamp, and for one
/// beside other fields.
pub fn decode_update(body: &Value) -> Result<AppUpdate, AppError> {
    let problems = Problems::default();
    let read = read_app(body, "", "/", &problems);
    let version = body.get("version").and_then(Value::as_str).map(parse_version);
    let warnings = problems.settle_types()?;
    let body: Map<String, Value> =
        into_map(body.clone()).into_iter().filter(|(_, value)| !value.is_null()).collect();
    let has_content = body.keys().any(|name| is_content(name));
    let version = match version {
        Some(Err(message)) => return Err(AppError::NotValid(vec![Violation::new("/version", message)])),
        Some(Ok(_)) if has_content => {
            let message = "The 'version' field may only be combined with the 'id' field.";
            return Err(AppError::NotValid(vec![Violation::new("/", message)]));
        }
        Some(Ok(version)) => Some(version),
        None => None,
    };
    let id = read.and_then(|(id, _)| id);
    let group = id.as_ref().map_or("/", AppId::parent).to_owned();
    Ok(AppUpdate { id, version, warnings, body, group })
}

impl AppUpdate {
    /// Resolves relative dependencies against `group`, the app's own, where the path names the app.
    #[must_use]
    pub fn within(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// The content after this update of `current`.
    ///
    /// # Errors
    /// [`AppError`] when the two together make no sense.
    pub fn merge(&self, current: &RunSpec) -> Result<RunSpec, AppError> {
        let mut body = self.body.clone();
        body.retain(|name, _| is_content(name));
        let mut merged = encode::canonical(current);
        settle_process(&body, &mut merged);
        settle_ports(&mut body, &mut merged, current);
        settle_networks(&body, &mut merged);
        merged.append(&mut body);
        let problems = Problems::default();
        let read = read_app(&Value::Object(merged), "", &self.group, &problems);
        let ((_, spec), _) = problems.settle(read)?;
        Ok(spec)
    }
}

/// A command replaces arguments and the other way round: a spec has one of them.
fn settle_process(body: &Map<String, Value>, current: &mut Map<String, Value>) {
    let has_args = body.get("args").and_then(Value::as_array).is_some_and(|args| !args.is_empty());
    match (body.contains_key("cmd"), has_args) {
        (true, false) => {
            current.remove("args");
        }
        (false, true) => {
            current.remove("cmd");
        }
        _ => {}
    }
}

/// Clients of every age send `ports` back beside or instead of `portDefinitions`: what
/// differs from the current numbers is what the client changed.
fn settle_ports(body: &mut Map<String, Value>, current: &mut Map<String, Value>, spec: &RunSpec) {
    let now: Vec<u64> = spec.service_ports().into_iter().map(u64::from).collect();
    let Some(ports) = body.get("ports").and_then(network::numbers) else { return };
    let defined = body.get("portDefinitions").and_then(network::numbers);
    let ports_changed = ports != now;
    match defined {
        None if ports_changed => {
            current.remove("portDefinitions");
        }
        Some(defined) if ports_changed && defined == now => {
            body.remove("portDefinitions");
            current.remove("portDefinitions");
        }
        // Both changed, and differently: the decoder refuses that.
        Some(_) if ports_changed => {}
        _ => {
            body.remove("ports");
        }
    }
}

/// The old forms of networks replace what the current definition has.
fn settle_networks(body: &Map<String, Value>, current: &mut Map<String, Value>) {
    if body.contains_key("networks") {
        return;
    }
    let has_ip_address = body.contains_key("ipAddress");
    let docker = body.get("container").and_then(|container| container.get("docker"));
    let has_network = docker.and_then(|docker| docker.get("network")).is_some_and(|word| !word.is_null());
    if has_ip_address || has_network {
        current.remove("networks");
    }
    if has_ip_address {
        current.remove("portDefinitions");
    }
}
