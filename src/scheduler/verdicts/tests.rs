//! Explanations add up, name the smallest change, and the change does what it says.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::{AgentId, AppVersion, Hindrances, RunSpec, Strategy, Wishes};
use crate::scheduler::ground::Ground;
use crate::scheduler::{SchedulingView, Suspicion};
use crate::state::Command;
use crate::testkit::{AgentBuilder, AppBuilder, Playground, an_agent, an_app};

pub(super) fn waiting_on(agents: Vec<crate::testkit::AgentBuilder>, app: &AppBuilder) -> Playground {
    let mut ground = Playground::default();
    ground.record(agents.into_iter().map(crate::testkit::AgentBuilder::register).collect());
    ground.put(app);
    let count = usize::try_from(app.clone().spec().instances).unwrap();
    ground.create(app.id().as_str(), count);
    ground.place();
    ground
}

pub(super) fn explain_in(ground: &Playground, app: &AppBuilder) -> Explanation {
    explain(&ground.state, &app.id(), &Suspects::new(), ground.now(), Strategy::Spread).unwrap()
}

pub(super) fn sentences(explanation: &Explanation) -> Vec<String> {
    explanation.changes.iter().map(Change::sentence).collect()
}

#[test]
fn each_agent_says_everything_it_lacks_and_counts_add_up() {
    let app = an_app("/web").cpus(9.0).mem(64.0).constraint("rack", "LIKE", Some("r1"));
    let ground = waiting_on(
        vec![
            an_agent("a1").attribute("rack", "r1"),
            an_agent("a2").attribute("rack", "r1").cpus(8.5),
            an_agent("a3").attribute("rack", "r2").cpus(16.0),
            an_agent("a4").mem(1.0),
        ],
        &app,
    );
    let explanation = explain_in(&ground, &app);
    assert_eq!((explanation.waiting, explanation.suitable(), explanation.verdicts.len()), (1, 0, 4));
    let sets: Vec<(String, usize, usize)> =
        explanation.obstacles.iter().map(|set| (set.lacks.join("+"), set.agents, set.nearest)).collect();
    let wanted = [("cpus", 2, 1), ("constraints(0)", 1, 2), ("constraints(0)+cpus+mem", 1, 3)];
    assert_eq!(sets, wanted.map(|(lacks, agents, nearest)| (lacks.to_owned(), agents, nearest)));
    let said: Vec<String> = explanation.verdicts.get(3).unwrap().lacks.iter().map(Lack::sentence).collect();
    assert_eq!(
        said,
        [
            r#"["rack","LIKE","r1"] needs rack, which the agent does not have"#,
            "needs 9 cpus, 8 are spare: 1 short",
            "needs 64 MiB of memory, 1 are spare: 63 short",
        ]
    );
    assert_eq!(
        sentences(&explanation),
        [
            "Lower cpus from 9 to 8.5: 1 agent would suit.",
            r#"Leave the constraint ["rack","LIKE","r1"] away: 1 agent would suit."#,
            "Add an agent with 9 cpus, 64 MiB of memory to spare, rack like r1.",
        ]
    );
}

#[test]
fn an_agent_out_of_reach_and_taken_ports_are_named() {
    let app = an_app("/web").exact_ports(&[80, 31_001]);
    let mut ground = waiting_on(vec![an_agent("a1"), an_agent("a2")], &app);
    ground.agent_lost("a2");
    let explanation = explain_in(&ground, &app);
    assert_eq!(
        explanation.verdicts.get(0).unwrap().lacks[0].sentence(),
        "needs host ports that are not spare: 80 (the agent does not offer it)"
    );
    ground.record(vec![Command::SetHeldPorts {
        agent: AgentId::new("a1"),
        ports: crate::domain::PortRanges::new([(31_001, 31_001)]),
    }]);
    let strange = explain_in(&ground, &app).verdicts.get(0).unwrap().lacks[0].sentence();
    assert!(strange.ends_with(", 31001 (a process that is no task has it)"), "{strange}");
    assert!(matches!(explanation.verdicts.get(1).unwrap().lacks[0], Lack::Unreachable(_)));
    assert_eq!(sentences(&explanation)[0], "Ask for any host port instead of 80: 1 agent would suit.");
    assert_eq!(
        explanation.changes[1].sentence(),
        "Add an agent with 0.1 cpus, 32 MiB of memory, 2 host ports to spare, \
         host port 80 among its ports, host port 31001 among its ports."
    );
}

