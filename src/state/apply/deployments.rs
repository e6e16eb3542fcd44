//! Recording deployments: new content of apps, locks, steps.

use std::collections::BTreeSet;

use super::Recorder;
use crate::domain::{AppId, DeploymentId, SpecVersion};
use crate::state::{
    AppChange, AppChangeRecord, AppRow, ClusterState, DeploymentRow, Event, Refusal, RequestRow,
    StartDeployment,
};

/// Contents kept per app beyond those that instances run. Source: Marathon's `zk_max_versions`.
const VERSIONS_KEPT: usize = 50;

pub(super) fn start(state: &mut ClusterState, start: &StartDeployment, record: &mut Recorder) {
    if let Some(request) = &start.request
        && let Some(row) = state.requests.get(&request.key)
    {
        if row.digest != request.digest {
            return record.refuse(Refusal::KeyReused);
        }
        return record.answered((**row).clone());
    }
    let locks = match admit(state, start) {
        Ok(locks) => locks,
        Err(refusal) => return record.refuse(refusal),
    };
    for id in locks {
        state.deployments.remove(&id);
        record.event(Event::DeploymentCancelled(id));
    }
    state.last_version = state.last_version.max(start.version);
    let changes: Vec<AppChangeRecord> =
        start.changes.iter().map(|change| record_change(state, change, start.version, record)).collect();
    if let Some(request) = &start.request {
        let row = RequestRow {
            digest: request.digest.clone(),
            deployment: start.id.clone(),
            version: start.version,
            created: changes.iter().any(|change| change.before.is_none()),
            index: state.index,
            at: state.now,
        };
        state.requests.insert(request.key.clone(), row);
    }
    record.event(Event::DeploymentStarted(start.id.clone()));
    if start.plan.steps.is_empty() {
        return record.event(Event::DeploymentFinished(start.id.clone()));
    }
    let row = DeploymentRow {
        id: start.id.clone(),
        version: start.version,
        plan: start.plan.clone(),
        steps_done: 0,
        changes,
    };
    state.deployments.insert(start.id.clone(), row);
}

/// Says whether the plan still fits the state, and which deployments it would cancel.
/// The one place that holds Marathon's lock policy. Source: spec 5.4.
fn admit(state: &ClusterState, start: &StartDeployment) -> Result<Vec<DeploymentId>, Refusal> {
    for change in &start.changes {
        let found = state.apps.get(&change.app).map(|row| row.version);
        if found != change.expected || start.version <= state.last_version {
            let (app, expected) = (change.app.clone(), change.expected);
            return Err(Refusal::VersionMoved { app, expected, found });
        }
    }
    let affected = start.plan.affected_apps();
    let locks: Vec<DeploymentId> = state
        .deployments
        .values()
        .filter(|row| affected.iter().any(|app| row.touches(app)))
        .map(|row| row.id.clone())
        .collect();
    if !locks.is_empty() && !start.force {
        return Err(Refusal::Locked(locks));
    }
    check_ports(state, start)?;
    Ok(locks)
}

fn check_ports(state: &ClusterState, start: &StartDeployment) -> Result<(), Refusal> {
    if start.assigned_ports.is_empty() {
        return Ok(());
    }
    let changed: BTreeSet<&AppId> = start.changes.iter().map(|change| &change.app).collect();
    for row in state.apps.values().filter(|row| !changed.contains(&row.id)) {
        let Some(current) = state.current(&row.id) else { continue };
        let taken = current.spec.service_ports().into_iter().find(|port| start.assigned_ports.contains(port));
        if let Some(port) = taken {
            return Err(Refusal::ServicePortTaken { port, by: row.id.clone() });
        }
    }
    Ok(())
}

fn record_change(
    state: &mut ClusterState,
    change: &AppChange,
    version: SpecVersion,
    record: &mut Recorder,
) -> AppChangeRecord {
    let app = change.app.clone();
    let known = state.apps.get(&app).map(|row| (**row).clone());
    let before = known.as_ref().map(|row| row.version);
    let after = change.content.as_ref().map(|content| {
        let config_changed = content.last_config_change == version;
        state.versions.insert((app.clone(), version), (**content).clone());
        let mut row = known.unwrap_or(AppRow { id: app.clone(), version, delay: None, last_failure: None });
        row.version = version;
        if config_changed {
            row.delay = None; // The pause belongs to the configuration. Source: spec 5.8.
        }
        state.apps.insert(app.clone(), row);
        version
    });
    if after.is_none() {
        state.apps.remove(&app);
    }
    record.event(Event::AppChanged(app.clone()));
    AppChangeRecord { app, before, after }
}

pub(super) fn finish_step(state: &mut ClusterState, id: &DeploymentId, step: u32, record: &mut Recorder) {
    let Some(row) = state.deployments.get_mut(id) else {
        return record.refuse(Refusal::UnknownDeployment(id.clone()));
    };
    if row.steps_done != step {
        return record.refuse(Refusal::StepMoved(id.clone()));
    }
    row.steps_done += 1;
    let is_done = usize::try_from(row.steps_done).is_ok_and(|done| done >= row.plan.steps.len());
    record.event(Event::StepFinished(id.clone()));
    if is_done {
        state.deployments.remove(id);
        record.event(Event::DeploymentFinished(id.clone()));
    }
}

pub(super) fn cancel(state: &mut ClusterState, id: &DeploymentId, record: &mut Recorder) {
    match state.deployments.remove(id) {
        Some(_) => record.event(Event::DeploymentCancelled(id.clone())),
        None => record.refuse(Refusal::UnknownDeployment(id.clone())),
    }
}

pub(super) fn reset_delay(state: &mut ClusterState, app: &AppId, record: &mut Recorder) {
    let Some(row) = state.apps.get_mut(app) else {
        return record.refuse(Refusal::UnknownApp(app.clone()));
    };
    row.delay = None;
    record.event(Event::DelayReset(app.clone()));
}

/// Drops contents that no instance runs, no deployment may roll back to, and that are
/// neither current nor among the latest [`VERSIONS_KEPT`] of a living app.
pub(super) fn drop_unused_versions(state: &mut ClusterState) {
    let mut used: BTreeSet<(AppId, SpecVersion)> =
        state.instances.values().map(|row| (row.app.clone(), row.version)).collect();
    for deployment in state.deployments.values() {
        used.extend(deployment.changes.iter().filter_map(|c| Some((c.app.clone(), c.before?))));
    }
    for row in state.apps.values() {
        let kept: Vec<SpecVersion> = state.versions_of(&row.id).map(|(version, _)| version).collect();
        used.extend(kept.into_iter().rev().take(VERSIONS_KEPT).map(|version| (row.id.clone(), version)));
        used.insert((row.id.clone(), row.version));
    }
    let unused: Vec<(AppId, SpecVersion)> =
        state.versions.iter().map(|(key, _)| key.clone()).filter(|key| !used.contains(key)).collect();
    for key in unused {
        state.versions.remove(&key);
    }
}
