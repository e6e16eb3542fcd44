//! Recording tasks: placed, told to stop, and what agents say of them.

use super::Recorder;
use super::instances::forget;
use crate::domain::{AgentId, AppVersion, Goal, InstanceId, TaskId, TaskState, TaskStatus, Timestamp, role};
use crate::state::{
    AppRow, ClusterState, Event, InstanceRow, LaunchDelay, Placement, Presence, Refusal, TaskFailure, TaskRow,
};

pub(super) fn launch(state: &mut ClusterState, placements: &[Placement], record: &mut Recorder) {
    for placement in placements {
        if let Err(refusal) = launch_one(state, placement, record) {
            record.refuse(refusal);
        }
    }
}

fn launch_one(state: &mut ClusterState, placement: &Placement, record: &mut Recorder) -> Result<(), Refusal> {
    let id = &placement.instance;
    let not_waiting = || Refusal::NotWaiting(id.clone());
    let instance = state.instances.get(id).ok_or_else(not_waiting)?;
    let last = instance.task.as_ref().map_or(0, |task| task.attempt);
    if !instance.is_waiting() || placement.attempt != last.saturating_add(1) {
        return Err(not_waiting());
    }
    let stale = || Refusal::OfferStale { agent: placement.agent.clone(), instance: id.clone() };
    // Ids as the tables have them already: those of the entry would be kept a second time.
    let id = instance.id.clone();
    let agent = state.agents.get_mut(&placement.agent).ok_or_else(stale)?;
    let has_room = match agent.pools() {
        None => placement.drawn.is_empty() && agent.spare().contains(&placement.resources),
        Some(pools) => pools.contains(&placement.resources, &placement.drawn),
    };
    if agent.presence != Presence::Registered || !has_room {
        return Err(stale());
    }
    agent.used = agent.used.plus(&placement.resources);
    role::add(&mut agent.drawn, &placement.drawn);
    let task = TaskRow {
        id: TaskId::of(&id, placement.attempt),
        attempt: placement.attempt,
        agent: agent.info.id.clone(),
        hostname: agent.info.hostname.clone(),
        ports: placement.ports.clone(),
        resources: placement.resources.clone(),
        drawn: placement.drawn.clone(),
        staged_at: state.now,
        started_at: None,
        status: TaskStatus::new(TaskState::Staging, state.now, ""),
        stop: None,
        unreachable_since: None,
        inactive: false,
    };
    record.event(Event::TaskLaunched(task.id.clone()));
    state.by_agent.insert(&task.agent, id.clone());
    if let Some(row) = state.instances.get_mut(&id) {
        let app = row.app.clone();
        row.task = Some(task);
        touch_delay(state, &app);
    }
    Ok(())
}

/// A launch or a start moves the reference of a running pause. Source: spec 5.8.
fn touch_delay(state: &mut ClusterState, app: &crate::domain::AppId) {
    let now = state.now;
    if state.apps.get(app).is_none_or(|row| row.delay.is_none()) {
        return;
    }
    if let Some(delay) = state.apps.get_mut(app).and_then(|row| row.delay.as_mut()) {
        delay.reference = now;
    }
}

pub(super) fn stop(state: &mut ClusterState, tasks: &[TaskId], reason: &str, record: &mut Recorder) {
    for id in tasks {
        let Some(instance) = state.task(id).map(|(row, _)| row.id.clone()) else {
            record.refuse(Refusal::UnknownTask(id.clone()));
            continue;
        };
        let Some(row) = state.instances.get_mut(&instance) else { continue };
        let Some(task) = row.task.as_mut().filter(|task| task.is_live() && task.stop.is_none()) else {
            continue;
        };
        task.stop = Some(reason.to_owned());
        record.event(Event::TaskStopAsked(id.clone()));
    }
}

