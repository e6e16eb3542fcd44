//! Which instances live on which agent. Derived from the instances.
//!
//! One row per agent, so that recording what happens to one instance copies the names of one
//! agent's instances and not those of its neighbours in a table.

use super::table::Table;
use crate::domain::{AgentId, InstanceId};

/// Instances by agent; an agent without any has no row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ByAgent {
    agents: Table<AgentId, Vec<InstanceId>>,
}

impl ByAgent {
    /// From pairs in the order of the instances.
    pub(super) fn of(mut pairs: Vec<(AgentId, InstanceId)>) -> Self {
        pairs.sort();
        let rows = pairs.chunk_by(|a, b| a.0 == b.0).filter_map(|own| {
            let (agent, _) = own.first()?;
            Some((agent.clone(), own.iter().map(|(_, id)| id.clone()).collect()))
        });
        Self { agents: rows.collect() }
    }

    /// From agents in order, each with its instances in order, of which there is one at least.
    pub(super) fn of_each(agents: impl Iterator<Item = (AgentId, Vec<InstanceId>)>) -> Self {
        Self { agents: agents.collect() }
    }

    /// In the order of their ids.
    pub(super) fn of_agent(&self, agent: &AgentId) -> &[InstanceId] {
        self.agents.get(agent).map_or(&[], |ids| ids.as_slice())
    }

    pub(super) fn contains(&self, agent: &AgentId, id: &InstanceId) -> bool {
        self.of_agent(agent).binary_search(id).is_ok()
    }

    /// How many instances, over all agents.
    pub(super) fn len(&self) -> usize {
        self.agents.values().map(|ids| ids.len()).sum()
    }

    pub(super) fn insert(&mut self, agent: &AgentId, id: InstanceId) {
        let Some(ids) = self.agents.get_mut(agent) else {
            self.agents.insert(agent.clone(), vec![id]);
            return;
        };
        if let Err(gap) = ids.binary_search(&id) {
            ids.insert(gap, id);
        }
    }

    pub(super) fn remove(&mut self, agent: &AgentId, id: &InstanceId) {
        let Some(ids) = self.agents.get_mut(agent) else { return };
        if let Ok(at) = ids.binary_search(id) {
            ids.remove(at);
        }
        if ids.is_empty() {
            self.agents.remove(agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_found_under_their_agent_until_they_are_gone() {
        let (a, b) = (AgentId::new("a"), AgentId::new("b"));
        let id = |n: u32| InstanceId::new(format!("i{n}"));
        let mut index = ByAgent::of(vec![(b.clone(), id(1)), (a.clone(), id(2)), (b.clone(), id(3))]);
        index.insert(&b, id(2));
        index.insert(&b, id(2));
        assert_eq!((index.of_agent(&a), index.of_agent(&b)), (&[id(2)][..], &[id(1), id(2), id(3)][..]));
        index.remove(&a, &id(2));
        index.remove(&a, &id(2));
        assert_eq!((index.of_agent(&a), index.len()), (&[][..], 3));
        assert!(index.contains(&b, &id(3)) && !index.contains(&a, &id(3)));
        assert_eq!(index, ByAgent::of((1..=3).map(|n| (b.clone(), id(n))).collect()));
    }
}
