//! Every agent with what it has to spare, grouped in classes of equal facts, a tree over each
//! class and a tree over the classes' roots.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::column::{Column, NO_VALUE};
use super::growth::Growth;
use super::ports_offered::PortsOffered;
use super::tree::{Node, Tree};
use crate::domain::{Accepted, AgentId, AgentInfo, Constraint, Pools, Reserved, Resources, Scalar};
use crate::scheduler::index::{Index, print_of};
use crate::scheduler::rank;
use crate::state::AgentRow;

/// More classes than this cost more than they save; then the fact with the most values is asked of
/// each agent instead.
const CLASSES_MAX: usize = 8_192;

/// The log of changes is four times as long as that of growth: to weigh all agents anew, rules and facts, costs
/// more than to put as many changed ones into a heap.
const CHANGES_PER_AGENT: usize = 4;

/// Values beyond so many per agent are leftovers of facts that changed; a new book forgets them.
const VALUES_PER_AGENT_MAX: usize = 4;

/// What the book knows of one agent. What each decision asks comes first, side by side in memory:
/// with many agents, reading memory is what a placement costs.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Agent {
    /// What is left to give of all roles, less what this cycle gave.
    pub(super) spare: Resources,
    /// The same by role, where the agent keeps something for roles.
    pools: Option<Box<Pools>>,
    pub(super) class: u32,
    leaf: u32,
    /// All cpus, memory, disk and gpus that it has.
    totals: [Scalar; 4],
    /// How good it is for anybody.
    score: u32,
    /// How many ports are left.
    ports: u32,
    /// Settles ties between equal agents.
    lot: u16,
    is_present: bool,
    is_excluded: bool,
    /// This cycle gave something.
    is_touched: bool,
    /// Ports among it.
    gave_ports: bool,
    pub(super) id: AgentId,
    /// As recorded in the state that is followed; nothing when it is not there.
    pub(super) row: Option<Arc<AgentRow>>,
    /// The number of its value for each column.
    values: Vec<u32>,
}

impl Agent {
    /// Whether it may be chosen at all.
    pub(super) fn is_open(&self) -> bool {
        self.is_present && !self.is_excluded
    }

    /// How many ports are left.
    pub(super) fn ports(&self) -> usize {
        self.ports as usize
    }

    /// What is left by role; nothing where all is unreserved.
    pub(super) fn pools(&self) -> Option<&Pools> {
        self.pools.as_deref()
    }

    /// What an app with these roles may use of what is left.
    pub(super) fn open_to(&self, accepted: &Accepted) -> Cow<'_, Resources> {
        Pools::open_of(self.pools(), &self.spare, accepted)
    }

    /// What of `need` is given out of reservations.
    pub(super) fn draw(&self, need: &Resources, accepted: &Accepted) -> Reserved {
        self.pools().map(|pools| pools.draw(need, accepted)).unwrap_or_default()
    }

    /// The number of its value for a column.
    pub(super) fn value(&self, column: usize) -> u32 {
        self.values.get(column).copied().unwrap_or(NO_VALUE)
    }

    /// Whether a newer row of the same agent leaves what was assumed.
    fn is_as_assumed(&self, old: &AgentRow, new: &AgentRow) -> bool {
        let ([cpus, mem, disk, gpus], used, spare) = (self.totals, &new.used, &self.spare);
        spare.cpus == cpus.minus(used.cpus)
            && spare.mem == mem.minus(used.mem)
            && spare.disk == disk.minus(used.disk)
            && spare.gpus == gpus.minus(used.gpus)
            && if self.gave_ports {
                spare.ports == new.spare().ports
            } else {
                old.used.ports == used.ports && old.held_ports == new.held_ports
            }
    }

    fn take_spare(&mut self, spare: Resources, pools: Option<Box<Pools>>) {
        self.gave_ports = false;
        self.ports = spare.ports.count();
        self.spare = spare;
        self.pools = pools;
    }

    /// How good it is for anybody, when it was last settled.
    pub(super) fn score(&self) -> u32 {
        self.score
    }

    /// Works out how good it is now.
    fn rate(&mut self) {
        let [cpus, mem, ..] = self.totals;
        self.score = rank::score((cpus, mem), (self.spare.cpus, self.spare.mem), self.lot);
    }

    /// How full it is, in millionths.
    pub(super) fn load(&self) -> u64 {
        let [cpus, mem, ..] = self.totals;
        rank::load((cpus, mem), (self.spare.cpus, self.spare.mem))
    }

    /// What settles ties.
    pub(super) fn lot(&self) -> u16 {
        self.lot
    }

    fn node(&self) -> Node {
        if self.is_open() { Node::of_spare(&self.spare, self.ports, self.score) } else { Node::default() }
    }
}

