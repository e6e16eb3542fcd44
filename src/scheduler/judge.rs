//! Soft wishes in points: which of the agents that suit an app likes best.
//!
//! Points are in thousandths. The sum decides; of equal ones the greater lot, then the smaller id.
//! What only an agent's facts decide is worked out once for each ([`Judge::face_of`]).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::rules::Test;
use crate::domain::{AgentInfo, AppId, AppVersion, Preference, RunSpec, Spread, Strategy, attribute_on};
use crate::state::{ClusterState, InstanceRow, Placement};

/// Thousandths of one point.
const POINT: i64 = 1_000;

/// What an empty agent is worth more than a full one, or the other way round.
const LOAD_POINTS: i64 = 10;

/// What an agent loses that has all instances of the app, under the strategy spread.
const SIBLINGS_POINTS: i64 = 50;

/// The number of a value that no agent has.
const NO_VALUE: usize = usize::MAX;

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

/// Where the app's own instances are, by the value of one fact.
#[derive(Clone, Debug)]
struct Shares {
    wish: Spread,
    values: BTreeMap<String, usize>,
    /// Instances by number of the value.
    counts: Vec<i64>,
    /// Wanted percentage by number of the value; nothing for values that are not named.
    percents: Vec<Option<i64>>,
    /// Instances at values that are not named.
    elsewhere: i64,
}

/// Where another app is.
#[derive(Clone, Debug)]
struct Near {
    app: AppId,
    attribute: String,
    weight: i64,
    values: BTreeSet<String>,
}

/// What an agent's facts decide.
#[derive(Clone, Debug)]
pub(super) struct Face {
    /// Points for preferences and affinities.
    fixed: i64,
    /// Number of its value for each spread.
    values: Vec<usize>,
}

impl Face {
    /// Agents with the same numbers get the same points for what is shared out.
    pub(super) fn values(&self) -> &[usize] {
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
        let affinities = wishes.affinity.into_iter().map(|wish| Near {
            app: wish.app,
            attribute: wish.attribute,
            weight: i64::from(wish.weight),
            values: BTreeSet::new(),
        });
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
            affinities: affinities.collect(),
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
                    judge.note_own(&agent.info, 1);
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

    /// So many instances of the app itself are on an agent.
    pub(super) fn note_own(&mut self, agent: &AgentInfo, count: u32) {
        for shares in &mut self.spreads {
            let value = shares.number_on(agent);
            shares.add(value, i64::from(count));
        }
    }

    /// So many more instances of the app itself are on an agent with this face.
    pub(super) fn note_face(&mut self, face: &Face, more: i64) {
        for (shares, value) in self.spreads.iter_mut().zip(&face.values) {
            shares.add(*value, more);
        }
    }

    /// Another app has an instance on an agent.
    pub(super) fn note_other(&mut self, app: &AppId, agent: &AgentInfo) {
        for near in self.affinities.iter_mut().filter(|near| near.app == *app) {
            near.values.extend(attribute_on(&near.attribute, agent).map(Cow::into_owned));
        }
    }

    /// What an agent's facts decide.
    pub(super) fn face_of(&mut self, agent: &AgentInfo) -> Face {
        let liked: i64 = self.preferences.iter().map(|(wish, test)| preferred(wish, test, agent)).sum();
        let near: i64 = self.affinities.iter().map(|near| near.points(agent)).sum();
        Face {
            fixed: liked + near,
            values: self.spreads.iter_mut().map(|shares| shares.number_on(agent)).collect(),
        }
    }

    /// Points that only the agent itself changes: its facts, its load in millionths, and how many
    /// instances of the app it has.
    pub(super) fn local(&self, face: &Face, load: u64, siblings: u32) -> i64 {
        face.fixed + self.by_load(load) + self.by_siblings(siblings)
    }

    /// Points that change wherever the app's instances go.
    pub(super) fn shared(&self, face: &Face) -> i64 {
        let of = |(shares, value): (&Shares, &usize)| shares.points(*value, self.instances);
        self.spreads.iter().zip(&face.values).map(of).sum()
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
        for (at, near) in self.affinities.iter().enumerate() {
            parts.push(Part {
                wish: format!("affinity({at})"),
                why: format!("{} is at the same {}", near.app, near.attribute),
                points: near.points(agent),
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

impl Near {
    fn points(&self, agent: &AgentInfo) -> i64 {
        if self.values.is_empty() {
            return 0;
        }
        let is_near = attribute_on(&self.attribute, agent).is_some_and(|value| self.values.contains(&*value));
        if is_near { self.weight * POINT } else { 0 }
    }
}

impl Shares {
    fn of(wish: Spread) -> Self {
        let mut shares =
            Self { wish, values: BTreeMap::new(), counts: Vec::new(), percents: Vec::new(), elsewhere: 0 };
        for target in shares.wish.targets.clone() {
            let value = shares.number(&target.value);
            if let Some(percent) = shares.percents.get_mut(value) {
                *percent = Some(i64::from(target.percent));
            }
        }
        shares
    }

    fn number(&mut self, value: &str) -> usize {
        if let Some(number) = self.values.get(value) {
            return *number;
        }
        let number = self.values.len();
        self.values.insert(value.to_owned(), number);
        self.counts.push(0);
        self.percents.push(None);
        number
    }

    fn number_on(&mut self, agent: &AgentInfo) -> usize {
        attribute_on(&self.wish.attribute, agent).map_or(NO_VALUE, |value| self.number(&value))
    }

    fn add(&mut self, value: usize, more: i64) {
        if let Some(count) = self.counts.get_mut(value) {
            *count += more;
            if self.percents.get(value) == Some(&None) {
                self.elsewhere += more;
            }
        }
    }

    /// What a value should have and has, in thousandths of the app's instances. An agent without
    /// the fact is as bad as one where all of them are.
    fn points(&self, value: usize, instances: i64) -> i64 {
        let weight = i64::from(self.wish.weight);
        let Some(count) = self.counts.get(value).copied() else { return -weight * POINT };
        let (wanted, has) = match self.percents.get(value).copied().flatten() {
            Some(percent) => (percent * 10, count),
            None if self.wish.targets.is_empty() => (0, count),
            None => (self.rest() * 10, self.elsewhere),
        };
        weight * (wanted - has * 1_000 / instances)
    }

    /// Percentage that targets leave to other values.
    fn rest(&self) -> i64 {
        100 - self.percents.iter().flatten().sum::<i64>()
    }

    fn sentence(&self, agent: &AgentInfo, value: usize, instances: i64) -> String {
        let name = &self.wish.attribute;
        let Some(text) = attribute_on(name, agent) else { return format!("the agent has no {name}") };
        let count = self.counts.get(value).copied().unwrap_or(0);
        match self.percents.get(value).copied().flatten() {
            Some(percent) => format!("{name} {text:?} has {count} of {instances}, wants {percent} %"),
            None if self.wish.targets.is_empty() => format!("{name} {text:?} has {count} of {instances}"),
            None => {
                let (has, rest) = (self.elsewhere, self.rest());
                format!("values of {name} without a share have {has} of {instances}, want {rest} %")
            }
        }
    }
}
