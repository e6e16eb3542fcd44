//! Which host ports anybody offers, by the few lists of ranges that agents have.

use std::collections::BTreeMap;

use crate::domain::PortRanges;

/// With more different lists than this each agent is asked.
const LISTS_MAX: usize = 64;

/// Lists of ranges with how many agents have them, taken ports and all.
#[derive(Clone, Debug, Default)]
pub(super) struct PortsOffered {
    agents: BTreeMap<Vec<(u16, u16)>, u32>,
}

impl PortsOffered {
    /// An agent has these ports.
    pub(super) fn add(&mut self, ports: &PortRanges) {
        if let Some(agents) = self.agents.get_mut(ports.ranges()) {
            *agents = agents.saturating_add(1);
        } else {
            self.agents.insert(ports.ranges().to_vec(), 1);
        }
    }

    /// It no longer has them.
    pub(super) fn remove(&mut self, ports: &PortRanges) {
        if let Some(agents) = self.agents.get_mut(ports.ranges()) {
            *agents = agents.saturating_sub(1);
            if *agents == 0 {
                self.agents.remove(ports.ranges());
            }
        }
    }

    /// Whether some agent may have all of these; no means that none has.
    pub(super) fn may_have(&self, ports: impl Iterator<Item = u16> + Clone) -> bool {
        let has =
            |list: &[(u16, u16)], port: u16| list.iter().any(|(from, to)| (*from..=*to).contains(&port));
        self.agents.len() > LISTS_MAX
            || self.agents.keys().any(|list| ports.clone().all(|port| has(list, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_offered_while_one_agent_has_them_all() {
        let mut offered = PortsOffered::default();
        let may_have = |offered: &PortsOffered, ports: &[u16]| offered.may_have(ports.iter().copied());
        assert!(!may_have(&offered, &[]), "nobody is there");
        let (low, high) = (PortRanges::new([(1, 9), (20, 29)]), PortRanges::new([(30, 39)]));
        offered.add(&low);
        offered.add(&low);
        offered.add(&high);
        assert!(may_have(&offered, &[1, 29]) && may_have(&offered, &[39]));
        assert!(!may_have(&offered, &[9, 30]) && !may_have(&offered, &[10]));
        offered.remove(&low);
        assert!(may_have(&offered, &[5]));
        offered.remove(&low);
        assert!(!may_have(&offered, &[5]));
        (0..70).for_each(|port| offered.add(&PortRanges::of([port])));
        assert!(may_have(&offered, &[5_000]), "too many lists to look through");
    }
}
