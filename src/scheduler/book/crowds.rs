//! What a content with soft wishes keeps from turn to turn: where instances are that its wishes count, and
//! who may be chosen.
//!
//! Agents to which all counting wishes give the same points make a crowd: within a crowd only what an agent
//! is by itself decides, and that changes only where something is placed or ends. So each crowd is a
//! heap, and the best of all is among their tops. Wishes that count by the host name divide nobody: what
//! they count is an agent's own, but that several may have one name.

use std::collections::{BTreeMap, BinaryHeap};

use super::counts::Counts;
use super::demand::Demand;
use super::fleet::Fleet;
use super::groups::{MOVING, number_of};
use crate::scheduler::judge::{Face, Judge};

/// Entries beyond so many per agent are of those who changed since: then all are weighed anew.
const ENTRIES_PER_AGENT_MAX: usize = 3;

/// Instances by agent: of the app itself, and for each affinity of the other app.
pub(super) struct Whereabouts<'a> {
    pub(super) own: &'a Counts,
    pub(super) others: Vec<Option<&'a Counts>>,
}

/// Who may be chosen.
#[derive(Clone, Debug)]
pub(super) struct Crowds {
    pub(super) judge: Judge,
    pub(super) all: Vec<Crowd>,
    /// Positions of crowds by what their members have in common.
    places: BTreeMap<Box<[u32]>, usize>,
    /// Refused by a rule that looks at instances, with the crowds that they are of.
    pub(super) aside: Vec<(usize, Entry)>,
    /// For each wish that counts by the host name: agents by number of the value.
    homes: Vec<Option<Vec<Vec<u32>>>>,
    /// What the judge was told of each agent with instances that count.
    told: BTreeMap<u32, Told>,
    /// Position in the log of changes.
    at: u64,
    /// Who changed since he was weighed.
    changed: Vec<u32>,
    /// Not even that is known of all.
    is_stale: bool,
}

/// Agents that counting wishes cannot tell apart.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    pub(super) face: Face,
    pub(super) heap: BinaryHeap<Entry>,
}

/// An agent as it was weighed; worth nothing when it weighs something else by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Points that only its own facts, load and instances change.
    pub(super) points: i64,
    pub(super) lot: u16,
    pub(super) agent: u32,
}

/// Values of an agent and how many instances count there, wish by wish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    values: Vec<u32>,
    counts: Vec<u32>,
}

impl Crowds {
    /// Of a judge that was told nothing yet.
    pub(super) fn of(judge: Judge) -> Self {
        let homes = judge.are_single().map(|is_single| is_single.then(Vec::new)).collect();
        Self {
            judge,
            all: Vec::new(),
            places: BTreeMap::new(),
            aside: Vec::new(),
            homes,
            told: BTreeMap::new(),
            at: 0,
            changed: Vec::new(),
            is_stale: true,
        }
    }

    /// How much there is to remember.
    pub(super) fn len(&self) -> usize {
        let entries = self.all.iter().map(|crowd| crowd.heap.len()).sum::<usize>();
        entries + self.aside.len() + self.changed.len() + self.told.len()
    }

    /// Takes over where instances are now. Costs what changed since the last time.
    pub(super) fn follow(&mut self, fleet: &Fleet, whereabouts: &Whereabouts<'_>) {
        let changed = fleet.changes.since(self.at).filter(|_| !self.is_stale);
        match changed.map(<[u32]>::to_vec) {
            Some(changed) => {
                if self.judge.counts() {
                    changed.iter().for_each(|agent| self.tell(fleet, whereabouts, *agent));
                }
                self.changed.extend(changed);
                self.is_stale = self.changed.len() > fleet.agents.len();
            }
            None => self.tell_all(fleet, whereabouts),
        }
        self.at = fleet.changes.end();
    }