pub(super) fn record_statuses(
    state: &mut ClusterState,
    agent: &AgentId,
    statuses: &[(TaskId, TaskStatus)],
    record: &mut Recorder,
) {
    for (task, said) in statuses {
        if let Err(refusal) = record_status(state, agent, task, said, record) {
            record.refuse(refusal);
        }
    }
}

fn record_status(
    state: &mut ClusterState,
    agent: &AgentId,
    id: &TaskId,
    said: &TaskStatus,
    record: &mut Recorder,
) -> Result<(), Refusal> {
    let unknown = || Refusal::UnknownTask(id.clone());
    let instance = state.task(id).map(|(row, _)| row.id.clone()).ok_or_else(unknown)?;
    let now = state.now;
    let row = state.instances.get_mut(&instance).ok_or_else(unknown)?;
    let task = row.task.as_mut().ok_or_else(unknown)?;
    if task.agent != *agent {
        return Err(Refusal::NotYourTask { task: id.clone(), agent: agent.clone() });
    }
    let (from, to) = (task.status.state, said.state);
    let is_news = to.may_follow(from) || (to == from && !to.is_terminal() && task.status != *said);
    if !is_news {
        return Ok(()); // Agents repeat themselves until they hear our answer.
    }
    task.status = said.clone();
    if to == TaskState::Running {
        task.started_at.get_or_insert(now);
    }
    record.event(Event::TaskStatusChanged { task: id.clone(), from, to });
    let app = row.app.clone();
    if to.is_terminal() {
        record_end(state, &instance, now, record);
    } else if to != from {
        touch_delay(state, &app);
    }
    Ok(())
}

/// The attempt has ended: its resources are free, its app may be delayed, its instance
/// waits again or is forgotten.
fn record_end(state: &mut ClusterState, id: &InstanceId, now: Timestamp, record: &mut Recorder) {
    let Some(row) = state.instances.get(id).cloned() else { return };
    let Some(task) = &row.task else { return };
    state.by_agent.remove(&task.agent, id);
    if let Some(agent) = state.agents.get_mut(&task.agent) {
        agent.used = agent.used.minus(&task.resources);
        role::subtract(&mut agent.drawn, &task.drawn);
    }
    // The pause belongs to the configuration: ends of older content do not delay the new. Source: spec 5.8.
    let content = state.content_of(&row).filter(|_| !state.is_outdated(&row)).cloned();
    if let Some(app) = state.apps.get_mut(&row.app) {
        note_end(app, &row, task, content.as_ref(), now);
    }
    if row.goal == Goal::Decommissioned || row.expunged {
        return forget(state, id, record);
    }
    if let Some(row) = state.instances.get_mut(id) {
        row.waiting_since = now;
        row.shall_move = None; // It has left already, and may be placed anywhere.
    }
}

fn note_end(
    app: &mut AppRow,
    row: &InstanceRow,
    task: &TaskRow,
    content: Option<&AppVersion>,
    now: Timestamp,
) {
    let state = task.status.state;
    let was_wanted = row.goal == Goal::Running && task.stop.is_none();
    // Killed though nobody asked: its agent gave it up for failing its health check. Source: spec 2.6.
    let was_given_up = state == TaskState::Killed && was_wanted;
    if was_given_up || !matches!(state, TaskState::Finished | TaskState::Killed) {
        app.last_failure = Some(TaskFailure {
            task: task.id.clone(),
            agent: task.agent.clone(),
            hostname: task.hostname.clone(),
            state,
            message: task.status.message.clone(),
            at: task.status.at,
            version: row.version,
        });
    }
    let Some(content) = content.filter(|_| state.delays_launch() && was_wanted) else { return };
    let backoff = content.spec.backoff;
    let running = app.delay.filter(|delay| now <= delay.reference.plus(backoff.max));
    let pause = running.map_or(backoff.initial, |delay| backoff.factor.of_duration(delay.pause));
    app.delay = Some(LaunchDelay { pause: pause.min(backoff.max), reference: now });
}
