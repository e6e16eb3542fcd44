//! Chooses victims so that what is left stays spread. Source: spec 4.3, kill selection.
//!
//! Only GROUP_BY says that a spread is wanted. Counts fall while victims are chosen, so the
//! fullest group is always the next to give one up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::domain::{Constraint, Operator, RunSpec};
use crate::state::{ClusterState, InstanceRow};

/// How many instances each group has, for each rule that wants a spread.
pub(super) struct Groups<'a> {
    rules: Vec<(&'a Constraint, BTreeMap<String, usize>)>,
}

/// The values of one instance, a place for each rule.
type Place = Vec<Option<String>>;

impl<'a> Groups<'a> {
    /// Of these instances; nothing where no rule wants a spread.
    pub(super) fn of(state: &ClusterState, spec: &'a RunSpec, rows: &[&InstanceRow]) -> Option<Self> {
        let wanted = spec.constraints.iter().filter(|rule| rule.operator == Operator::GroupBy);
        let rules: Vec<_> = wanted.map(|rule| (rule, BTreeMap::new())).collect();
        if rules.is_empty() {
            return None;
        }
        let mut groups = Self { rules };
        for row in rows {
            let place = groups.place_of(state, row);
            for ((_, counts), value) in groups.rules.iter_mut().zip(place) {
                if let Some(value) = value {
                    *counts.entry(value).or_default() += 1;
                }
            }
        }
        Some(groups)
    }

