//! Running instances that their app's rules would not put where they are now.

use std::cmp::Reverse;

use super::rank;
use super::rules::{Rules, placed};
use crate::domain::{AppId, Goal, InstanceId, Resources};
use crate::state::{AgentRow, ClusterState, InstanceRow};

/// How full an agent is by what is recorded, of cpus or of memory, whichever is fuller; in
/// millionths. The same figure by which placements even out, and more than a million where tasks hold
/// more than there is.
pub fn load(agent: &AgentRow) -> u64 {
    share(&agent.info.totals, &agent.used)
}

/// How much of `totals` is `taken`, reckoned as [`load`].
pub fn share(totals: &Resources, taken: &Resources) -> u64 {
    rank::held((totals.cpus, totals.mem), (taken.cpus, taken.mem))
}

/// Instances of an app that stand against its rules, with what is said against each, the youngest
/// first. Each is judged as if it were the last to come, and those that were found no longer
/// count: when they have gone, the others stand well.
pub fn misplaced(state: &ClusterState, app: &AppId) -> Vec<(InstanceId, String)> {
    let Some(content) = state.current(app).filter(|content| !content.spec.constraints.is_empty()) else {
        return Vec::new();
    };
    let mut rules = Rules::of(state, content, None);
    let counts = |row: &&InstanceRow| row.goal == Goal::Running && placed(row, content).is_some();
    let within_reach = state
        .instances_of(app)
        .filter(counts)
        .filter_map(|row| Some((row, row.task.as_ref().filter(|task| task.unreachable_since.is_none())?)));
    let mut rows: Vec<_> = within_reach.collect();
    rows.sort_by_key(|(row, task)| (Reverse(task.staged_at), &row.id));
    let mut found = Vec::new();
    for (row, task) in rows {
        let Some(agent) = state.agents.get(&task.agent) else { continue };
        rules.forget(&agent.info);
        match rules.objection(&agent.info) {
            Some(objection) => found.push((row.id.clone(), objection)),
            None => rules.note(&agent.info),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Playground, an_agent, an_app};

    /// Instances on agents of these racks, so many on each; how many stand wrong on each.
    #[track_caller]
    fn check(rule: (&str, &str, Option<&str>), racks: &[(&str, usize)], wanted: &[usize]) {
        let total: usize = racks.iter().map(|(_, count)| count).sum();
        let app = an_app("/web").instances(u32::try_from(total).unwrap()).constraint(rule.0, rule.1, rule.2);
        let mut ground = Playground::default();
        ground.put(&app);
        for (at, (rack, count)) in racks.iter().enumerate() {
            let id = format!("a{at}");
            ground.record(vec![an_agent(&id).attribute("rack", rack).register()]);
            let made = ground.create("/web", *count);
            ground.put_on(&id, &made);
        }
        let found = misplaced(&ground.state, &app.id());
        let on = |at: usize| {
            let agent = format!("a{at}");
            found
                .iter()
                .filter(|(id, _)| ground.row(id).task.as_ref().unwrap().agent.as_str() == agent)
                .count()
        };
        assert_eq!((0..racks.len()).map(on).collect::<Vec<_>>(), wanted, "{found:?}");
    }

    #[test]
    fn as_many_stand_wrong_as_have_to_go() {
        check(("hostname", "UNIQUE", None), &[("r1", 2), ("r2", 1)], &[1, 0]);
        check(("hostname", "MAX_PER", Some("2")), &[("r1", 5), ("r2", 1)], &[3, 0]);
        check(("rack", "GROUP_BY", Some("2")), &[("r1", 3), ("r2", 1)], &[1, 0]);
        check(("rack", "GROUP_BY", None), &[("r1", 4), ("r2", 1)], &[2, 0]);
        check(("rack", "GROUP_BY", None), &[("r1", 2), ("r2", 1)], &[0, 0]);
        check(("rack", "LIKE", Some("r1")), &[("r1", 2), ("r2", 2)], &[0, 2]);
        check(("rack", "CLUSTER", None), &[("r1", 2), ("r2", 1)], &[0, 1]);
        check(("rack", "IS", Some("r2")), &[("r1", 1), ("r2", 1)], &[1, 0]);
    }

    #[test]
    fn without_rules_nobody_stands_wrong() {
        let mut ground = Playground::with_agents(1);
        ground.deploy(&an_app("/web").instances(3));
        ground.settle();
        assert_eq!(misplaced(&ground.state, &AppId::parse("/web").unwrap()), []);
    }
}