/// Agents that are equal in everything that rules divide by.
#[derive(Clone, Debug)]
pub(super) struct Class {
    /// Whether they run containers, and their values for the coarse columns (none for fine ones).
    pub(super) has_docker: bool,
    key: Vec<u32>,
    pub(super) tree: Tree,
    /// Who is at which leaf; somebody who left stays until another takes the leaf.
    pub(super) members: Vec<u32>,
    /// Leaves that nobody has.
    vacant: Vec<u32>,
}

impl Class {
    /// The number of the members' value for a column.
    pub(super) fn value(&self, column: usize) -> u32 {
        self.key.get(column).copied().unwrap_or(NO_VALUE)
    }
}

/// All agents.
#[derive(Clone, Debug, Default)]
pub(super) struct Fleet {
    index: Index,
    pub(super) agents: Vec<Agent>,
    pub(super) columns: Vec<Column>,
    pub(super) classes: Vec<Class>,
    class_of: BTreeMap<(bool, Vec<u32>), u32>,
    /// A leaf per class: its root.
    pub(super) roots: Tree,
    pub(super) growth: Growth,
    /// Agents that changed in any way, not only for the better.
    pub(super) changes: Growth,
    /// Rises when classes are formed anew, or when nodes of trees get other positions.
    pub(super) era: u64,
    /// Classes no longer are as they should be.
    is_misshapen: bool,
    excluded: BTreeSet<AgentId>,
    /// Recorded agents that may not be chosen now.
    pub(super) closed: BTreeSet<u32>,
    /// Ports of all recorded agents.
    pub(super) offered: PortsOffered,
    touched: Vec<u32>,
}

impl Fleet {
    pub(super) fn agent(&self, agent: u32) -> Option<&Agent> {
        self.agents.get(agent as usize)
    }

    pub(super) fn find(&self, id: &AgentId) -> Option<u32> {
        let is_it = |number: u32| self.agent(number).is_some_and(|agent| agent.id == *id);
        self.index.find(print_of(id.as_str()), is_it)
    }

    /// The number of an agent, known so far or not.
    pub(super) fn number(&mut self, id: &AgentId) -> u32 {
        if let Some(known) = self.find(id) {
            return known;
        }
        let agent = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
        self.index.insert(print_of(id.as_str()), agent);
        self.agents.push(Agent {
            id: id.clone(),
            row: None,
            spare: Resources::default(),
            pools: None,
            ports: 0,
            values: vec![NO_VALUE; self.columns.len()],
            class: NO_CLASS,
            leaf: 0,
            lot: rank::lot(id),
            totals: [Scalar::ZERO; 4],
            score: 0,
            is_present: false,
            is_excluded: self.excluded.contains(id),
            is_touched: false,
            gave_ports: false,
        });
        agent
    }

    /// Takes an agent as it is recorded now. Says whether a value of it changed that rules ask for.
    pub(super) fn record(&mut self, agent: u32, row: Option<&Arc<AgentRow>>) -> bool {
        let Some(known) = self.agents.get_mut(agent as usize) else { return false };
        let old = std::mem::replace(&mut known.row, row.map(Arc::clone));
        known.is_touched = false;
        if let (Some(old), Some(new)) = (&old, row)
            && is_same_kind(old, new)
        {
            // Or a change that matters to nobody here.
            let pools = new.pools().map(Box::new);
            if known.is_as_assumed(old, new) && known.pools == pools {
                known.gave_ports = false;
            } else {
                let spare = new.spare();
                let has_more = |(had, has): (&Pools, &Pools)| had.has_less_than(has);
                let grew = !known.spare.contains(&spare)
                    || known.pools().zip(pools.as_deref()).is_some_and(has_more);
                known.take_spare(spare, pools);
                self.settle(agent);
                if grew {
                    self.note_growth(agent);
                }
            }
            return false;
        }
        old.iter().for_each(|old| self.offered.remove(&old.info.totals.ports));
        row.iter().for_each(|row| self.offered.add(&row.info.totals.ports));
        known.is_present = row.is_some_and(|row| row.takes_tasks());
        known.totals = row.map_or([Scalar::ZERO; 4], |row| {
            let totals = &row.info.totals;
            [totals.cpus, totals.mem, totals.disk, totals.gpus]
        });
        let pools = row.and_then(|row| row.pools()).map(Box::new);
        known.take_spare(row.map(|row| row.spare()).unwrap_or_default(), pools);
        self.note_closed(agent);
        let changed = self.revalue(agent);
        self.settle(agent);
        self.note_growth(agent);
        changed
    }

