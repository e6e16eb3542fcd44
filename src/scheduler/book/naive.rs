//! The same decisions by asking everybody each time: what the book must not differ from.

use std::cmp::Reverse;

use crate::domain::{AgentId, AppVersion, TaskId, Timestamp};
use crate::scheduler::cycle::{CycleReport, PLACEMENTS_MAX};
use crate::scheduler::ground::Ground;
use crate::scheduler::matcher::Need;
use crate::scheduler::{SchedulingView, feasibility, ports, rank, waiting};
use crate::state::{ClusterState, InstanceRow, Placement};

/// A cycle without a book.
pub(super) fn naive_cycle(view: &SchedulingView<'_>, now: Timestamp) -> CycleReport {
    let (mut ground, mut report) = (Ground::of(view), CycleReport::default());
    let queue = waiting(view.state, now);
    for queued in &queue {
        if report.placements.len() >= PLACEMENTS_MAX {
            report.look_at(now);
            break;
        }
        if let Some(until) = queued.backing_off_until {
            report.look_at(until);
            report.wait(queued.app, queued.instances.len()).backing_off_until = Some(until);
            continue;
        }
        let mut left = queued.instances.len();
        for instance in &queued.instances {
            if report.placements.len() >= PLACEMENTS_MAX {
                report.look_at(now);
                break;
            }
            let Some(placement) =
                place_one(view.state, &ground, queued.content, instance, &report.placements)
            else {
                report.blocked.push((queued.app.clone(), queued.version));
                break;
            };
            ground.take(&placement);
            report.placements.push(placement);
            left -= 1;
        }
        if left > 0 {
            report.wait(queued.app, left);
        }
    }
    let all: usize = queue.iter().map(|queued| queued.instances.len()).sum();
    report.left = all - report.placements.len();
    report
}

fn place_one(
    state: &ClusterState,
    ground: &Ground<'_>,
    content: &AppVersion,
    instance: &InstanceRow,
    placements: &[Placement],
) -> Option<Placement> {
    let mut need = Need::of(state, content);
    need.rules.note_placements(state, content, placements);
    let siblings = |agent: &AgentId| {
        let rows = state.instances_of(&content.app).filter_map(|row| row.task.as_ref());
        let recorded = rows.filter(|task| task.is_live() && task.agent == *agent).count();
        let is_own = |placed: &&Placement| {
            placed.agent == *agent && state.instances.get(&placed.instance).unwrap().app == content.app
        };
        recorded + placements.iter().filter(is_own).count()
    };
    let suitable = ground.plots.iter().filter(|plot| feasibility::check(&need, plot).is_ok());
    let best = suitable.min_by_key(|plot| {
        let info = &plot.agent.info;
        let size = (info.totals.cpus, info.totals.mem);
        let score = rank::score(size, (plot.spare.cpus, plot.spare.mem), rank::lot(&info.id));
        (siblings(&info.id), Reverse(score), &info.id)
    })?;
    let attempt = instance.task.as_ref().map_or(0, |task| task.attempt) + 1;
    let seed = ports::seed_of(&TaskId::of(&instance.id, attempt));
    let ports = ports::assign(&need.ports, &best.spare.ports, seed).unwrap();
    let resources = need.resources(&ports);
    let agent = best.agent.info.id.clone();
    Some(Placement { instance: instance.id.clone(), attempt, agent, ports, resources })
}
