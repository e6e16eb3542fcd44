//! Copies that hold a place and serve nobody: their health checks do not pass, or their agent is away.
//!
//! Source: spec 5.12 and 6.4; the planner replaces them, and this says when.

use super::copies::is_within_reach;
use crate::domain::{Goal, TaskState, UnreachableStrategy};
use crate::state::{ClusterState, InstanceRow, TaskRow};

/// Copies that run and are wanted, of which not all checks pass.
pub(super) fn unhealthy<'a>(state: &ClusterState, live: &[&'a InstanceRow]) -> Vec<&'a InstanceRow> {
    let is_unhealthy = |row: &&&InstanceRow| runs(row) && !row.is_serving(state.checks_of(row));
    live.iter().filter(is_unhealthy).copied().collect()
}

fn runs(row: &InstanceRow) -> bool {
    let may_go_on = |task: &TaskRow| task.status.state == TaskState::Running && task.stop.is_none();
    row.goal == Goal::Running && is_within_reach(row) && row.task.as_ref().is_some_and(may_go_on)
}

/// For people: that copies run without passing their checks, and what these said; nothing where all serve.
pub(super) fn told_of_unhealthy(state: &ClusterState, unhealthy: &[&InstanceRow]) -> Option<String> {
    let count = unhealthy.len();
    let (copies, do_not) = match count {
        0 => return None,
        1 => ("copy runs", "does not"),
        _ => ("copies run", "do not"),
    };
    let contents = || unhealthy.iter().filter_map(|row| state.content_of(row));
    let checks = || contents().flat_map(|content| &content.spec.health_checks);
    let tasks = unhealthy.iter().filter_map(|row| row.task.as_ref());
    let results = tasks.flat_map(|task| task.status.health.iter().map(move |result| (task, result)));
    let failures = results.filter_map(|(task, result)| {
        let cause = result.last_failure_cause.as_deref()?;
        Some((result.last_failure?, result.check, task, cause))
    });
    let said = match failures.max_by_key(|(at, check, ..)| (*at, *check)) {
        Some((at, check, task, cause)) => {
            format!("check {check} of {} said at {at}: {cause}", task.id)
        }
        None => {
            let grace = checks().map(|check| check.grace_period).max().unwrap_or_default().as_secs();
            format!("not one has passed yet, and failures count after gracePeriodSeconds only, {grace} here")
        }
    };
    let anew = match checks().any(|check| check.max_consecutive_failures > 0) {
        true => "; a copy whose checks fail too often is stopped and started anew",
        false => "",
    };
    Some(format!(
        "{count} {copies} and {do_not} serve, because not all health checks pass: {said}. What waits for them to \
         serve goes on waiting{anew}."
    ))
}

/// For people: how long copies on agents that are away keep their places; nothing where there are none.
pub(super) fn told_of_absent(state: &ClusterState, live: &[&InstanceRow]) -> Option<String> {
    let away = live.iter().filter(|row| row.goal == Goal::Running).filter_map(|row| {
        let task = row.task.as_ref()?;
        Some((task.unreachable_since?, task, *row))
    });
    let away: Vec<_> = away.collect();
    let (since, task, row) = away.iter().min_by_key(|(since, task, _)| (*since, &task.id))?;
    let strategy = state.content_of(row).map(|content| content.spec.unreachable).unwrap_or_default();
    let then = match strategy {
        UnreachableStrategy::Disabled => {
            "it keeps its place until the agent is back, since unreachableStrategy is 'disabled'".to_owned()
        }
        UnreachableStrategy::After { expunge, .. } if task.inactive => {
            format!("another one was asked for, and it is forgotten at {}", since.plus(expunge))
        }
        UnreachableStrategy::After { inactive, .. } => {
            format!("another one is asked for at {} (inactiveAfterSeconds)", since.plus(inactive))
        }
    };
    let (count, host) = (away.len(), &task.hostname);
    Some(match count {
        1 => format!("1 copy is out of reach on {host} since {since}: {then}."),
        _ => format!("{count} copies are out of reach, the first on {host} since {since}: {then}."),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::domain::{AppId, Strategy};
    use crate::scheduler::Suspects;
    use crate::scheduler::verdicts::{Explanation, explain};
    use crate::testkit::{AppBuilder, Playground, an_app};

    fn explained(ground: &Playground, app: &AppBuilder) -> Explanation {
        let id: AppId = app.id();
        explain(&ground.state, &id, &Suspects::new(), ground.now(), Strategy::Spread).unwrap()
    }

    #[test]
    fn copies_that_run_and_do_not_pass_their_checks_are_told() {
        let app = an_app("/web").instances(2).check();
        let mut ground = Playground::with_agents(1);
        ground.put(&app);
        let well = ground.run_one("/web");
        ground.say_health(&well, true);
        assert_eq!(explained(&ground, &app).note, None);
        let sick = ground.run_one("/web");
        let told = explained(&ground, &app);
        assert_eq!((told.copies.running, told.copies.unhealthy), (2, 1));
        let note = told.note.unwrap();
        assert!(note.starts_with("1 copy runs and does not serve, because not all"), "{note}");
        assert!(
            note.contains("not one has passed yet, and failures count after gracePeriodSeconds only"),
            "{note}"
        );
        ground.fail_check(&sick, "connection refused");
        let note = explained(&ground, &app).note.unwrap();
        assert!(note.contains(": connection refused. "), "{note}");
    }

    #[test]
    fn copies_out_of_reach_are_told_with_what_becomes_of_them() {
        let hour = Duration::from_secs(3600);
        for (app, then) in [
            (an_app("/a").absent(hour, hour), "another one is asked for at 1970-01-01T01:00:00"),
            (an_app("/b").absent_for_ever(), "it keeps its place until the agent is back"),
        ] {
            let mut ground = Playground::with_agents(1);
            ground.deploy(&app.clone().instances(1));
            ground.settle();
            assert_eq!(explained(&ground, &app).note, None);
            ground.agent_lost("a1");
            ground.settle();
            let note = explained(&ground, &app).note.unwrap();
            assert!(note.starts_with("1 copy is out of reach on a1.local since "), "{note}");
            assert!(note.contains(then), "{note}");
        }
    }
}
