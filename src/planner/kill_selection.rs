//! Which instances go first when there are too many. Source: spec 5.6.

use std::cmp::Reverse;

use crate::domain::{InstanceId, KillSelection, RunSpec, TaskState, Timestamp};
use crate::state::{ClusterState, InstanceRow};

use super::even_out::Groups;
use super::roster::{checks_of, is_away};

/// How dear an instance is; the cheapest go first.
///
/// Marathon's order is unreachable, staging, starting, running. Two finer points, so that
/// capacity is not given away: one that waits holds nothing and goes before any attempt,
/// and one that fails its checks goes before one that is to move, and that before one that runs well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Unreachable,
    Waiting,
    Staging,
    Starting,
    Sick,
    Moving,
    Running,
    Ending,
}

fn worth(state: &ClusterState, row: &InstanceRow) -> Worth {
    let Some(task) = row.task.as_ref().filter(|task| task.is_live()) else { return Worth::Waiting };
    if is_away(row) {
        return Worth::Unreachable;
    }
    let is_sick = checks_of(state, row) > 0 && task.is_healthy() == Some(false);
    match task.status.state {
        TaskState::Staging => Worth::Staging,
        TaskState::Starting => Worth::Starting,
        TaskState::Running if is_sick => Worth::Sick,
        TaskState::Running if row.is_moving() => Worth::Moving,
        TaskState::Running => Worth::Running,
        _ => Worth::Ending,
    }
}

/// When it reached the state it is in, as far as is recorded.
fn since(row: &InstanceRow) -> Timestamp {
    let Some(task) = row.task.as_ref().filter(|task| task.is_live()) else { return row.waiting_since };
    task.started_at.unwrap_or(task.staged_at)
}

/// Chooses victims: the sentenced ones, and more until `surplus` are found. Among those of
/// equal worth the fullest groups give first where `spec` wants a spread; then the app's wish
/// counts, and then the id.
pub(super) fn victims(
    state: &ClusterState,
    candidates: &[&InstanceRow],
    surplus: usize,
    sentenced: &[InstanceId],
    spec: &RunSpec,
) -> Vec<InstanceId> {
    let (mut chosen, rest): (Vec<&InstanceRow>, Vec<&InstanceRow>) =
        candidates.iter().copied().partition(|row| sentenced.contains(&row.id));
    let mut rest: Vec<_> = rest.into_iter().map(|row| (worth(state, row), since(row), row)).collect();
    match spec.kill_selection {
        KillSelection::YoungestFirst => rest.sort_by_key(|(worth, at, row)| (*worth, Reverse(*at), &row.id)),
        KillSelection::OldestFirst => rest.sort_by_key(|(worth, at, row)| (*worth, *at, &row.id)),
    }
    let more = surplus.saturating_sub(chosen.len());
    let rest: Vec<(Worth, &InstanceRow)> = rest.into_iter().map(|(worth, _, row)| (worth, row)).collect();
    chosen.extend(evenly(state, spec, &rest, more));
    chosen.into_iter().map(|row| row.id.clone()).collect()
}

/// The first `count` of `rows`, which are sorted by worth; where only a part of those of one
/// worth go, the fullest groups give first.
fn evenly<'r>(
    state: &ClusterState,
    spec: &RunSpec,
    rows: &[(Worth, &'r InstanceRow)],
    count: usize,
) -> Vec<&'r InstanceRow> {
    let all: Vec<&InstanceRow> = rows.iter().map(|(_, row)| *row).collect();
    let first: Vec<&InstanceRow> = all.iter().copied().take(count).collect();
    let Some(mut groups) = Groups::of(state, spec, &all).filter(|_| count < all.len()) else { return first };
    let mut chosen = Vec::new();
    for of_one_worth in rows.chunk_by(|(one, _), (other, _)| one == other) {
        let alike: Vec<&InstanceRow> = of_one_worth.iter().map(|(_, row)| *row).collect();
        let wanted = count - chosen.len();
        if alike.len() <= wanted {
            alike.iter().for_each(|row| groups.forget(state, row));
            chosen.extend(alike);
        } else {
            chosen.extend(groups.take(state, &alike, wanted));
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AppId;
    use crate::testkit::{Playground, an_app};

    /// Four running instances, the fourth the youngest.
    fn four() -> (Playground, Vec<InstanceId>) {
        let mut ground = Playground::with_agents(1);
        ground.put(&an_app("/web").instances(0));
        let ids = (0..4).map(|_| ground.run_one("/web")).collect();
        (ground, ids)
    }

    #[track_caller]
    fn check(surplus: usize, sentenced: &[usize], selection: KillSelection, wanted: &[usize]) {
        let (ground, ids) = four();
        let app = AppId::parse("/web").unwrap();
        let rows: Vec<&InstanceRow> = ground.state.instances_of(&app).collect();
        let sentenced: Vec<InstanceId> =
            sentenced.iter().map(|at| ids.get(*at).cloned().unwrap_or(InstanceId::new("unknown"))).collect();
        let spec = an_app("/web").kill(selection).spec();
        let got = victims(&ground.state, &rows, surplus, &sentenced, &spec);
        let at = |id: &InstanceId| ids.iter().position(|other| other == id).unwrap();
        assert_eq!(got.iter().map(at).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn the_youngest_or_the_oldest_go_first() {
        check(3, &[], KillSelection::YoungestFirst, &[3, 2, 1]);
        check(3, &[], KillSelection::OldestFirst, &[0, 1, 2]);
    }

    #[test]
    fn the_sentenced_go_even_when_nothing_is_too_many() {
        check(0, &[1, 2, 9], KillSelection::YoungestFirst, &[1, 2]);
        check(1, &[9], KillSelection::YoungestFirst, &[3]);
        check(3, &[1], KillSelection::YoungestFirst, &[1, 3, 2]);
    }

    #[test]
    fn what_serves_least_goes_first() {
        let mut ground = Playground::with_agents(1);
        ground.put(&an_app("/web").instances(0).check());
        let lost = ground.run_one("/web");
        ground.agent_lost("a1");
        ground.register("a2");
        let well = ground.run_one("/web");
        ground.say_health(&well, true);
        let sick = ground.run_one("/web");
        ground.say_health(&sick, false);
        let starting = ground.stage_one("/web");
        ground.say(&starting, TaskState::Starting);
        let staging = ground.stage_one("/web");
        let waiting = ground.create("/web", 1).remove(0);
        let app = AppId::parse("/web").unwrap();
        let rows: Vec<&InstanceRow> = ground.state.instances_of(&app).collect();
        let got = victims(&ground.state, &rows, 6, &[], &an_app("/web").spec());
        assert_eq!(got, [lost, waiting, staging, starting, sick, well]);
    }
}
