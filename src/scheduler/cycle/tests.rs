//! Cycles on small clusters, and on any cluster: never too much, never refused.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::{AgentId, InstanceId, TaskState};
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

/// Agents in racks: `r1 r1 r2` makes a1 and a2 in rack r1 and a3 in r2.
fn racks(names: &str) -> Playground {
    let agent = |(at, rack)| an_agent(&format!("a{}", at + 1)).attribute("rack", rack);
    cluster(names.split_whitespace().enumerate().map(agent).collect())
}

/// Places eight instances under a rule; gives how many each agent has and how many wait.
#[track_caller]
fn check_rule(names: &str, rule: (&str, &str, Option<&str>), wanted: &[usize], waits: usize) {
    let mut ground = racks(names);
    let app = an_app("/web").instances(8).constraint(rule.0, rule.1, rule.2);
    wait(&mut ground, &app, 8);
    let report = ground.place();
    let placed = spread(&ground, "/web");
    let agents = (1..=wanted.len()).map(|at| format!("a{at}"));
    let counts: Vec<usize> =
        agents.map(|agent| placed.iter().filter(|place| **place == agent).count()).collect();
    let waiting = waiting_of(&report, "/web");
    assert_eq!((counts.as_slice(), waiting.map_or(0, |waiting| waiting.count)), (wanted, waits), "{rule:?}");
    let refusals = waiting.map_or(0, |waiting| waiting.rejections.values().sum::<u32>());
    assert_eq!(refusals, if waits > 0 { u32::try_from(wanted.len()).unwrap() } else { 0 }, "a reason each");
}

#[test]
fn rules_hold_within_one_cycle() {
    check_rule("r1 r1 r2", ("hostname", "UNIQUE", None), &[1, 1, 1], 5);
    check_rule("r1 r1 r2", ("hostname", "MAX_PER", Some("2")), &[2, 2, 2], 2);
    check_rule("r1 r2 r2", ("rack", "LIKE", Some("r[2-9]")), &[0, 4, 4], 0);
    check_rule("r1 r2 r2", ("rack", "UNLIKE", Some("r2")), &[8, 0, 0], 0);
    check_rule("r1 r2 r2", ("rack", "CLUSTER", Some("r2")), &[0, 4, 4], 0);
    // Equal agents: the lot that each draws by its id decides which rack is the first.
    check_rule("r1 r2 r3", ("rack", "CLUSTER", None), &[0, 8, 0], 0);
    check_rule("r1 r2 r3", ("rack", "IS", Some("r9")), &[0, 0, 0], 8);
    check_rule("r1 r1 r2", ("rack", "GROUP_BY", Some("2")), &[2, 2, 4], 0);
    check_rule("r1 r1 r2 r3", ("rack", "GROUP_BY", None), &[1, 2, 2, 3], 0);
}

#[test]
fn a_rule_that_opens_again_is_asked_again() {
    // Alone on its rack the small agent is full after one; the others wait for it by rule.
    let mut ground = cluster(vec![
        an_agent("a1").attribute("rack", "r1").cpus(0.1),
        an_agent("a2").attribute("rack", "r2"),
    ]);
    wait(&mut ground, &an_app("/web").instances(4).constraint("rack", "GROUP_BY", None), 4);
    let report = ground.place();
    assert_eq!(spread(&ground, "/web"), ["a1", "a2", "a2"], "r1 has the fewest and no room");
    let waiting = waiting_of(&report, "/web").unwrap();
    assert_eq!(waiting.rejections.get(&Reason::UnfulfilledConstraint), Some(&1));
    assert_eq!(waiting.rejections.get(&Reason::InsufficientCpus), Some(&1));
    ground.record(vec![an_agent("a3").attribute("rack", "r1").register()]);
    ground.place();
    assert_eq!(spread(&ground, "/web"), ["a1", "a2", "a2", "a3"]);
}

