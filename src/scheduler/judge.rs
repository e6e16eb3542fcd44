//! Soft wishes in points: which of the agents that suit an app likes best.
//!
//! Points are in thousandths. The sum decides; of equal ones the greater lot, then the smaller id.
//! What only an agent's facts decide is worked out once for each ([`Judge::face_of`]).

mod near;
mod shares;

use std::collections::BTreeSet;

use self::near::Near;
use self::shares::Shares;
use super::rules::Test;
use crate::domain::{AgentInfo, AppId, AppVersion, Preference, RunSpec, Strategy, attribute_on};
use crate::state::{ClusterState, InstanceRow, Placement};

/// Thousandths of one point.
const POINT: i64 = 1_000;

/// What an empty agent is worth more than a full one, or the other way round.
const LOAD_POINTS: i64 = 10;

/// What an agent loses that has all instances of the app, under the strategy spread.
const SIBLINGS_POINTS: i64 = 50;

/// The number of a value that no agent has.
const NO_VALUE: u32 = u32::MAX;

/// One content's wishes, ready to be judged.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    strategy: Strategy,
    /// How many instances the app wants; not 0.
    instances: i64,
    preferences: Vec<(Preference, Test)>,
    spreads: Vec<Shares>,
    affinities: Vec<Near>,
}

/// What an agent's facts decide.
#[derive(Clone, Debug)]
pub(super) struct Face {
    /// Points for preferences.
    liked: i64,
    /// Number of its value for each wish that counts: spreads first, then affinities.
    values: Box<[u32]>,
}

impl Face {
    /// Number of its value for each wish that counts.
    pub(super) fn values(&self) -> &[u32] {
        &self.values
    }
}

/// One reason for an agent, or against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The wish by its path below `placement`; `siblings` and `load` are of the strategy.
    pub wish: String,
    /// In words, with what was found.
    pub why: String,
    /// In thousandths.
    pub points: i64,
}

impl Judge {
    /// Of one content, where `cluster` is what apps without a strategy get. Nothing when the usual
    /// order says it all: fewest instances of the app, then most room.
    pub(super) fn of(spec: &RunSpec, cluster: Strategy) -> Option<Self> {
        let wishes = spec.placement.clone().unwrap_or_default();
        let strategy = spec.strategy(cluster);
        if strategy == Strategy::Spread && !wishes.has_any() {
            return None;
        }
        let preference = |wish: Preference| (Test::of(&wish.rule(), 0), wish);
        Some(Self {
            strategy,
            instances: i64::from(spec.instances.max(1)),
            preferences: wishes
                .preferences
                .into_iter()
                .map(preference)
                .map(|(test, wish)| (wish, test))
                .collect(),
            spreads: wishes.spread.into_iter().map(Shares::of).collect(),
            affinities: wishes.affinity.into_iter().map(Near::of).collect(),
        })
    }

    /// The same, with everything that is placed in `state` and by `placements` noted, all but `left_out`.
    pub(super) fn in_state(
        state: &ClusterState,
        content: &AppVersion,
        cluster: Strategy,
        placements: &[Placement],
        left_out: Option<&InstanceRow>,
    ) -> Option<Self> {
        let mut judge = Self::of(&content.spec, cluster)?;
        let mut apps: BTreeSet<AppId> = judge.others().cloned().collect();
        apps.insert(content.app.clone());
        let placed = placements.iter().filter_map(|placement| {
            let row = state.instances.get(&placement.instance)?;
            apps.contains(&row.app).then_some((&row.app, state.agents.get(&placement.agent)?))
        });
        let placed: Vec<_> = placed.collect();
        for app in &apps {
            let rows = state.instances_of(app).filter(|row| left_out.is_none_or(|left| left.id != row.id));
            let live = rows.filter_map(|row| row.task.as_ref()).filter(|task| task.is_live());
            let recorded = live.filter_map(|task| state.agents.get(&task.agent));
            let new = placed.iter().filter(|(of, _)| *of == app).map(|(_, agent)| *agent);
            for agent in recorded.chain(new) {
                if *app == content.app {
                    judge.note_own(&agent.info);
                } else {
                    judge.note_other(app, &agent.info);
                }
            }
        }
        Some(judge)
    }

    /// Whether it matters where instances are, of this app or of others, beyond the agent that is asked.
    pub(super) fn counts(&self) -> bool {
        !self.spreads.is_empty() || !self.affinities.is_empty()
    }

    /// Apps whose whereabouts matter.
    pub(super) fn others(&self) -> impl Iterator<Item = &AppId> {
        self.affinities.iter().map(|near| &near.app)
    }

    /// An instance of the app itself is on an agent.
    fn note_own(&mut self, agent: &AgentInfo) {
        for shares in &mut self.spreads {
            let value = shares.number_on(agent);
            shares.add(value, 1);
        }
    }

    /// So many more instances of the app itself are on an agent with this face.
    pub(super) fn note_face(&mut self, face: &Face, more: i64) {
        for (shares, value) in self.spreads.iter_mut().zip(&face.values) {
            shares.add(*value, more);
        }
    }

    /// Another app has an instance on an agent.
    fn note_other(&mut self, app: &AppId, agent: &AgentInfo) {
        for near in self.affinities.iter_mut().filter(|near| near.app == *app) {
            let value = near.number_on(agent);
            near.add(value, 1);
        }
    }

    /// Counts so many more at a value, for the wish at a position among those that count.
    pub(super) fn add(&mut self, wish: usize, value: u32, more: i64) {
        let spreads = self.spreads.len();
        match self.spreads.get_mut(wish) {
            Some(shares) => shares.add(value, more),
            None => {
                let near = self.affinities.get_mut(wish.saturating_sub(spreads));
                near.into_iter().for_each(|near| near.add(value, more));
            }
        }
    }