#[test]
fn what_is_kept_for_others_is_told_with_numbers() {
    let agents = vec![
        an_agent("a1").cpus(4.0).keep("db", 2.0, 64.0, None),
        an_agent("a2").ports(31_000, 31_003).keep("db", 0.0, 0.0, Some((31_000, 31_002))),
    ];
    let said = |app: &AppBuilder| -> Vec<String> {
        let explanation = explain_in(&waiting_on(agents.clone(), app), app);
        explanation.verdicts.iter().map(|it| it.lacks[0].sentence()).collect()
    };
    assert_eq!(
        said(&an_app("/web").cpus(3.0).any_ports(2)),
        [
            "needs 3 cpus: of 4 spare 2 are reserved for db, and the app accepts only *",
            "needs 2 host ports: of 4 spare 3 are reserved for db, and the app accepts only *",
        ]
    );
    let of_db = said(&an_app("/db/one").role("db").accepts(&["db"]).cpus(3.0));
    assert_eq!(of_db[0], "needs 3 cpus: of 4 spare 2 are unreserved, and the app accepts only db");
}

#[test]
fn too_few_host_ports_are_told_in_numbers() {
    let app = an_app("/web").any_ports(3);
    let ground =
        waiting_on(vec![an_agent("a1").ports(31_000, 31_001), an_agent("a2").ports(31_000, 31_000)], &app);
    let explanation = explain_in(&ground, &app);
    let said: Vec<String> = explanation.verdicts.iter().map(|it| it.lacks[0].sentence()).collect();
    assert_eq!(said, ["needs 3 host ports, 2 are spare", "needs 3 host ports, 1 is spare"]);
    assert_eq!(sentences(&explanation)[0], "Lower host ports from 3 to 2: 1 agent would suit.");
    let app = an_app("/one").exact_ports(&[80]);
    let explanation = explain_in(&waiting_on(vec![an_agent("a1")], &app), &app);
    let add = sentences(&explanation).remove(1);
    assert!(add.contains(" 1 host port to spare"), "{add}");
}

#[test]
fn a_suspect_does_not_suit_and_its_return_would_help() {
    let app = an_app("/web");
    let mut ground = Playground::with_agents(2);
    ground.put(&app);
    ground.create("/web", 1);
    let (lasts, limit) = (std::time::Duration::from_secs(4), std::time::Duration::from_secs(10));
    let silent = Suspicion::Silent { lasts, limit };
    let suspects = Suspects::from(["a1", "a2"].map(|id| (AgentId::new(id), silent)));
    let explanation = explain(&ground.state, &app.id(), &suspects, ground.now(), Strategy::Spread).unwrap();
    assert_eq!(explanation.suitable(), 0);
    assert_eq!(explanation.verdicts.get(0).unwrap().lacks, [Lack::Contact(silent)]);
    assert_eq!(explanation.obstacles[0].lacks, ["contact"]);
    assert_eq!(
        sentences(&explanation)[0],
        "Wait for, or bring back, who is not heard of: 2 agents would suit."
    );
    // One that is recorded as unreachable is that, and nothing else.
    ground.agent_lost("a1");
    let explanation = explain(&ground.state, &app.id(), &suspects, ground.now(), Strategy::Spread).unwrap();
    assert!(matches!(explanation.verdicts.get(0).unwrap().lacks, [Lack::Unreachable(_)]));
    assert_eq!(explain_in(&ground, &app).suitable(), 1);
}

#[test]
fn tasks_beyond_those_told_of_are_counted() {
    let app = an_app("/web").instances(13).cpus(0.1).mem(1.0);
    let ground = waiting_on(vec![an_agent("a1"), an_agent("a2")], &app);
    let explanation = explain_in(&ground, &app);
    assert_eq!((explanation.placed.len(), explanation.placed_left_out), (PLACED_MAX, 3));
}

#[test]
fn tasks_that_start_are_counted_apart() {
    let mut ground = Playground::with_agents(1);
    let app = an_app("/web").cpus(1.0);
    ground.put(&app);
    ground.run_one("/web");
    ground.stage_one("/web");
    let copies = explain_in(&ground, &app).copies;
    assert_eq!((copies.running, copies.starting, copies.older, copies.unreachable), (1, 1, 0, 0));
}