    fn tell_all(&mut self, fleet: &Fleet, whereabouts: &Whereabouts<'_>) {
        self.is_stale = true;
        if !self.judge.counts() {
            return;
        }
        let others = whereabouts.others.iter().flatten().flat_map(|counts| counts.keys());
        let mut agents: Vec<u32> =
            self.told.keys().copied().chain(whereabouts.own.keys()).chain(others).collect();
        agents.sort_unstable();
        agents.dedup();
        agents.into_iter().for_each(|agent| self.tell(fleet, whereabouts, agent));
    }

    /// Tells the judge what counts on an agent now, and no longer what he was told before.
    fn tell(&mut self, fleet: &Fleet, whereabouts: &Whereabouts<'_>, number: u32) {
        let own = number_of(whereabouts.own.get(number));
        let is_elsewhere = |counts: &&Counts| counts.get(number) == 0;
        if own == 0
            && !self.told.contains_key(&number)
            && whereabouts.others.iter().flatten().all(is_elsewhere)
        {
            return; // As with most.
        }
        let others = whereabouts.others.iter();
        let others = others.map(|counts| u32::from(counts.is_some_and(|counts| counts.get(number) > 0)));
        let counts: Vec<u32> = std::iter::repeat_n(own, self.judge.spreads()).chain(others).collect();
        let row = fleet.agent(number).and_then(|agent| agent.row.as_ref());
        let now = match row.filter(|_| counts.iter().any(|count| *count > 0)) {
            Some(row) => Told { values: self.judge.face_of(&row.info).values().to_vec(), counts },
            None => Told::default(),
        };
        let before = self.told.remove(&number).unwrap_or_default();
        if before != now {
            self.count(&before, -1);
            self.count(&now, 1);
        }
        if now != Told::default() {
            self.told.insert(number, now);
        }
    }

    fn count(&mut self, told: &Told, sign: i64) {
        for (wish, (value, count)) in told.values.iter().zip(&told.counts).enumerate() {
            if *count > 0 {
                self.judge.add(wish, *value, sign * i64::from(*count));
                let neighbours = neighbours(&self.homes, wish, *value);
                self.changed.extend_from_slice(neighbours);
            }
        }
    }

    /// An instance of the app was given to an agent. Gives those who weigh something else since.
    pub(super) fn give(&mut self, fleet: &Fleet, number: u32) -> Vec<u32> {
        let mut changed = vec![number];
        let Some(row) = fleet.agent(number).and_then(|agent| agent.row.as_ref()) else { return changed };
        if !self.judge.counts() {
            return changed;
        }
        let face = self.judge.face_of(&row.info);
        self.judge.note_face(&face, 1);
        let told = self.told.entry(number).or_default();
        told.values = face.values().to_vec();
        told.counts.resize(told.values.len(), 0);
        let spreads = self.judge.spreads();
        told.counts.iter_mut().take(spreads).for_each(|count| *count += 1);
        for (wish, value) in face.values().iter().enumerate().take(spreads) {
            let others = neighbours(&self.homes, wish, *value).iter().filter(|agent| **agent != number);
            changed.extend(others);
        }
        changed
    }

    /// Nothing that was done since [`Crowds::follow`] is new.
    pub(super) fn rest(&mut self, fleet: &Fleet) {
        self.at = fleet.changes.end();
    }

    /// Weighs whoever changed, or everybody where that is not known.
    pub(super) fn weigh_changed(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts) {
        let entries: usize = self.all.iter().map(|crowd| crowd.heap.len()).sum();
        if self.is_stale || entries > fleet.agents.len().saturating_mul(ENTRIES_PER_AGENT_MAX) {
            return self.weigh_all(fleet, demand, siblings);
        }
        self.readmit();
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed.into_iter().for_each(|agent| self.weigh_again(fleet, demand, siblings, agent));
    }

