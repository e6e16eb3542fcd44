//! What is told of running tasks is what asking everybody for each of them finds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::tests::{any_rule, waiting_on};
use super::super::{PLACED_MAX, explain};
use super::*;
use crate::domain::Strategy;
use crate::scheduler::ground::{Ground, Plot};
use crate::scheduler::{SchedulingView, Suspects, feasibility};
use crate::testkit::{AppBuilder, Playground, an_agent, an_app};

/// Why each running task is where it is, by asking every agent anew for each.
fn plainly_placed(ground: &Playground, app: &AppBuilder, cluster: Strategy) -> Vec<(Score, Vec<Score>)> {
    let (state, id) = (&ground.state, app.id());
    let plots = Ground::of(&SchedulingView::of(state, BTreeSet::new())).plots;
    let siblings_on = |agent: &AgentId| {
        let tasks = state.instances_of(&id).filter_map(|row| row.task.as_ref());
        u32::try_from(tasks.filter(|task| task.is_live() && task.agent == *agent).count()).unwrap()
    };
    let of = |row: &InstanceRow| {
        let (task, content) = (row.task.as_ref().unwrap(), state.content_of(row).unwrap());
        let need = Need { rules: Rules::of(state, content, Some(&row.id)), ..Need::of(state, content) };
        let score = |plot: &Plot<'_>, siblings: u32| {
            let info = &plot.agent.info;
            let (totals, spare) = ((info.totals.cpus, info.totals.mem), (plot.spare.cpus, plot.spare.mem));
            let load = rank::load(totals, spare);
            let mut judge = Judge::in_state(state, content, cluster, &[], Some(row));
            Score {
                agent: info.id.clone(),
                hostname: info.hostname.clone(),
                siblings,
                load,
                rank: rank::score(totals, spare, rank::lot(&info.id)),
                wishes: judge.as_mut().map(|judge| judge.parts(info, load, siblings)),
            }
        };
        let mut own = plots.iter().find(|plot| plot.agent.info.id == task.agent).unwrap().clone();
        own.spare = own.spare.plus(&task.resources);
        let others = plots.iter().filter(|plot| plot.agent.info.id != task.agent);
        let suitable = others.filter(|plot| feasibility::check(&need, plot).is_ok());
        let mut scores: Vec<Score> =
            suitable.map(|plot| score(plot, siblings_on(&plot.agent.info.id))).collect();
        // Stable: of equal ones the smaller id comes first.
        scores.sort_by_key(|score| match score.wishes {
            Some(_) => (-score.points(), 0, u32::MAX - u32::from(rank::lot_of(score.rank))),
            None => (0, score.siblings, u32::MAX - score.rank),
        });
        scores.truncate(3);
        (score(&own, siblings_on(&task.agent) - 1), scores)
    };
    state.instances_of(&id).filter(|row| row.is_live()).take(PLACED_MAX).map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Asking each agent once for all tasks says the same as asking all of them for each task.
    #[test]
    fn runners_up_are_those_that_asking_everybody_finds(
        agents in proptest::collection::vec((1u32..40, proptest::option::of(0u8..3)), 1..9),
        instances in 1u32..12, wish in 0u8..7, strategy in any::<bool>(),
        rules in proptest::collection::vec(any_rule(), 0..3),
        ports in 0usize..2, is_upgraded in any::<bool>(),
    ) {
        let agents = agents.into_iter().enumerate().map(|(at, (cpus, rack))| {
            let agent = an_agent(&format!("a{at}")).cpus(f64::from(cpus) / 10.0);
            match rack {
                Some(rack) => agent.attribute("rack", &format!("r{rack}")),
                None => agent,
            }
        }).collect();
        let app = an_app("/web").instances(instances).cpus(0.4).any_ports(ports);
        let app = match wish {
            0 => app.prefer("rack", "r1", 30),
            1 => app.spread("rack", 100, &[("r0", 60)]),
            2 => app.spread("rack", 50, &[]).prefer("hostname", "a2.*", -20),
            3 => app.spread("hostname", 50, &[]).near("/other", "rack", 30),
            4 => app.near("/other", "hostname", -40),
            _ => app,
        };
        let app = rules.iter().fold(app, |app, rule| app.constraint(rule.0, rule.1, rule.2));
        let mut ground = waiting_on(agents, &app);
        ground.put(&an_app("/other").cpus(0.1));
        ground.create("/other", 2);
        ground.place();
        if is_upgraded {
            ground.put(&app.clone().cpus(0.3));
            ground.create("/web", 2);
            ground.place();
        }
        let cluster = if strategy { Strategy::Binpack } else { Strategy::Spread };
        let found = explain(&ground.state, &app.id(), &Suspects::new(), ground.now(), cluster).unwrap();
        let found: Vec<_> = found.placed.into_iter().map(|placed| (placed.here, placed.runners_up)).collect();
        prop_assert_eq!(found, plainly_placed(&ground, &app, cluster));
    }
}