#[test]
fn tasks_out_of_reach_are_counted_apart() {
    let app = an_app("/web").instances(2).cpus(6.0);
    let mut ground = waiting_on(vec![an_agent("a1"), an_agent("a2")], &app);
    let told = |ground: &Playground| {
        let explanation = explain_in(ground, &app);
        let copies = explanation.copies;
        (explanation.placed.len(), explanation.placed_left_out, copies.starting, copies.unreachable)
    };
    assert_eq!(told(&ground), (2, 0, 2, 0));
    ground.agent_lost("a2");
    assert_eq!(told(&ground), (1, 0, 1, 1));
}

#[test]
fn the_first_runner_up_is_whom_the_next_cycle_takes() {
    for agents in 2..24 {
        // Equal agents: only the lot decides, and names do not.
        let app = an_app("/web").cpus(0.1);
        let mut ground = waiting_on((0..agents).map(|at| an_agent(&format!("a{at}"))).collect(), &app);
        let first = explain_in(&ground, &app).placed[0].runners_up[0].clone();
        ground.create("/web", 1);
        let report = ground.place();
        assert_eq!(report.placements[0].agent, first.agent, "of {agents}");
    }
}

#[test]
fn an_image_asks_a_new_agent_for_an_engine_and_who_does_not_wait_asks_for_nothing() {
    let app = an_app("/web").bridged("x:1", &[0]);
    let mut ground = waiting_on(vec![an_agent("a1").without_docker()], &app);
    let sentence = sentences(&explain_in(&ground, &app)).remove(0);
    assert!(sentence.ends_with(", a Docker engine."), "{sentence}");
    ground.record(vec![an_agent("a2").cpus(0.1).register()]);
    ground.place();
    let explanation = explain_in(&ground, &app);
    assert_eq!((explanation.waiting, explanation.suitable(), explanation.changes.len()), (0, 0, 0));
}

