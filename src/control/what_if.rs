//! What would become of the cluster if: asked on a copy of the state, recorded nowhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::edits::{Planned, Sentenced, plan};
use super::{Control, ControlError, Edit};
use crate::domain::{
    AgentId, AgentInfo, AppId, Attributes, DeploymentId, Incarnation, PortRanges, Reserved, Resources,
    SpecVersion, Strategy, Timestamp, Violation,
};
use crate::forecast::{Course, Outcome};
use crate::scheduler::Suspects;
use crate::state::{ClusterState, Command, StartDeployment};
use crate::store::View;
use crate::world;

/// Questions that are worked on at once; each may keep a core busy for a while.
pub const WHAT_IFS_MAX: usize = 2;

/// Longest work on one question, well below what a client waits for an answer.
pub const WHAT_IF_TIME_MAX: Duration = Duration::from_secs(20);

/// Agents that one question may add: as many as a large cluster has.
pub const ADDED_MAX: u32 = 10_000;

/// What to suppose.
#[derive(Default)]
pub struct WhatIf {
    /// Ids or host names of agents that are lost.
    pub lose: Vec<String>,
    /// Ids or host names of agents that are emptied and get nothing new.
    pub drain: Vec<String>,
    /// Agents that join.
    pub add: Vec<Addition>,
    /// Apps that change, as one deployment, each with its JSON path in the question.
    pub edits: Vec<(String, AppId, Edit)>,
    /// Whether deployments in the way are cancelled.
    pub force: bool,
}

/// Equal agents that join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// How many; from 1.
    pub count: u32,
    /// What each has.
    pub resources: Resources,
    /// Facts of each.
    pub attributes: Attributes,
    /// Whether they run containers.
    pub has_docker: bool,
}

impl Control {
    /// Plays what would happen, from `view` on, where `suspects` get nothing new.
    /// Writes nothing, and works away from the threads that serve others.
    ///
    /// # Errors
    /// `Violations` with JSON paths, those of a change, and `Unavailable` while
    /// [`WHAT_IFS_MAX`] others are worked on.
    pub async fn what_if(
        &self,
        view: View,
        wish: WhatIf,
        suspects: Suspects,
    ) -> Result<Outcome, ControlError> {
        let permit = self.permit_to_foretell()?;
        let now = Timestamp::from_millis(self.clock.now_millis()).max(view.now);
        let version = self.next_version(&view);
        let strategy = self.strategy;
        let work = move || {
            let until = Instant::now() + WHAT_IF_TIME_MAX;
            let outcome =
                play(&view, &wish, &suspects, (now, version), strategy, &mut || Instant::now() < until);
            drop(permit);
            outcome
        };
        world::blocking(work).await
    }

    /// One of [`WHAT_IFS_MAX`].
    pub(super) fn permit_to_foretell(&self) -> Result<OwnedSemaphorePermit, ControlError> {
        Arc::clone(&self.what_ifs).try_acquire_owned().map_err(|_| {
            let why = format!("{WHAT_IFS_MAX} questions of this kind are worked on already");
            ControlError::Unavailable(why)
        })
    }
}

fn play(
    view: &ClusterState,
    wish: &WhatIf,
    suspects: &Suspects,
    (now, version): (Timestamp, SpecVersion),
    strategy: Strategy,
    may_go_on: &mut dyn FnMut() -> bool,
) -> Result<Outcome, ControlError> {
    let mut wrong = Vec::new();
    let lost = agents_named(view, "/lose", &wish.lose, &mut wrong);
    let drained = agents_named(view, "/drain", &wish.drain, &mut wrong);
    let added: u32 = wish.add.iter().fold(0, |sum, added| sum.saturating_add(added.count));
    if added > ADDED_MAX {
        wrong.push(Violation::new(
            "/add",
            format!("{added} agents are too many; expected at most {ADDED_MAX}"),
        ));
    }
    if !wrong.is_empty() {
        return Err(ControlError::Violations(wrong));
    }
    let mut course = Course::start(view, suspects.clone(), now).with_strategy(strategy);
    let mut commands: Vec<Command> = lost.iter().filter_map(|agent| loss(view, agent, now)).collect();
    commands.extend(joins(view, &wish.add));
    let shall_move = drained.iter().flat_map(|agent| view.live_on(agent));
    let instances: Vec<_> = shall_move.map(|row| (row.id.clone(), "drained".to_owned())).collect();
    if !instances.is_empty() {
        commands.push(Command::MoveInstances { instances });
    }
    course.drain(drained);
    course.record(commands);
    if !wish.edits.is_empty() {
        let start = deployment(course.state(), wish, version)?;
        let applied = course.record(vec![Command::StartDeployment(Box::new(start))]);
        if let Some((_, refusal)) = applied.refusals.into_iter().next() {
            return Err(refusal.into());
        }
    }
    let rest = course.play(may_go_on);
    Ok(Outcome::of(view, suspects, &course, rest))
}

/// Agents by id or by host name.
fn agents_named(
    state: &ClusterState,
    path: &str,
    names: &[String],
    wrong: &mut Vec<Violation>,
) -> BTreeSet<AgentId> {
    let mut found = BTreeSet::new();
    for (at, name) in names.iter().enumerate() {
        let id = AgentId::new(name.as_str());
        if state.agents.contains(&id) {
            found.insert(id);
            continue;
        }
        let mut on_host = state.agents.values().filter(|row| row.info.hostname == *name);
        let message = match (on_host.next(), on_host.next()) {
            (Some(row), None) => {
                found.insert(row.info.id.clone());
                continue;
            }
            (Some(_), Some(_)) => format!("{name:?} is the host name of more than one agent; give its id"),
            (None, _) => {
                format!("no agent has the id or the host name {name:?}; 'platformd agents list' shows both")
            }
        };
        wrong.push(Violation::new(format!("{path}({at})"), message));
    }
    found
}

