//! What must hold of every state. Used by property tests, the simulator and debug builds.

use std::collections::BTreeMap;

use super::{ClusterState, TaskRow};
use crate::domain::{AgentId, InstanceId, Reserved, Resources, role};

/// Names every broken invariant, with numbers; empty when all is well.
pub fn broken_invariants(state: &ClusterState) -> Vec<String> {
    let mut broken = Vec::new();
    check_usage(state, &mut broken);
    check_indexes(state, &mut broken);
    check_references(state, &mut broken);
    broken
}

/// N5, N13: what agents hold is the sum of their live tasks, never more than one task per port.
fn check_usage(state: &ClusterState, broken: &mut Vec<String>) {
    let mut sums: BTreeMap<&AgentId, (Resources, Reserved)> = BTreeMap::new();
    for row in state.instances.values() {
        let Some(task) = row.task.as_ref().filter(|task| task.is_live()) else { continue };
        let (sum, drawn) = sums.entry(&task.agent).or_default();
        let ports_before = sum.ports.count();
        *sum = sum.plus(&task.resources);
        role::add(drawn, &task.drawn);
        if sum.ports.count() != ports_before + task.resources.ports.count() {
            broken.push(format!("task {} shares a port on agent {}", task.id, task.agent));
        }
    }
    for (id, agent) in state.agents.iter() {
        let (sum, drawn) = sums.remove(id).unwrap_or_default();
        if sum != agent.used {
            broken.push(format!("agent {id} is said to hold {:?}, its tasks hold {sum:?}", agent.used));
        }
        if drawn != agent.drawn {
            let said = &agent.drawn;
            broken.push(format!("agent {id} is said to have drawn {said:?}, its tasks have {drawn:?}"));
        }
    }
    broken.extend(sums.keys().map(|id| format!("tasks on unknown agent {id}")));
}

/// Derived indexes equal what they are derived from.
fn check_indexes(state: &ClusterState, broken: &mut Vec<String>) {
    let live = state.instances.values().filter(|row| row.is_live()).count();
    if state.by_agent.len() != live {
        broken.push(format!("agents hold {} instances of {live} that live", state.by_agent.len()));
    }
    for row in state.instances.values() {
        if !row.id.as_str().starts_with(InstanceId::start_of(&row.app).as_str()) {
            broken.push(format!("instance {} is not named after its app {}", row.id, row.app));
        }
        let Some(task) = row.task.as_ref().filter(|task| task.is_live()) else { continue };
        if !state.by_agent.contains(&task.agent, &row.id) {
            broken.push(format!("instance {} is missing under its agent", row.id));
        }
    }
}

/// Whatever is referred to exists.
fn check_references(state: &ClusterState, broken: &mut Vec<String>) {
    for row in state.apps.values().filter(|row| state.current(&row.id).is_none()) {
        broken.push(format!("content {} of app {} is missing", row.version, row.id));
    }
    for row in state.instances.values() {
        if state.content_of(row).is_none() {
            broken.push(format!("content {} of instance {} is missing", row.version, row.id));
        }
        let named = |task: &TaskRow| task.id == crate::domain::TaskId::of(&row.id, task.attempt);
        if !row.task.as_ref().is_none_or(named) {
            broken.push(format!("instance {} has a task of another name", row.id));
        }
    }
    for deployment in state.deployments.values() {
        if usize::try_from(deployment.steps_done).is_ok_and(|done| done >= deployment.plan.steps.len()) {
            broken.push(format!("deployment {} is done and still there", deployment.id));
        }
    }
}