#[test]
fn a_new_agent_is_asked_for_what_rules_leave_open() {
    #[track_caller]
    fn check(rule: (&str, &str, Option<&str>), wanted: Option<&str>) {
        let app = an_app("/web").instances(3).constraint(rule.0, rule.1, rule.2);
        let ground = waiting_on(vec![an_agent("a1").attribute("rack", "r1").cpus(0.1)], &app);
        let explanation = explain_in(&ground, &app);
        let add = explanation.changes.iter().find_map(|change| match change {
            Change::Add { facts, .. } => Some(facts.join(" and ")),
            _ => None,
        });
        assert_eq!(add.as_deref(), wanted, "{rule:?}");
    }
    check(("hostname", "UNIQUE", None), Some(r#"hostname other than "a1.local""#));
    check(("rack", "CLUSTER", None), Some(r#"rack "r1""#));
    check(("rack", "CLUSTER", Some("r9")), Some(r#"rack "r9""#));
    check(("rack", "MAX_PER", Some("1")), Some(r#"rack other than "r1""#));
    check(("rack", "MAX_PER", Some("0")), None);
    check(("rack", "UNLIKE", Some("r2")), Some("rack unlike r2"));
    check(("rack", "GROUP_BY", Some("3")), Some(r#"rack other than "r1""#));
    check(("rack", "GROUP_BY", Some("1")), Some(r#"rack "r1""#));
    check(("rack", "LIKE", Some("")), None);
}

#[test]
fn a_running_task_is_compared_with_the_best_others() {
    let app = an_app("/web").instances(2).cpus(1.0);
    let ground = waiting_on(
        vec![an_agent("a1"), an_agent("a2"), an_agent("a3").cpus(2.0), an_agent("a4").cpus(0.5)],
        &app,
    );
    let explanation = explain_in(&ground, &app);
    assert_eq!((explanation.waiting, explanation.changes.len(), explanation.placed.len()), (0, 0, 2));
    let placed = &explanation.placed[0];
    assert_eq!((placed.here.siblings, placed.here.load), (0, 0));
    // The agent that is empty comes before the one that has the other instance; a4 is too small.
    let others: Vec<(u32, bool)> =
        placed.runners_up.iter().map(|score| (score.siblings, score.load > 0)).collect();
    assert_eq!(others, [(0, false), (1, true)]);
    assert!(placed.runners_up.iter().all(|score| score.agent != placed.here.agent));
}

/// Where instances of an app with wishes go, in the order of the agents' names.
#[track_caller]
fn check_wishes(agents: Vec<AgentBuilder>, others: &[(&str, &str)], app: &AppBuilder, wanted: &[&str]) {
    let mut ground = Playground::default();
    ground.record(agents.into_iter().map(AgentBuilder::register).collect());
    for (other, agent) in others {
        ground.put(&an_app(other));
        let ids = ground.create(other, 1);
        ground.put_on(agent, &ids);
    }
    ground.put(app);
    ground.create(app.id().as_str(), app.clone().spec().instances as usize);
    ground.place();
    let id = app.id();
    let rows = ground.state.instances_of(&id);
    let mut found: Vec<String> = rows.filter_map(|row| Some(row.task.as_ref()?.agent.to_string())).collect();
    found.sort();
    assert_eq!(found, wanted);
}

fn zones(names: &str) -> Vec<AgentBuilder> {
    let agent = |(at, zone)| an_agent(&format!("a{}", at + 1)).attribute("zone", zone);
    names.split_whitespace().enumerate().map(agent).collect()
}

#[test]
fn wishes_choose_among_those_that_suit_and_keep_nobody_waiting() {
    let app = |instances| an_app("/web").instances(instances);
    let web = || app(1).prefer("zone", "b", 50);
    check_wishes(zones("a b a"), &[], &web(), &["a2"]);
    check_wishes(zones("a a"), &[], &web().prefer("hostname", "a1.*", -50), &["a2"]);
    check_wishes(zones("a"), &[], &app(1).prefer("zone", "a", -100), &["a1"]);
    // Each instance that an agent has costs 50 / 4 points: two are worth the preference.
    check_wishes(zones("a b a"), &[], &app(4).prefer("zone", "b", 20), &["a1", "a2", "a2", "a3"]);
    check_wishes(zones("a b a"), &[], &app(3).prefer("zone", "b", 100), &["a2", "a2", "a2"]);
}

#[test]
fn instances_are_shared_out_by_percent_or_evenly() {
    let app = |instances| an_app("/web").instances(instances);
    let by_share = app(10).spread("zone", 100, &[("a", 70), ("b", 20)]);
    check_wishes(
        zones("a b c"),
        &[],
        &by_share,
        &["a1", "a1", "a1", "a1", "a1", "a1", "a2", "a2", "a3", "a3"],
    );
    check_wishes(zones("a a a a b"), &[], &app(4).spread("zone", 100, &[]), &["a2", "a4", "a5", "a5"]);
    // Who has no zone is last.
    let mut agents = zones("a b");
    agents.push(an_agent("a3"));
    check_wishes(agents, &[], &app(2).spread("zone", 100, &[]), &["a1", "a2"]);
}

#[test]
fn apps_are_near_to_others_or_far_from_them() {
    let app = an_app("/web");
    let cache = [("/cache", "a2")];
    check_wishes(zones("a b b"), &cache, &app.clone().near("/cache", "hostname", 50), &["a2"]);
    check_wishes(zones("b b a"), &cache, &app.clone().near("/cache", "zone", -50), &["a3"]);
    check_wishes(zones("a a"), &cache, &app.clone().near("/cache", "hostname", -50), &["a1"]);
    check_wishes(zones("a"), &[("/cache", "a1")], &app.near("/cache", "zone", -100), &["a1"]);
}

#[test]
fn packed_apps_fill_one_agent_before_the_next() {
    let app = an_app("/web").cpus(1.0).instances(10);
    let packed = app.wish(Wishes { strategy: Some(Strategy::Binpack), ..Wishes::default() });
    let mut ground = Playground::with_agents(4);
    ground.put(&packed);
    ground.create("/web", 10);
    ground.place();
    let mut used: Vec<u64> = ground.state.agents.values().map(|row| row.used.cpus.thousandths()).collect();
    used.sort_unstable();
    assert_eq!(used, [0, 0, 2_000, 8_000]);
}

#[test]
fn why_here_is_told_in_points() {
    let mut agents = zones("a b b");
    agents.push(an_agent("a4").cpus(0.1));
    let app =
        an_app("/web").prefer("zone", "b", 50).spread("zone", 20, &[("a", 50)]).near("/cache", "zone", -10);
    let mut ground = Playground::default();
    ground.record(agents.into_iter().map(AgentBuilder::register).collect());
    ground.put(&an_app("/cache"));
    let ids = ground.create("/cache", 1);
    ground.put_on("a2", &ids);
    ground.put(&app);
    ground.run_one("/web");
    let explanation = explain_in(&ground, &app);
    let placed = &explanation.placed[0];
    let parts: Vec<(&str, i64)> =
        placed.here.wishes.iter().flatten().map(|part| (part.wish.as_str(), part.points)).collect();
    assert_eq!(placed.here.agent.as_str(), "a3", "a2 is as near to the cache's zone, and fuller");
    assert_eq!(
        parts,
        [("preferences(0)", 50_000), ("spread(0)", 10_000), ("affinity(0)", -10_000), ("load", 10_000)]
    );
    assert_eq!(placed.here.points(), 60_000);
    let others: Vec<(&str, i64)> =
        placed.runners_up.iter().map(|score| (score.agent.as_str(), score.points())).collect();
    assert_eq!(others, [("a2", 59_875), ("a1", 20_000), ("a4", -10_000)]);
    let last = placed.runners_up.last().unwrap().wishes.iter().flatten();
    let why: Vec<&str> = last.map(|part| part.why.as_str()).collect();
    assert_eq!(why, ["the agent has no zone", "spread, 0 % taken"]);
}

#[test]
fn an_unknown_app_has_no_explanation() {
    let ground = Playground::with_agents(1);
    let none = AppId::parse("/none").unwrap();
    assert_eq!(explain(&ground.state, &none, &Suspects::new(), ground.now(), Strategy::Spread), None);
}

prop_compose! {
    pub(super) fn any_rule()(at in 0usize..9) -> (&'static str, &'static str, Option<&'static str>) {
        [("hostname", "UNIQUE", None), ("rack", "UNIQUE", None), ("rack", "CLUSTER", None),
         ("rack", "LIKE", Some("r[01]")), ("rack", "UNLIKE", Some("r0")), ("rack", "IS", Some("r2")),
         ("rack", "MAX_PER", Some("2")), ("rack", "GROUP_BY", Some("2")), ("rack", "GROUP_BY", None)][at]
    }
}

/// The definition after a change of it; nothing for changes of something else.
pub(super) fn changed(spec: &RunSpec, change: &Change) -> Option<RunSpec> {
    let (parts, mut spec) = match change {
        Change::Together { parts, .. } => (parts.clone(), spec.clone()),
        single => (vec![single.clone()], spec.clone()),
    };
    let mut dropped = BTreeSet::new();
    for part in parts {
        match part {
            Change::Lower { amount: Amount::Cpus, to, .. } => spec.cpus = to,
            Change::Lower { amount: Amount::Mem, to, .. } => spec.mem = to,
            Change::Lower { amount: Amount::Disk, to, .. } => spec.disk = to,
            Change::Lower { amount: Amount::Gpus, to, .. } => spec.gpus = to,
            Change::Drop { at, .. } => dropped.extend(at),
            _ => return None,
        }
    }
    let kept = std::mem::take(&mut spec.constraints).into_iter().enumerate();
    spec.constraints = kept.filter(|(at, _)| !dropped.contains(at)).map(|(_, rule)| rule).collect();
    Some(spec)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// An app waits exactly if no agent suits, verdicts add up to the cluster, and each change
    /// that lowers amounts or drops constraints lets as many agents suit as it says.
    #[test]
    fn explanations_add_up_and_changes_help(
        agents in proptest::collection::vec((1u32..60, 20u32..900, proptest::option::of(0u8..3)), 1..6),
        cpus in 1u32..50, mem in 10u32..800, instances in 1u32..8,
        rules in proptest::collection::vec(any_rule(), 0..3),
    ) {
        let agents = agents.into_iter().enumerate().map(|(at, (cpus, mem, rack))| {
            let agent = an_agent(&format!("a{at}")).cpus(f64::from(cpus) / 10.0).mem(f64::from(mem));
            match rack {
                Some(rack) => agent.attribute("rack", &format!("r{rack}")),
                None => agent,
            }
        }).collect();
        let bare = an_app("/web").instances(instances).cpus(f64::from(cpus) / 10.0).mem(f64::from(mem));
        let app = rules.iter().fold(bare.clone(), |app, rule| app.constraint(rule.0, rule.1, rule.2));
        let ground = waiting_on(agents, &app);
        let explanation = explain_in(&ground, &app);
        prop_assert_eq!(explanation.waiting > 0 && explanation.suitable() > 0, false);
        let counted: usize = explanation.obstacles.iter().map(|set| set.agents).sum();
        prop_assert_eq!(counted + explanation.suitable(), ground.state.agents.len());
        if explanation.waiting == 0 {
            return Ok(());
        }
        for change in &explanation.changes {
            if let Change::Add { needs, .. } = change {
                prop_assert_eq!(needs.cpus, explanation.needs.cpus);
            }
            let Some(spec) = changed(&app.clone().spec(), change) else { continue };
            // As if the waiting instances were of the changed content, beside those that run.
            let content = AppVersion { spec, ..ground.state.current(&app.id()).unwrap().clone() };
            let need = Need::of(&ground.state, &content);
            let view = Ground::of(&SchedulingView::of(&ground.state, BTreeSet::new()));
            let suits = view.plots.iter().filter(|plot| crate::scheduler::feasibility::check(&need, plot).is_ok());
            prop_assert_eq!(suits.count(), change.agents(), "{}", change.sentence());
        }
    }
}

#[test]
fn an_agent_that_cannot_start_tasks_says_why_and_tasks_held_there_are_named() {
    let app = an_app("/web").bridged("web:1", &[]).cpus(3.0).instances(3);
    let agents = ["a1", "a2", "a3"].map(|id| an_agent(id).cpus(4.0));
    let mut ground = Playground::default();
    ground.record(agents.into_iter().map(AgentBuilder::register).collect());
    ground.put(&app);
    ground.create("/web", 2);
    ground.place();
    let on: Vec<AgentId> = ground
        .state
        .instances_of(&app.id())
        .filter_map(|row| Some(row.task.as_ref()?.agent.clone()))
        .collect();
    let hindrances = |containers: bool, tasks: bool| Hindrances {
        containers: containers.then(|| "docker does not answer".to_owned()),
        tasks: tasks.then(|| "its disk is full".to_owned()),
        ..Hindrances::default()
    };
    let free = ["a1", "a2", "a3"].map(AgentId::new).into_iter().find(|id| !on.contains(id)).unwrap();
    ground.record(vec![
        Command::SetHindrances { agent: on[0].clone(), hindrances: hindrances(true, false) },
        Command::SetHindrances { agent: free.clone(), hindrances: hindrances(true, true) },
    ]);
    ground.create("/web", 1);
    assert!(ground.place().placements.is_empty(), "nobody can start a container and has room");
    let explanation = explain_in(&ground, &app);
    let of = |id: &AgentId| explanation.verdicts.iter().find(|verdict| verdict.agent.id == *id).unwrap();
    let said: Vec<String> = of(&free).lacks.iter().map(Lack::sentence).collect();
    assert_eq!(
        said,
        [
            "the agent can start no tasks now: its disk is full",
            "needs an image, and the agent can start no containers now: docker does not answer",
        ]
    );
    let held: Vec<(&AgentId, &str)> =
        explanation.held.iter().map(|held| (&held.agent, held.why.as_str())).collect();
    assert_eq!(held, [(&on[0], "docker does not answer")]);
    assert!(!explanation.held[0].may_run);
    let hindered =
        Hindrances { may_run: [explanation.held[0].task.clone()].into(), ..hindrances(true, false) };
    ground.record(vec![Command::SetHindrances { agent: on[0].clone(), hindrances: hindered }]);
    assert!(explain_in(&ground, &app).held[0].may_run, "its agent says so");
    let offers = crate::scheduler::make_offers(&ground.state, &Suspects::new());
    assert_eq!((offers.offers.len(), &offers.withheld[0].agent), (2, &free));
    // A plain process goes where only containers cannot be started.
    let plain = an_app("/plain").cpus(1.0).constraint("hostname", "UNIQUE", None).instances(3);
    ground.put(&plain);
    ground.create("/plain", 3);
    let report = ground.place();
    let placed: Vec<&AgentId> = report.placements.iter().map(|placement| &placement.agent).collect();
    assert!(placed.len() == 2 && !placed.contains(&&free), "{placed:?}");
}