    /// Notes whether an agent may be chosen.
    fn note_closed(&mut self, agent: u32) {
        if self.agent(agent).is_some_and(|known| known.row.is_some() && !known.is_open()) {
            self.closed.insert(agent);
        } else {
            self.closed.remove(&agent);
        }
    }

    /// Reads an agent's values again, and moves it to the class that they make.
    fn revalue(&mut self, agent: u32) -> bool {
        let Some(known) = self.agents.get_mut(agent as usize) else { return false };
        let info = known.row.as_ref().map(|row| &row.info);
        let read = |column: &mut Column| info.map_or(NO_VALUE, |info| column.read(info));
        let values: Vec<u32> = self.columns.iter_mut().map(read).collect();
        let old = std::mem::replace(&mut known.values, values);
        let changed = old != known.values;
        for (column, (old, new)) in self.columns.iter_mut().zip(old.iter().zip(&known.values)) {
            if old != new {
                column.hold(*old, agent, false);
                column.hold(*new, agent, true);
                self.is_misshapen |= !column.is_fine && column.is_wide();
            }
        }
        self.enrol(agent);
        changed
    }

    /// Puts an agent into the class that it belongs to.
    fn enrol(&mut self, agent: u32) {
        let Some(known) = self.agents.get(agent as usize) else { return };
        let (has_docker, key) = self.key(known);
        let (old_class, old_leaf) = (known.class, known.leaf);
        let class = self.class(has_docker, key);
        if class == old_class {
            return;
        }
        if let Some(old) = self.classes.get_mut(old_class as usize) {
            old.vacant.push(old_leaf);
            if old.tree.set(old_leaf, Node::default()) {
                self.roots.set(old_class, old.tree.root());
            }
        }
        let Some(new) = self.classes.get_mut(class as usize) else { return };
        let leaf = new.vacant.pop().unwrap_or_else(|| {
            new.members.push(agent);
            let before = new.tree.capacity();
            let leaf = new.tree.push();
            self.era += u64::from(new.tree.capacity() != before);
            leaf
        });
        if let Some(member) = new.members.get_mut(leaf as usize) {
            *member = agent;
        }
        if let Some(known) = self.agents.get_mut(agent as usize) {
            (known.class, known.leaf) = (class, leaf);
        }
    }

    /// The class with these facts, a new one if need be.
    fn class(&mut self, has_docker: bool, key: Vec<u32>) -> u32 {
        let found = (has_docker, key);
        if let Some(class) = self.class_of.get(&found) {
            return *class;
        }
        let before = self.roots.capacity();
        let class = self.roots.push();
        self.era += u64::from(self.roots.capacity() != before);
        self.classes.push(Class {
            has_docker,
            key: found.1.clone(),
            tree: Tree::default(),
            members: Vec::new(),
            vacant: Vec::new(),
        });
        self.class_of.insert(found, class);
        self.is_misshapen |= self.classes.len() > CLASSES_MAX;
        class
    }

    /// The column of the fact that a rule asks for, a new one if need be.
    pub(super) fn column(&mut self, rule: &Constraint) -> usize {
        if let Some(known) = self.columns.iter().position(|column| column.answers(rule)) {
            return known;
        }
        let mut column = Column::of(rule);
        for (number, agent) in (0..).zip(&mut self.agents) {
            let value = agent.row.as_ref().map_or(NO_VALUE, |row| column.read(&row.info));
            agent.values.push(value);
            column.hold(value, number, true);
        }
        self.is_misshapen = true;
        self.columns.push(column);
        self.columns.len() - 1
    }

    /// Forms the classes anew where that is due. Costs as much as there are agents, and is due
    /// when a rule asks for a fact that none asked for before.
    pub(super) fn shape(&mut self) {
        if !std::mem::take(&mut self.is_misshapen) {
            return;
        }
        for column in &mut self.columns {
            column.is_fine = column.is_wide();
        }
        loop {
            let keys: BTreeSet<(bool, Vec<u32>)> = self.agents.iter().map(|agent| self.key(agent)).collect();
            let coarse = self.columns.iter_mut().filter(|column| !column.is_fine);
            match coarse.max_by_key(|column| column.width()) {
                // Half of it, so that a few agents more do not bring us here again.
                Some(widest) if keys.len() > CLASSES_MAX / 2 => widest.is_fine = true,
                _ => break,
            }
        }
        self.era += 1;
        self.classes.clear();
        self.class_of.clear();
        self.roots = Tree::default();
        for agent in &mut self.agents {
            agent.class = NO_CLASS;
        }
        for agent in (0..).take(self.agents.len()) {
            self.enrol(agent);
            self.settle(agent);
        }
    }

