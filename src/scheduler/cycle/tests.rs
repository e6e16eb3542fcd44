//! Cycles on small clusters, and on any cluster: never too much, never refused.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::{AgentId, TaskState};
use crate::state::Command;
use crate::testkit::{AgentBuilder, AppBuilder, Playground, an_agent, an_app};

fn cluster(agents: Vec<AgentBuilder>) -> Playground {
    let mut ground = Playground::default();
    ground.record(agents.into_iter().map(AgentBuilder::register).collect());
    ground
}

/// Where instances of `app` are placed, in agent order.
fn spread(ground: &Playground, app: &str) -> Vec<String> {
    let app = AppId::parse(app).unwrap();
    let mut agents: Vec<String> = ground
        .state
        .instances_of(&app)
        .filter_map(|row| Some(row.task.as_ref()?.agent.to_string()))
        .collect();
    agents.sort();
    agents
}

fn wait(ground: &mut Playground, app: &AppBuilder, count: usize) {
    ground.put(app);
    ground.create(app.id().as_str(), count);
}

fn waiting_of<'a>(report: &'a CycleReport, app: &str) -> Option<&'a Waiting> {
    report.waiting.get(&AppId::parse(app).unwrap())
}

#[test]
fn instances_of_an_app_spread_over_agents() {
    let mut ground = Playground::with_agents(3);
    wait(&mut ground, &an_app("/web"), 3);
    ground.place();
    assert_eq!(spread(&ground, "/web"), ["a1", "a2", "a3"]);
}

#[test]
fn the_emptier_agent_is_preferred() {
    let mut ground = Playground::with_agents(2);
    wait(&mut ground, &an_app("/big").cpus(4.0), 1);
    ground.place();
    let big = spread(&ground, "/big").remove(0);
    wait(&mut ground, &an_app("/small"), 1);
    ground.place();
    assert_ne!(spread(&ground, "/small"), [big]);
}

#[test]
fn what_cannot_run_waits_says_why_and_delays_nobody() {
    let mut ground = cluster(vec![an_agent("a1"), an_agent("a2").mem(64.0)]);
    wait(&mut ground, &an_app("/huge").cpus(9.0), 2);
    wait(&mut ground, &an_app("/ports").exact_ports(&[80]), 1);
    wait(&mut ground, &an_app("/web"), 1);
    let report = ground.place();
    assert_eq!(spread(&ground, "/web").len(), 1);
    let huge = waiting_of(&report, "/huge").unwrap();
    assert_eq!((huge.count, huge.rejections.get(&Reason::InsufficientCpus)), (2, Some(&2)));
    let ports = waiting_of(&report, "/ports").unwrap();
    assert_eq!(ports.rejections.get(&Reason::InsufficientPorts), Some(&2));
    assert_eq!(report.next_look, None);
}

#[test]
fn an_image_needs_an_agent_that_runs_containers() {
    let mut ground = cluster(vec![an_agent("a1").without_docker(), an_agent("a2").without_docker()]);
    wait(&mut ground, &an_app("/web").bridged("x:1", &[0]), 1);
    let report = ground.place();
    let rejections = &waiting_of(&report, "/web").unwrap().rejections;
    assert_eq!(rejections.get(&Reason::UnfulfilledConstraint), Some(&2));
    ground.register("a3");
    ground.place();
    assert_eq!(spread(&ground, "/web"), ["a3"]);
}

#[test]
fn an_app_that_backs_off_waits_until_its_pause_ends() {
    let mut ground = Playground::with_agents(1);
    let app = an_app("/web").backoff(Duration::from_secs(10));
    ground.put(&app);
    let id = ground.run_one("/web");
    ground.say(&id, TaskState::Failed);
    let until = ground.state.apps.get(&app.id()).unwrap().delay.unwrap().until();
    let report = ground.place();
    assert_eq!(report.placements, []);
    assert_eq!(report.next_look, Some(until));
    assert_eq!(waiting_of(&report, "/web").unwrap().backing_off_until, Some(until));
    ground.pass(Duration::from_secs(11));
    let report = ground.place();
    assert_eq!(report.placements.iter().map(|placement| placement.attempt).collect::<Vec<_>>(), [2]);
}

