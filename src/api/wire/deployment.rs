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
        "affectedApps": apps.iter().map(crate::domain::id::AppId::as_str).collect::<Vec<_>>(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ActionKind, AppId, Plan, Timestamp};

    fn row(steps_done: u32) -> DeploymentRow {
        let step = |kind| {
            let app = AppId::parse("/foo").unwrap();
            Step { actions: vec![Action { app, kind, sentenced: Vec::new() }] }
        };
        DeploymentRow {
            id: DeploymentId::new("d1"),
            version: SpecVersion(Timestamp::from_millis(0)),
            plan: Plan { steps: vec![step(ActionKind::Start), step(ActionKind::Scale)] },
            steps_done,
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_deployment_shows_its_steps_and_the_current_one() {
        let wanted = json!({
            "id": "d1", "version": "1970-01-01T00:00:00.000Z", "affectedApps": ["/foo"], "affectedPods": [],
            "steps": [{"actions": [{"action": "StartApplication", "app": "/foo"}]},
                      {"actions": [{"action": "ScaleApplication", "app": "/foo"}]}],
            "currentActions": [{"action": "ScaleApplication", "app": "/foo", "readinessCheckResults": []}],
            "currentStep": 2, "totalSteps": 2,
        });
        assert_eq!(deployment_json(&row(1)), wanted);
    }

    #[test]
    fn a_finished_or_empty_deployment_stays_at_its_last_step() {
        let done = deployment_json(&row(2));
        assert_eq!((&done["currentStep"], &done["currentActions"]), (&json!(2), &json!([])));
        let empty = deployment_json(&DeploymentRow { plan: Plan::default(), ..row(0) });
        assert_eq!((&empty["currentStep"], &empty["totalSteps"]), (&json!(0), &json!(0)));
    }

    #[test]
    fn a_conflict_says_marathons_words_and_who_is_in_the_way() {
        let body = locked_json(&[DeploymentId::new("d1")]);
        assert_eq!(
            body["message"],
            "App is locked by one or more deployments. Override with the option '?force=true'. \
             View details at '/v2/deployments/<DEPLOYMENT_ID>'."
        );
        assert_eq!(body["deployments"], json!([{"id": "d1"}]));
    }
}