/// The command that a leader records when an agent stays away.
fn loss(state: &ClusterState, agent: &AgentId, since: Timestamp) -> Option<Command> {
    let run = state.agents.get(agent)?.info.incarnation.run;
    Some(Command::MarkAgentUnreachable { agent: agent.clone(), run, since })
}

/// The commands with which agents join, under names that nobody has.
fn joins(state: &ClusterState, additions: &[Addition]) -> Vec<Command> {
    let each = additions.iter().flat_map(|added| (0..added.count).map(move |_| added));
    let names = (1u32..).map(|number| AgentId::new(format!("added-{number}")));
    let free = names.filter(|name| !state.agents.contains(name));
    let join = |(added, id): (&Addition, AgentId)| {
        let incarnation = Incarnation {
            boot_id: id.to_string(),
            started: Timestamp::default(),
            run: 1,
            place: String::new(),
        };
        let info = AgentInfo {
            hostname: id.to_string(),
            id,
            http: String::new(),
            totals: added.resources.clone(),
            reserved: Reserved::default(),
            attributes: added.attributes.clone(),
            incarnation,
            has_docker: added.has_docker,
            version: String::new(),
        };
        Command::RegisterAgent { info: Box::new(info), held_ports: PortRanges::default(), proof: None }
    };
    each.zip(free).map(join).collect()
}

/// The changes of apps, planned as a real request would be.
fn deployment(
    state: &ClusterState,
    wish: &WhatIf,
    version: SpecVersion,
) -> Result<StartDeployment, ControlError> {
    let edits: Vec<(&AppId, &Edit)> = wish.edits.iter().map(|(_, app, edit)| (app, edit)).collect();
    let planned = planned(state, &edits, version).map_err(|error| located(state, wish, version, error))?;
    let id = DeploymentId::new("what-if");
    let (plan, changes, assigned_ports) = (planned.plan, planned.changes, planned.assigned_ports);
    Ok(StartDeployment { id, version, plan, changes, assigned_ports, force: wish.force, request: None })
}

fn planned(
    state: &ClusterState,
    edits: &[(&AppId, &Edit)],
    version: SpecVersion,
) -> Result<Planned, ControlError> {
    plan(state, edits, &Sentenced::new(), version)
}

/// The same error with the JSON path of the change that it is about.
fn located(state: &ClusterState, wish: &WhatIf, version: SpecVersion, error: ControlError) -> ControlError {
    let each = wish
        .edits
        .iter()
        .filter_map(|(path, app, edit)| Some((path, planned(state, &[(app, edit)], version).err()?)));
    let below = |path: &str, violations: Vec<Violation>| {
        let moved = violations.into_iter().map(|it| {
            let rest = if it.path == "/" { "" } else { it.path.as_str() };
            Violation::new(format!("{path}{rest}"), it.message)
        });
        moved.collect()
    };
    match each.into_iter().next() {
        Some((path, ControlError::Violations(violations))) => {
            ControlError::Violations(below(path, violations))
        }
        Some((path, ControlError::InvalidJson(violations))) => {
            ControlError::InvalidJson(below(path, violations))
        }
        Some((path, ControlError::NotFound(why))) => {
            ControlError::Violations(vec![Violation::new(path.as_str(), why)])
        }
        Some((_, other)) => other,
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::in_memory::InMemoryStore;
    use crate::testkit::{Playground, an_app};
    use crate::world::{Clock, ManualClock};

    #[tokio::test]
    async fn so_many_questions_are_worked_on_at_once_and_the_next_is_refused() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
        let store = Arc::new(InMemoryStore::new(Arc::clone(&clock)));
        let control = Control::new(store, clock, Strategy::default());
        let view = control.store().snapshot();
        let ask = || control.what_if(Arc::clone(&view), WhatIf::default(), Suspects::new());
        let mut permits: Vec<_> = (0..WHAT_IFS_MAX).map(|_| control.permit_to_foretell().unwrap()).collect();
        assert!(matches!(ask().await, Err(ControlError::Unavailable(_))));
        permits.pop();
        assert!(ask().await.unwrap().is_well());
        assert!(ask().await.is_ok(), "the permit came back");
    }

    #[tokio::test]
    async fn what_is_foretold_is_of_a_cluster_with_this_strategy() {
        let mut ground = Playground::with_agents(2);
        ground.put(&an_app("/web").instances(4).cpus(1.0));
        let view = Arc::new(ground.state.clone());
        for (strategy, agents) in [(Strategy::Spread, 2), (Strategy::Binpack, 1)] {
            let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
            let store = Arc::new(InMemoryStore::new(Arc::clone(&clock)));
            let control = Control::new(store, clock, strategy);
            let asked = control.what_if(Arc::clone(&view), WhatIf::default(), Suspects::new());
            let placed = asked.await.unwrap().placements;
            let used: BTreeSet<&AgentId> = placed.iter().map(|spot| &spot.agent).collect();
            assert_eq!((placed.len(), used.len()), (4, agents), "{strategy:?}");
        }
    }
}
