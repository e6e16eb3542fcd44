//! Recording agents: joining, coming back, being away.

use std::sync::Arc;

use super::Recorder;
use crate::domain::{
    AgentId, AgentInfo, Hindrances, Incarnation, InstanceId, PortRanges, Reserved, Resources, Timestamp,
};
use crate::state::cluster_state::Derived;
use crate::state::{AgentRow, ClusterState, Event, Presence, Refusal};

/// A later incarnation of the same place takes over; one of another place does whenever it is
/// proposed (`dispatcher::registration` refuses it while the first still speaks).
fn may_take_over(known: &Incarnation, new: &Incarnation) -> bool {
    known.is_elsewhere(new) || !new.is_over_since(known)
}

pub(super) fn register(
    state: &mut ClusterState,
    info: &AgentInfo,
    held: &PortRanges,
    proof: Option<&String>,
    record: &mut Recorder,
) {
    let now = state.now;
    let Some(row) = state.agents.get_mut(&info.id) else {
        let row = AgentRow {
            info: Arc::new(info.clone()),
            registered_at: now,
            presence: Presence::Registered,
            proof: proof.cloned(),
            held_ports: held.clone(),
            hindrances: Hindrances::default(),
            used: Resources::default(),
            drawn: Reserved::new(),
        };
        state.agents.insert(info.id.clone(), row);
        state.introduced_at = Derived(state.index);
        record.event(Event::AgentRegistered(info.id.clone()));
        return;
    };
    if !may_take_over(&row.info.incarnation, &info.incarnation) {
        return record.refuse(Refusal::AgentRunIsOver(info.id.clone()));
    }
    // The first proof stays for ever; until one is shown the id alone counts.
    if row.proof.is_some() && row.proof.as_ref() != proof {
        return record.refuse(Refusal::AgentIsAnother(info.id.clone()));
    }
    let is_proved = row.proof.as_ref() == proof;
    if *row.info == *info && row.presence == Presence::Registered && row.held_ports == *held && is_proved {
        return; // Known already: a repeat writes nothing.
    }
    row.proof = proof.cloned();
    // The id as the tables have it already: that of the entry would be kept a second time.
    row.info = Arc::new(AgentInfo { id: row.info.id.clone(), ..info.clone() });
    row.presence = Presence::Registered;
    row.held_ports = held.clone();
    state.introduced_at = Derived(state.index);
    record.event(Event::AgentRegistered(info.id.clone()));
    for id in live_ids(state, &info.id) {
        if let Some(task) = state.instances.get_mut(&id).and_then(|row| row.task.as_mut()) {
            task.unreachable_since = None;
            task.inactive = false;
        }
    }
}

pub(super) fn set_held_ports(
    state: &mut ClusterState,
    agent: &AgentId,
    ports: &PortRanges,
    record: &mut Recorder,
) {
    set(state, agent, ports, |row| &mut row.held_ports, Event::HeldPortsChanged, record);
}

pub(super) fn set_hindrances(
    state: &mut ClusterState,
    agent: &AgentId,
    hindrances: &Hindrances,
    record: &mut Recorder,
) {
    set(state, agent, hindrances, |row| &mut row.hindrances, Event::HindrancesChanged, record);
}

/// Records one thing that an agent says of itself, if it is news.
fn set<T: Clone + PartialEq>(
    state: &mut ClusterState,
    agent: &AgentId,
    now: &T,
    field: fn(&mut AgentRow) -> &mut T,
    event: fn(AgentId) -> Event,
    record: &mut Recorder,
) {
    let Some(row) = state.agents.get_mut(agent) else {
        return record.refuse(Refusal::UnknownAgent(agent.clone()));
    };
    let known = field(row);
    if known != now {
        *known = now.clone();
        record.event(event(agent.clone()));
    }
}

pub(super) fn mark_unreachable(
    state: &mut ClusterState,
    agent: &AgentId,
    run: u64,
    since: Timestamp,
    record: &mut Recorder,
) {
    let now = state.now;
    let Some(row) = state.agents.get_mut(agent) else {
        return record.refuse(Refusal::UnknownAgent(agent.clone()));
    };
    if row.info.incarnation.run != run {
        return record.refuse(Refusal::AgentIsBack(agent.clone()));
    }
    if row.presence != Presence::Registered {
        return;
    }
    let since = since.min(now);
    row.presence = Presence::Unreachable { since };
    record.event(Event::AgentUnreachable(agent.clone()));
    for id in live_ids(state, agent) {
        if let Some(task) = state.instances.get_mut(&id).and_then(|row| row.task.as_mut()) {
            task.unreachable_since.get_or_insert(since);
        }
    }
}

fn live_ids(state: &ClusterState, agent: &AgentId) -> Vec<InstanceId> {
    state.live_on(agent).map(|row| row.id.clone()).collect()
}