#[test]
fn excluded_agents_get_nothing() {
    let mut ground = Playground::with_agents(2);
    wait(&mut ground, &an_app("/web"), 4);
    let excluded = BTreeSet::from([AgentId::new("a1")]);
    let report = run_cycle(&SchedulingView::of(&ground.state, excluded), ground.now());
    assert_eq!(report.placements.len(), 4);
    assert!(report.placements.iter().all(|placement| placement.agent == AgentId::new("a2")));
}

#[test]
fn a_fixed_port_allows_one_instance_per_agent() {
    let mut ground = Playground::with_agents(2);
    wait(&mut ground, &an_app("/web").exact_ports(&[31_005]), 3);
    let report = ground.place();
    assert_eq!(spread(&ground, "/web"), ["a1", "a2"]);
    assert_eq!(waiting_of(&report, "/web").unwrap().count, 1);
}

#[test]
fn the_longest_waiting_app_comes_first() {
    let mut ground = cluster(vec![an_agent("a1").cpus(1.0)]);
    wait(&mut ground, &an_app("/z").cpus(1.0), 1);
    wait(&mut ground, &an_app("/a").cpus(1.0), 1);
    ground.place();
    assert_eq!((spread(&ground, "/z").len(), spread(&ground, "/a").len()), (1, 0));
}

#[test]
fn a_cycle_is_bounded_and_the_rest_follows_at_once() {
    let mut ground = cluster(vec![an_agent("a1").cpus(10_000.0).mem(10_000_000.0)]);
    wait(&mut ground, &an_app("/web"), PLACEMENTS_MAX + 5);
    let now = ground.now();
    let report = ground.place();
    assert_eq!((report.placements.len(), report.next_look), (PLACEMENTS_MAX, Some(now)));
    assert_eq!(waiting_of(&report, "/web").unwrap().count, 5);
    assert_eq!(ground.place().placements.len(), 5);
}

prop_compose! {
    fn any_app()(id in 0u8..5, cpus in 0u32..30, mem in 1u32..4000, any in 0usize..4, exact in proptest::option::of(31_000u16..31_010), image in any::<bool>()) -> AppBuilder {
        let app = an_app(&format!("/app-{id}")).cpus(f64::from(cpus) / 10.0).mem(f64::from(mem));
        match (image, exact) {
            (true, exact) => app.bridged("x:1", &[0, exact.unwrap_or(0)]),
            (false, Some(port)) => app.exact_ports(&[port]),
            (false, None) => app.any_ports(any),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `Playground::place` asserts that `apply` refuses none and that no agent holds more
    /// than it has, for any mix of apps, agents, ends and arrivals.
    #[test]
    fn placements_never_exceed_an_agent_and_are_never_refused(
        agents in proptest::collection::vec((1u32..80, 100u32..9000, any::<bool>()), 1..5),
        turns in proptest::collection::vec((any_app(), 0usize..12, any::<u8>()), 1..12),
    ) {
        let agents = agents.into_iter().enumerate().map(|(at, (cpus, mem, docker))| {
            let agent = an_agent(&format!("a{at}")).cpus(f64::from(cpus) / 10.0).mem(f64::from(mem)).ports(31_000, 31_020);
            if docker { agent } else { agent.without_docker() }
        });
        let mut ground = cluster(agents.collect());
        for (app, count, pick) in turns {
            wait(&mut ground, &app, count);
            let view = SchedulingView::of(&ground.state, BTreeSet::new());
            prop_assert_eq!(run_cycle(&view, ground.now()), run_cycle(&view, ground.now()));
            ground.place();
            for agent in ground.state.agents.values() {
                prop_assert!(agent.info.totals.contains(&agent.used));
            }
            let live: Vec<InstanceId> =
                ground.state.instances.values().filter(|row| row.is_live()).map(|row| row.id.clone()).collect();
            if let Some(id) = live.get(usize::from(pick) % live.len().max(1)) {
                let id = id.clone();
                ground.record(vec![Command::SetGoal { instances: vec![id.clone()], goal: crate::domain::Goal::Decommissioned, reason: String::new() }]);
                ground.say(&id, TaskState::Killed);
            }
        }
    }
}