    /// Everybody who has room for an instance, whatever the rules say now.
    fn weigh_all(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts) {
        self.all.clear();
        self.places.clear();
        self.aside.clear();
        self.changed.clear();
        self.homes.iter_mut().flatten().for_each(Vec::clear);
        let mut heaps: Vec<Vec<Entry>> = Vec::new();
        for number in (0..).take(fleet.agents.len()) {
            let Some((face, entry)) = self.weigh(fleet, demand, siblings, number) else { continue };
            let at = self.place(face, number);
            heaps.resize(self.all.len(), Vec::new());
            heaps.get_mut(at).into_iter().for_each(|heap| heap.push(entry));
        }
        for (crowd, entries) in self.all.iter_mut().zip(heaps) {
            crowd.heap = entries.into();
        }
        self.is_stale = false;
    }

    /// What an agent is worth that has room.
    pub(super) fn weigh(
        &mut self,
        fleet: &Fleet,
        demand: &Demand,
        siblings: &Counts,
        number: u32,
    ) -> Option<(Face, Entry)> {
        let agent = fleet.agent(number).filter(|agent| demand.has_room_on(agent))?;
        let own = Some(siblings.get(number)).filter(|own| *own < MOVING)?;
        let face = self.judge.face_of(&agent.row.as_ref()?.info);
        let points = self.judge.single(&face, agent.load(), number_of(own));
        Some((face, Entry { points, lot: agent.lot(), agent: number }))
    }

    /// Puts an agent that changed where it belongs now. What it was is not looked for: it is known when it
    /// comes to the top.
    pub(super) fn weigh_again(&mut self, fleet: &Fleet, demand: &Demand, siblings: &Counts, number: u32) {
        if let Some((face, entry)) = self.weigh(fleet, demand, siblings, number) {
            let at = self.place(face, number);
            self.push(at, entry);
        }
    }

    /// Whether an entry of a crowd is what its agent is now.
    pub(super) fn is_so(
        &mut self,
        fleet: &Fleet,
        demand: &Demand,
        siblings: &Counts,
        (at, entry): (usize, Entry),
    ) -> bool {
        let now = self.weigh(fleet, demand, siblings, entry.agent);
        let Some((face, _)) = now.filter(|(_, now)| *now == entry) else { return false };
        let Some(crowd) = self.all.get(at) else { return false };
        let pairs = face.values().iter().zip(crowd.face.values()).zip(&self.homes);
        pairs.into_iter().all(|((own, common), homes)| homes.is_some() || own == common)
    }

    /// The crowd of an agent with this face, a new one if need be. Notes where the agent is at home.
    fn place(&mut self, face: Face, number: u32) -> usize {
        for (homes, value) in self.homes.iter_mut().zip(face.values()) {
            if let Some(homes) = homes {
                note_home(homes, *value, number);
            }
        }
        let common = face.values().iter().zip(&self.homes).filter(|(_, homes)| homes.is_none());
        let key: Box<[u32]> = common.map(|(value, _)| *value).collect();
        let next = self.all.len();
        let at = *self.places.entry(key).or_insert(next);
        if at == next {
            self.all.push(Crowd { face, heap: BinaryHeap::new() });
        }
        at
    }

    pub(super) fn push(&mut self, at: usize, entry: Entry) {
        if let Some(crowd) = self.all.get_mut(at) {
            crowd.heap.push(entry);
        }
    }

    /// Those whom a rule refused may be asked again.
    pub(super) fn readmit(&mut self) {
        for (at, entry) in std::mem::take(&mut self.aside) {
            self.push(at, entry);
        }
    }
}

/// Agents that a wish counts together, where it counts by the host name.
fn neighbours(homes: &[Option<Vec<Vec<u32>>>], wish: usize, value: u32) -> &[u32] {
    let homes = homes.get(wish).and_then(Option::as_ref);
    homes.and_then(|homes| homes.get(value as usize)).map_or(&[], Vec::as_slice)
}

fn note_home(homes: &mut Vec<Vec<u32>>, value: u32, number: u32) {
    let at = value as usize;
    if homes.len() <= at {
        homes.resize(at + 1, Vec::new());
    }
    let agents = homes.get_mut(at).filter(|agents| !agents.contains(&number));
    agents.into_iter().for_each(|agents| agents.push(number));
}