    fn key(&self, agent: &Agent) -> (bool, Vec<u32>) {
        let pairs = agent.values.iter().zip(&self.columns);
        let key = pairs.map(|(value, column)| if column.is_fine { NO_VALUE } else { *value });
        (agent.row.as_ref().is_some_and(|row| row.takes_containers()), key.collect())
    }

    /// Whether so many values are left over that a new book would be much smaller.
    pub(super) fn is_bloated(&self) -> bool {
        let most = self.agents.len().saturating_mul(VALUES_PER_AGENT_MAX).saturating_add(1_024);
        self.columns.iter().any(|column| column.width() > most)
    }

    /// Shows an agent as it is.
    pub(super) fn settle(&mut self, agent: u32) {
        let Some(known) = self.agents.get_mut(agent as usize) else { return };
        known.rate();
        if let Some(home) = self.classes.get_mut(known.class as usize)
            && home.tree.set(known.leaf, known.node())
        {
            self.roots.set(known.class, home.tree.root());
        }
        self.note_change(agent);
    }

    /// Notes that somebody may like an agent better than before.
    pub(super) fn note_growth(&mut self, agent: u32) {
        self.growth.note(agent, self.agents.len());
        self.note_change(agent);
    }

    /// Notes that somebody may like an agent better or less than before.
    pub(super) fn note_change(&mut self, agent: u32) {
        self.changes.note(agent, self.agents.len().saturating_mul(CHANGES_PER_AGENT));
    }

    /// Notes it of everybody who has a value.
    pub(super) fn note_growth_of(&mut self, column: usize, value: u32) {
        let Some(column) = self.columns.get(column) else { return };
        for holder in column.holders(value) {
            self.growth.note(*holder, self.agents.len());
        }
    }

    /// Gives some of what an agent has to spare. Its leaf is left for the caller to write.
    pub(super) fn give(&mut self, agent: u32, taken: &Resources, drawn: &Reserved) {
        let Some(known) = self.agents.get_mut(agent as usize) else { return };
        if let Some(pools) = &mut known.pools {
            pools.take(taken, drawn);
        }
        let spare = &mut known.spare;
        spare.cpus = spare.cpus.minus(taken.cpus);
        spare.mem = spare.mem.minus(taken.mem);
        spare.disk = spare.disk.minus(taken.disk);
        spare.gpus = spare.gpus.minus(taken.gpus);
        if !taken.ports.ranges().is_empty() {
            spare.ports = spare.ports.minus(&taken.ports);
            known.ports = spare.ports.count();
            known.gave_ports = true;
        }
        if !known.is_touched {
            known.is_touched = true;
            self.touched.push(agent);
        }
    }

    /// Takes back what was given and never recorded.
    pub(super) fn take_back(&mut self) {
        for agent in std::mem::take(&mut self.touched) {
            let Some(known) = self.agents.get_mut(agent as usize).filter(|known| known.is_touched) else {
                continue; // Recorded since.
            };
            known.is_touched = false;
            let pools = known.row.as_ref().and_then(|row| row.pools()).map(Box::new);
            known.take_spare(known.row.as_ref().map(|row| row.spare()).unwrap_or_default(), pools);
            self.settle(agent);
            self.note_growth(agent);
        }
    }

    /// Leaves these agents out, and no others.
    pub(super) fn exclude(&mut self, excluded: &BTreeSet<AgentId>) {
        if self.excluded == *excluded {
            return;
        }
        let old = std::mem::replace(&mut self.excluded, excluded.clone());
        for id in old.symmetric_difference(excluded) {
            let Some(agent) = self.find(id) else { continue };
            if let Some(known) = self.agents.get_mut(agent as usize) {
                known.is_excluded = !known.is_excluded;
            }
            self.note_closed(agent);
            self.settle(agent);
            self.note_growth(agent);
        }
    }
}

/// The class of an agent that has none yet.
const NO_CLASS: u32 = u32::MAX;

/// Whether nothing changed but what is used and held.
fn is_same_kind(old: &AgentRow, new: &AgentRow) -> bool {
    let (was, is) = (&old.info, &new.info);
    let may_take = |row: &AgentRow| (row.takes_tasks(), row.takes_containers());
    may_take(old) == may_take(new) && (Arc::ptr_eq(was, is) || describes_the_same(was, is))
}

fn describes_the_same(was: &AgentInfo, is: &AgentInfo) -> bool {
    was.totals == is.totals
        && was.reserved == is.reserved
        && was.hostname == is.hostname
        && was.attributes == is.attributes
}