#[test]
fn an_upgrade_under_unique_needs_no_spare_agent() {
    let mut ground = Playground::with_agents(1);
    let app = an_app("/web").constraint("hostname", "UNIQUE", None);
    ground.put(&app);
    ground.run_one("/web");
    wait(&mut ground, &app.clone().cmd("newer"), 1);
    assert_eq!(ground.place().placements.len(), 1, "the old one is about to go");
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

#[test]
fn an_app_takes_from_its_own_role_first_and_never_from_others() {
    let mut ground = cluster(vec![an_agent("a1").keep("db", 2.0, 4_096.0, Some((31_000, 31_001)))]);
    wait(&mut ground, &an_app("/db/one").role("db").cpus(3.0), 1);
    let report = ground.place();
    let drawn = &report.placements[0].drawn["db"];
    assert_eq!((drawn.cpus.to_f64(), drawn.mem.to_f64()), (2.0, 32.0), "the third cpu is unreserved");
    wait(&mut ground, &an_app("/web").cpus(1.0), 9);
    let report = ground.place();
    assert_eq!(report.placements.len(), 5, "8 cpus, 2 for db, 1 taken by it");
    assert!(report.placements.iter().all(|placement| placement.drawn.is_empty()));
    wait(&mut ground, &an_app("/db/two").role("db").accepts(&["db"]), 1);
    assert_eq!(ground.place().placements, [], "its two are taken");
}

#[test]
fn who_needs_nothing_needs_no_reservation() {
    let mut ground = cluster(vec![an_agent("a1")]);
    wait(&mut ground, &an_app("/db/one").role("db").accepts(&["db"]).cpus(0.0).mem(0.0), 2);
    assert_eq!(ground.place().placements.len(), 2, "as `explain` says");
    wait(&mut ground, &an_app("/db/two").role("db").accepts(&["db"]).cpus(0.1).mem(0.0), 1);
    assert_eq!(ground.place().placements, []);
}

#[test]
fn a_port_is_taken_from_the_role_that_has_it() {
    let mut ground =
        cluster(vec![an_agent("a1").ports(31_000, 31_003).keep("db", 1.0, 64.0, Some((31_002, 31_003)))]);
    wait(&mut ground, &an_app("/web").exact_ports(&[31_002]), 1);
    let report = ground.place();
    assert_eq!(waiting_of(&report, "/web").unwrap().rejections.get(&Reason::UnfulfilledRole), Some(&1));
    wait(&mut ground, &an_app("/db/one").role("db").any_ports(4), 1);
    let report = ground.place();
    assert_eq!(report.placements[0].drawn["db"].ports.to_string(), "[31002-31003]");
    assert_eq!(report.placements[0].ports.len(), 4, "of both roles");
}

#[test]
fn an_agent_that_comes_back_smaller_gets_nothing_until_there_is_room() {
    let mut ground = cluster(vec![an_agent("a1").cpus(4.0)]);
    let app = an_app("/web").cpus(2.0);
    ground.put(&app);
    let (first, second) = (ground.run_one("/web"), ground.run_one("/web"));
    let smaller = an_agent("a1").cpus(3.0).keep("db", 1.0, 0.0, None).ports(40_000, 40_001).run(2);
    ground.record(vec![smaller.register()]);
    assert!(ground.row(&first).is_live() && ground.row(&second).is_live(), "nothing is killed");
    let offer = crate::scheduler::make_offers(&ground.state, &Default::default()).offers.remove(0);
    assert_eq!((offer.spare.cpus.thousandths(), offer.reserved["db"].cpus.thousandths()), (0, 0));
    wait(&mut ground, &app, 1);
    wait(&mut ground, &an_app("/db/one").role("db").cpus(1.0), 1);
    assert_eq!(ground.place().placements, []);
    for id in [first, second] {
        ground.record(vec![Command::SetGoal {
            instances: vec![id.clone()],
            goal: crate::domain::Goal::Decommissioned,
            reason: String::new(),
        }]);
        ground.say(&id, TaskState::Killed);
    }
    assert_eq!(ground.place().placements.len(), 2);
}

#[test]
fn rules_are_judged_by_what_agents_are_now() {
    let mut ground = racks("r1 r2");
    let app = an_app("/web").instances(3).constraint("rack", "MAX_PER", Some("1"));
    wait(&mut ground, &app, 3);
    ground.place();
    assert_eq!(spread(&ground, "/web"), ["a1", "a2"]);
    ground.record(vec![an_agent("a2").attribute("rack", "r1").run(2).register()]);
    assert_eq!(ground.place().placements, [], "both are in r1 now");
    ground.record(vec![an_agent("a3").attribute("rack", "r2").register()]);
    ground.place();
    assert_eq!(spread(&ground, "/web"), ["a1", "a2", "a3"]);
}

#[test]
fn an_agent_that_claims_more_each_time_is_given_what_it_claims_and_no_more() {
    let mut ground = cluster(vec![an_agent("a1").cpus(1.0)]);
    wait(&mut ground, &an_app("/web").cpus(1.0), 40);
    for run in 2..10u32 {
        ground.place();
        let agent = ground.state.agents.get(&AgentId::new("a1")).unwrap();
        assert_eq!(agent.used.cpus, agent.info.totals.cpus);
        let more = an_agent("a1").cpus(f64::from(run)).run(u64::from(run));
        ground.record(vec![more.register()]);
    }
    let most = crate::domain::resources::CLAIM_MAX;
    let mut info = an_agent("a1").run(99).info();
    (info.totals.cpus, info.totals.mem) = (most, most);
    ground.record(vec![Command::RegisterAgent {
        info: Box::new(info),
        held_ports: crate::domain::PortRanges::default(),
        proof: None,
    }]);
    ground.place();
    assert_eq!(spread(&ground, "/web").len(), 40);
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
