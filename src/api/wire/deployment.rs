//! Deployments as JSON, the answer to a change, and the conflict. Source: spec 1.3, 1.4, 5.9.

use serde_json::{Value, json};

use crate::domain::{Action, DeploymentId, SpecVersion, Step};
use crate::state::DeploymentRow;

/// Said when an app is under deployment; the last part is meant literally.
const LOCKED: &str = "App is locked by one or more deployments. Override with the option '?force=true'. \
                      View details at '/v2/deployments/<DEPLOYMENT_ID>'.";

/// One running deployment.
pub fn deployment_json(row: &DeploymentRow) -> Value {
    let steps = &row.plan.steps;
    let done = usize::try_from(row.steps_done).unwrap_or(usize::MAX);
    let current: Vec<Value> = match steps.get(done) {
        Some(step) => step.actions.iter().map(current_action).collect(),
        None => Vec::new(),
    };
    let apps = row.plan.affected_apps();
    json!({
        "id": row.id.as_str(),
        "version": row.version.to_string(),
        "affectedApps": apps.iter().map(|app| app.as_str()).collect::<Vec<_>>(),
        "affectedPods": [],
        "steps": steps.iter().map(step_json).collect::<Vec<_>>(),
        "currentActions": current,
        "currentStep": done.saturating_add(1).min(steps.len()),
        "totalSteps": steps.len(),
    })
}

/// One step, as deployments and their events show it.
pub fn step_json(step: &Step) -> Value {
    json!({"actions": step.actions.iter().map(action).collect::<Vec<_>>()})
}

fn action(action: &Action) -> Value {
    json!({"action": action.kind.as_str(), "app": action.app.as_str()})
}

fn current_action(action: &Action) -> Value {
    json!({"action": action.kind.as_str(), "app": action.app.as_str(), "readinessCheckResults": []})
}

/// The answer to a change that started a deployment.
pub fn result_json(version: SpecVersion, id: &DeploymentId) -> Value {
    json!({"version": version.to_string(), "deploymentId": id.as_str()})
}

/// The body of a 409: who is in the way.
pub fn locked_json(ids: &[DeploymentId]) -> Value {
    let deployments: Vec<Value> = ids.iter().map(|id| json!({"id": id.as_str()})).collect();
    json!({"message": LOCKED, "deployments": deployments})
}