    /// Takes `count` of `rows` out of the fullest groups, within a group in the order given.
    pub(super) fn take<'r>(
        &mut self,
        state: &ClusterState,
        rows: &[&'r InstanceRow],
        count: usize,
    ) -> Vec<&'r InstanceRow> {
        let mut members: BTreeMap<Place, VecDeque<usize>> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            members.entry(self.place_of(state, row)).or_default().push_back(at);
        }
        let entry = |groups: &Self, place: Place, members: &VecDeque<usize>| {
            Some((groups.fullness(&place), Reverse(*members.front()?), place))
        };
        let mut fullest: BinaryHeap<_> =
            members.iter().filter_map(|(place, members)| entry(self, place.clone(), members)).collect();
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some((fullness, _, place)) = fullest.pop() else { break };
            let Some(left) = members.get_mut(&place) else { continue };
            // Counts only fall: an entry that is out of date is too high, and goes back.
            if self.fullness(&place) == fullness
                && let Some(row) = left.pop_front().and_then(|at| rows.get(at))
            {
                self.leave(&place);
                taken.push(*row);
            }
            fullest.extend(entry(self, place, left));
        }
        taken
    }

    /// One instance fewer at a place.
    pub(super) fn forget(&mut self, state: &ClusterState, row: &InstanceRow) {
        let place = self.place_of(state, row);
        self.leave(&place);
    }

    fn leave(&mut self, place: &Place) {
        for ((_, counts), value) in self.rules.iter_mut().zip(place) {
            if let Some(count) = value.as_ref().and_then(|value| counts.get_mut(value)) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn fullness(&self, place: &Place) -> usize {
        let counts = self.rules.iter().zip(place);
        counts.filter_map(|((_, counts), value)| counts.get(value.as_ref()?)).sum()
    }

    fn place_of(&self, state: &ClusterState, row: &InstanceRow) -> Place {
        let task = row.task.as_ref().filter(|task| task.is_live());
        let agent = task.and_then(|task| state.agents.get(&task.agent));
        let value_of = |rule: &Constraint| Some(rule.value_on(&agent?.info)?.into_owned());
        self.rules.iter().map(|(rule, _)| value_of(rule)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::kill_selection::victims;
    use super::*;
    use crate::domain::InstanceId;
    use crate::testkit::{AppBuilder, Playground, an_agent, an_app};

    /// Runs instances of `app` on agents with these attributes, so many on each.
    fn ground(app: &AppBuilder, agents: &[(&[(&str, &str)], usize)]) -> Playground {
        let mut ground = Playground::default();
        ground.put(app);
        for (at, (facts, count)) in agents.iter().enumerate() {
            let id = format!("a{at}");
            let mut agent = an_agent(&id).cpus(1000.0).mem(1_000_000.0);
            for (name, value) in *facts {
                agent = agent.attribute(name, value);
            }
            ground.record(vec![agent.register()]);
            let made = ground.create(app.id().as_str(), *count);
            ground.put_on(&id, &made);
        }
        ground
    }

    /// How many victims each agent loses.
    #[track_caller]
    fn check(app: &AppBuilder, agents: &[(&[(&str, &str)], usize)], kill: usize, wanted: &[usize]) {
        let ground = ground(app, agents);
        let rows: Vec<&InstanceRow> = ground.state.instances.values().map(|row| &**row).collect();
        let spec = app.clone().spec();
        let chosen: Vec<InstanceId> = victims(&ground.state, &rows, kill, &[], &spec);
        assert_eq!(chosen.len(), kill);
        let lost = |at: usize| {
            let id = format!("a{at}");
            chosen.iter().filter(|id_| ground.row(id_).task.as_ref().unwrap().agent.as_str() == id).count()
        };
        assert_eq!((0..agents.len()).map(lost).collect::<Vec<_>>(), wanted);
    }

    fn by(fields: &[&str]) -> AppBuilder {
        fields.iter().fold(an_app("/web"), |app, field| app.constraint(field, "GROUP_BY", None))
    }

    #[test]
    fn victims_come_from_the_fullest_groups() {
        check(&by(&["@hostname"]), &[(&[], 10), (&[], 10)], 10, &[5, 5]);
        check(&by(&["@hostname"]), &[(&[], 20), (&[], 10)], 10, &[10, 0]);
        check(&by(&["@hostname"]), &[(&[], 3), (&[], 7)], 10, &[3, 7]);
        let racks: &[(&[(&str, &str)], usize)] =
            &[(&[("rack", "r1")], 2), (&[("rack", "r1")], 2), (&[("rack", "r2")], 2)];
        check(&by(&["rack"]), racks, 2, &[0, 2, 0]);
    }

    #[test]
    fn two_rules_are_both_heeded() {
        let agents: Vec<Vec<(&str, &str)>> = ["r1", "r2"]
            .into_iter()
            .flat_map(|rack| ["red", "blue"].map(|color| vec![("rack", rack), ("color", color)]))
            .collect();
        let agents: Vec<(&[(&str, &str)], usize)> = agents.iter().map(|facts| (&facts[..], 10)).collect();
        let ground = ground(&by(&["rack", "color"]), &agents);
        let rows: Vec<&InstanceRow> = ground.state.instances.values().map(|row| &**row).collect();
        let spec = by(&["rack", "color"]).spec();
        let chosen = victims(&ground.state, &rows, 20, &[], &spec);
        for (name, value) in [("rack", "r1"), ("rack", "r2"), ("color", "red"), ("color", "blue")] {
            let left = ground.state.instances.values().filter(|row| !chosen.contains(&row.id));
            let there = left.filter(|row| {
                let agent = ground.state.agents.get(&row.task.as_ref().unwrap().agent).unwrap();
                agent.info.attributes[name].to_string() == value
            });
            assert_eq!(there.count(), 10, "{name} {value}");
        }
    }

    #[test]
    fn what_serves_least_still_goes_first() {
        let app = by(&["@hostname"]);
        let mut ground = ground(&app, &[(&[], 4), (&[], 1)]);
        let waiting = ground.create("/web", 1);
        let rows: Vec<&InstanceRow> = ground.state.instances.values().map(|row| &**row).collect();
        let spec = app.spec();
        assert_eq!(victims(&ground.state, &rows, 1, &[], &spec), waiting);
        let two = victims(&ground.state, &rows, 2, &[], &spec);
        assert_eq!(ground.row(&two[1]).task.as_ref().unwrap().agent.as_str(), "a0");
    }

    #[test]
    fn choosing_among_very_many_takes_no_time_to_speak_of() {
        let app = by(&["@hostname"]);
        let many: Vec<(&[(&str, &str)], usize)> = (0..50).map(|_| (&[][..], 40)).collect();
        check(&app, &many, 1_000, &[20; 50]);
    }
}