    /// What an agent's facts decide.
    pub(super) fn face_of(&mut self, agent: &AgentInfo) -> Face {
        let spreads = self.spreads.iter_mut().map(|shares| shares.number_on(agent));
        let affinities = self.affinities.iter_mut().map(|near| near.number_on(agent));
        let values = spreads.chain(affinities).collect();
        Face { liked: self.preferences.iter().map(|(wish, test)| preferred(wish, test, agent)).sum(), values }
    }

    /// Points that only the agent itself changes, while other apps stay where they are: its facts, its
    /// load in millionths, and how many instances of the app it has.
    pub(super) fn local(&self, face: &Face, load: u64, siblings: u32) -> i64 {
        let near: i64 = self.near(face).map(|(_, points)| points).sum();
        face.liked + near + self.by_load(load) + self.by_siblings(siblings)
    }

    /// Points that change wherever the app's instances go.
    pub(super) fn shared(&self, face: &Face) -> i64 {
        self.shares(face).map(|(_, points)| points).sum()
    }

    /// What [`Judge::shared`] looks at.
    pub(super) fn values_shared<'a>(&self, face: &'a Face) -> &'a [u32] {
        face.values.get(..self.spreads.len()).unwrap_or_default()
    }

    /// Points that instances change on this agent alone, or nearly so: those of [`Judge::local`], but with
    /// the wishes that count by the host name, and without those that count by other facts.
    pub(super) fn single(&self, face: &Face, load: u64, siblings: u32) -> i64 {
        let counted = self.shares(face).chain(self.near(face)).filter(|(is_single, _)| *is_single);
        let counted: i64 = counted.map(|(_, points)| points).sum();
        face.liked + counted + self.by_load(load) + self.by_siblings(siblings)
    }

    /// All other points: those of wishes that count by a fact that many agents share.
    pub(super) fn common(&self, face: &Face) -> i64 {
        let counted = self.shares(face).chain(self.near(face)).filter(|(is_single, _)| !*is_single);
        counted.map(|(_, points)| points).sum()
    }

    /// For each wish that counts whether it counts by the host name.
    pub(super) fn are_single(&self) -> impl Iterator<Item = bool> {
        let spreads = self.spreads.iter().map(Shares::is_of_single_agents);
        spreads.chain(self.affinities.iter().map(Near::is_of_single_agents))
    }

    /// How many wishes share the app's own instances out; those that count other apps come after them.
    pub(super) fn spreads(&self) -> usize {
        self.spreads.len()
    }

    /// Points of each spread, and whether it counts by the host name.
    fn shares(&self, face: &Face) -> impl Iterator<Item = (bool, i64)> {
        let pairs = self.spreads.iter().zip(&face.values);
        pairs.map(|(shares, value)| (shares.is_of_single_agents(), shares.points(*value, self.instances)))
    }

    /// The same of affinities.
    fn near(&self, face: &Face) -> impl Iterator<Item = (bool, i64)> {
        let pairs = self.affinities.iter().zip(face.values.iter().skip(self.spreads.len()));
        pairs.map(|(near, value)| (near.is_of_single_agents(), near.points(*value)))
    }

    fn by_load(&self, load: u64) -> i64 {
        let load = i64::try_from(load.min(1_000_000)).unwrap_or(0);
        let liked = match self.strategy {
            Strategy::Spread => 1_000_000 - load,
            Strategy::Binpack => load,
        };
        liked * LOAD_POINTS * POINT / 1_000_000
    }

    fn by_siblings(&self, siblings: u32) -> i64 {
        match self.strategy {
            Strategy::Spread => -SIBLINGS_POINTS * POINT * i64::from(siblings) / self.instances,
            Strategy::Binpack => 0,
        }
    }

    /// All parts of an agent's points, for people. Parts of no points are left away.
    pub(super) fn parts(&mut self, agent: &AgentInfo, load: u64, siblings: u32) -> Vec<Part> {
        let mut parts = Vec::new();
        for (at, (wish, test)) in self.preferences.iter().enumerate() {
            parts.push(Part {
                wish: format!("preferences({at})"),
                why: wish.to_string(),
                points: preferred(wish, test, agent),
            });
        }
        let instances = self.instances;
        for (at, shares) in self.spreads.iter_mut().enumerate() {
            let value = shares.number_on(agent);
            parts.push(Part {
                wish: format!("spread({at})"),
                why: shares.sentence(agent, value, instances),
                points: shares.points(value, instances),
            });
        }
        for (at, near) in self.affinities.iter_mut().enumerate() {
            let value = near.number_on(agent);
            parts.push(Part {
                wish: format!("affinity({at})"),
                why: format!("{} is at the same {}", near.app, near.attribute),
                points: near.points(value),
            });
        }
        parts.push(Part {
            wish: "siblings".to_owned(),
            why: format!("has {siblings} instances of the app, of {instances} wanted"),
            points: self.by_siblings(siblings),
        });
        parts.push(Part {
            wish: "load".to_owned(),
            why: format!("{}, {} % taken", self.strategy.as_str(), load / 10_000),
            points: self.by_load(load),
        });
        parts.retain(|part| part.points != 0);
        parts
    }
}

fn preferred(wish: &Preference, test: &Test, agent: &AgentInfo) -> i64 {
    let value = attribute_on(&wish.attribute, agent);
    let holds = value.is_some_and(|value| test.allows_value(&value));
    if holds { i64::from(wish.weight) * POINT } else { 0 }
}
