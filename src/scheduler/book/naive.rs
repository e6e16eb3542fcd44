//! The same decisions by asking everybody each time: what the book must not differ from.

use std::cmp::Reverse;

use crate::domain::{AgentId, AppVersion, TaskId, Timestamp};
use crate::scheduler::cycle::{CycleReport, PLACEMENTS_MAX, bring_together};
use crate::scheduler::ground::Ground;
use crate::scheduler::judge::Judge;
use crate::scheduler::matcher::Need;
use crate::scheduler::{SchedulingView, feasibility, ports, rank, waiting};
use crate::state::{InstanceRow, Placement};

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
        let (mut left, before) = (queued.instances.len(), report.placements.len());
        for instance in &queued.instances {
            if report.placements.len() >= PLACEMENTS_MAX {
                report.look_at(now);
                break;
            }
            let Some(placement) = place_one(view, &ground, queued.content, instance, &report.placements)
            else {
                report.blocked.push((queued.app.clone(), queued.version));
                break;
            };
            ground.take(&placement);
            report.placements.push(placement);
            left -= 1;
        }
        let spec = &queued.content.spec;
        if spec.constraints.is_empty() && Need::of(view.state, queued.content).ports.is_empty() {
            bring_together(&mut report.placements[before..]);
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
    view: &SchedulingView<'_>,
    ground: &Ground<'_>,
    content: &AppVersion,
    instance: &InstanceRow,
    placements: &[Placement],
) -> Option<Placement> {
    let state = view.state;
    let mut need = Need::of(state, content);
    need.rules.note_placements(state, content, placements);
    let siblings = |agent: &AgentId| {
        let rows = state.instances_of(&content.app).filter_map(|row| row.task.as_ref());
        let recorded = rows.filter(|task| task.is_live() && task.agent == *agent).count();
        let is_own = |placed: &&Placement| {
            placed.agent == *agent && state.instances.get(&placed.instance).unwrap().app == content.app
        };
        u32::try_from(recorded + placements.iter().filter(is_own).count()).unwrap()
    };
    let suitable = ground.plots.iter().filter(|plot| feasibility::check(&need, plot).is_ok());
    let mut judge = Judge::in_state(state, content, view.strategy, placements, None);
    let best = suitable.min_by_key(|plot| {
        let info = &plot.agent.info;
        let lot = rank::lot(&info.id);
        let (size, spare) = ((info.totals.cpus, info.totals.mem), (plot.spare.cpus, plot.spare.mem));
        let siblings = siblings(&info.id);
        if let Some(judge) = &mut judge {
            let face = judge.face_of(info);
            let points = judge.local(&face, rank::load(size, spare), siblings) + judge.shared(&face);
            return (0, Reverse(points), Reverse(u32::from(lot)), &info.id);
        }
        (siblings, Reverse(0), Reverse(rank::score(size, spare, lot)), &info.id)
    })?;
    let attempt = instance.task.as_ref().map_or(0, |task| task.attempt) + 1;
    let seed = ports::seed_of(&TaskId::of(&instance.id, attempt));
    let ports = ports::assign(&need.ports, &best.open_to(&need.accepted).ports, seed).unwrap();
    let resources = need.resources(&ports);
    let drawn = best.pools.as_ref().map(|pools| pools.draw(&resources, &need.accepted)).unwrap_or_default();
    let agent = best.agent.info.id.clone();
    Some(Placement { instance: instance.id.clone(), attempt, agent, ports, resources, drawn })
}
