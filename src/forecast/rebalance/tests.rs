//! Plans are good, end, and keep to their budget.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::domain::{DeploymentId, Strategy, Wishes};
use crate::testkit::{AppBuilder, Playground, an_agent, an_app};

type Dice = (u8, u8, u8);

const BUDGET: Budget = Budget { moves_max: 10, moves_per_app_max: 3 };

/// Plans carried out one after another until none is left; more would be to and fro.
const PLANS_MAX: usize = 60;

fn planned(ground: &Playground, budget: Budget) -> Rebalance {
    rebalance(&ground.state, &Suspects::new(), ground.now(), budget, Strategy::default(), &mut || true)
}

fn carry_out(ground: &mut Playground, plan: &Rebalance) {
    let instances = plan.moves.iter().map(|it| (it.from.instance.clone(), it.reason.clone())).collect();
    ground.record(vec![Command::MoveInstances { instances }]);
}

fn on(ground: &Playground, agent: &str) -> usize {
    ground.state.live_on(&AgentId::new(agent)).count()
}

/// So many instances on `a1`, then `a2` joins.
fn crowded(app: &AppBuilder) -> Playground {
    let mut ground = Playground::with_agents(1);
    ground.deploy(app);
    ground.settle();
    ground.register("a2");
    ground
}

static MOVES: AtomicUsize = AtomicUsize::new(0);

fn some_app(at: usize, (kind, a, b): Dice) -> AppBuilder {
    let app = an_app(&format!("/app-{at}")).instances(u32::from(a % 7)).cpus(f64::from(b % 6) * 0.5 + 0.2);
    let app = if a % 4 == 0 { app.upgrade(f64::from(b % 3) / 2.0, f64::from(a % 2)) } else { app };
    match kind % 7 {
        0 => app.constraint("rack", "GROUP_BY", None),
        1 => app.constraint("rack", "MAX_PER", Some("2")),
        2 => app.constraint("hostname", "UNIQUE", None),
        3 => app.constraint("rack", "LIKE", Some("r[01]")),
        4 => app.constraint("rack", "GROUP_BY", Some("2")),
        _ => app,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Agents join and change their racks; then plans are carried out until there is none: that
    /// takes few, each makes things better, and no app ever has less serving than it is allowed.
    #[test]
    fn plans_come_to_an_end_and_never_leave_an_app_short(
        agents in proptest::collection::vec(any::<Dice>(), 1..4),
        apps in proptest::collection::vec(any::<Dice>(), 1..6),
        later in proptest::collection::vec(any::<Dice>(), 1..5),
    ) {
        let mut ground = Playground::default();
        let agent = |at: usize, (_, a, b): Dice| {
            an_agent(&format!("a{at}")).cpus(f64::from(a % 7) + 2.0).attribute("rack", &format!("r{}", b % 3))
        };
        for (at, dice) in agents.iter().enumerate() {
            ground.record(vec![agent(at, *dice).register()]);
        }
        for (at, dice) in apps.iter().enumerate() {
            ground.deploy(&some_app(at, *dice));
            ground.settle();
        }
        for dice in later {
            let at = usize::from(dice.0 % 7);
            let known = ground.state.agents.get(&AgentId::new(format!("a{at}"))).cloned();
            let info = match known {
                // Only its facts change.
                Some(row) => {
                    let mut info = (*row.info).clone();
                    info.attributes = agent(at, dice).info().attributes;
                    info.incarnation.run += 1;
                    info
                }
                None => agent(at, dice).info(),
            };
            let held_ports = crate::domain::PortRanges::default();
            ground.record(vec![Command::RegisterAgent { info: Box::new(info), held_ports, proof: None }]);
        }
        ground.settle();
        let mut last: Option<Unrest> = None;
        for carried_out in 0.. {
            prop_assert!(carried_out < PLANS_MAX, "to and fro");
            let unrest = Unrest::of(&ground.state, &Suspects::new());
            if let Some(last) = &last {
                prop_assert!(unrest < *last, "{:?} is no better than {:?}", unrest, last);
            }
            last = Some(unrest);
            let plan = planned(&ground, BUDGET);
            prop_assert!(plan.moves.len() <= BUDGET.moves_max);
            prop_assert!(plan.under_way.is_empty());
            if plan.moves.is_empty() {
                break;
            }
            MOVES.fetch_add(plan.moves.len(), Ordering::Relaxed);
            let serving = |state: &ClusterState| {
                let mut serving: BTreeMap<AppId, usize> = BTreeMap::new();
                for row in state.instances.values().filter(|row| row.is_serving(0) && row.goal == Goal::Running) {
                    *serving.entry(row.app.clone()).or_default() += 1;
                }
                serving
            };
            let floor = serving(&ground.state);
            carry_out(&mut ground, &plan);
            let mut short = None;
            ground.settle_watching(|state| {
                let now = serving(state);
                let is_short = |(app, least): &(&AppId, &usize)| now.get(*app).copied().unwrap_or(0) < **least;
                short = short.take().or(floor.iter().find(is_short).map(|(app, _)| app.clone()));
            });
            prop_assert_eq!(short, None);
            for it in &plan.moves {
                prop_assert!(!ground.state.instances.contains(&it.from.instance), "{:?} is still there", it);
            }
        }
    }
}

#[test]
fn the_property_has_seen_moves() {
    plans_come_to_an_end_and_never_leave_an_app_short();
    assert!(MOVES.load(Ordering::Relaxed) > 100);
}

#[test]
fn a_crowded_agent_gives_to_an_empty_one_until_they_are_near() {
    let mut ground = crowded(&an_app("/web").instances(5).cpus(1.0));
    let plan = planned(&ground, BUDGET);
    assert_eq!(plan.moves.len(), 2);
    assert!(plan.moves.iter().all(|it| it.from.agent.as_str() == "a1" && it.to.as_str() == "a2"));
    assert_eq!(plan.moves[0].reason, "its agent is 62 % full, the other would be 12 %");
    carry_out(&mut ground, &plan);
    ground.settle();
    assert_eq!((on(&ground, "a1"), on(&ground, "a2")), (3, 2));
    assert_eq!(planned(&ground, BUDGET).moves, []);
}

#[test]
fn the_budget_counts_what_moves_already_and_a_repeat_asks_for_nothing_more() {
    let mut ground = crowded(&an_app("/web").instances(6).cpus(1.0));
    let one = Budget { moves_max: 1, moves_per_app_max: 1 };
    let plan = planned(&ground, one);
    assert_eq!(plan.moves.len(), 1);
    carry_out(&mut ground, &plan);
    let again = planned(&ground, one);
    assert_eq!((again.moves.len(), again.under_way.len()), (0, 1));
    assert_eq!(again.under_way[0].reason, plan.moves[0].reason);
    // Two that decide at once decide alike: the second changes nothing.
    let before = ground.state.instances.clone();
    carry_out(&mut ground, &plan);
    assert_eq!(ground.state.instances, before);
}

#[test]
fn what_stands_against_a_rule_moves_or_says_why_it_stays() {
    let mut ground = Playground::default();
    ground.record(vec![an_agent("a1").attribute("rack", "r1").register()]);
    ground.deploy(&an_app("/web").constraint("rack", "LIKE", Some("r1")));
    ground.settle();
    ground.record(vec![an_agent("a1").attribute("rack", "r2").run(2).register()]);
    let plan = planned(&ground, BUDGET);
    assert_eq!(plan.moves, []);
    assert!(
        plan.kept[0].reason.contains("LIKE") && plan.kept[0].because.starts_with("no other agent suits."),
        "{plan:?}"
    );
    ground.record(vec![an_agent("a2").attribute("rack", "r1").register()]);
    let plan = planned(&ground, BUDGET);
    assert_eq!((plan.moves[0].to.as_str(), plan.kept.len()), ("a2", 0));
}

#[test]
fn apps_under_deployment_and_those_that_would_stop_first_are_left_alone() {
    let mut ground = crowded(&an_app("/web").instances(5).cpus(1.0).upgrade(0.0, 0.0));
    assert_eq!(planned(&ground, BUDGET).moves, []);
    ground = crowded(&an_app("/web").instances(5).cpus(1.0));
    let id: DeploymentId = ground.deploy(&an_app("/web").instances(5).cpus(1.0).cmd("new"));
    assert_eq!(planned(&ground, BUDGET).moves, []);
    ground.record(vec![Command::CancelDeployment { deployment: id }]);
    assert!(!planned(&ground, BUDGET).moves.is_empty());
}

#[test]
fn a_plan_that_may_not_go_on_is_empty_and_says_so() {
    let ground = crowded(&an_app("/web").instances(5).cpus(1.0));
    let plan =
        rebalance(&ground.state, &Suspects::new(), ground.now(), BUDGET, Strategy::default(), &mut || false);
    assert_eq!((plan.moves.len(), plan.is_cut_short), (0, true));
}

#[test]
fn who_packs_stays_on_full_agents() {
    let moves = |app: &AppBuilder, strategy: Strategy| {
        let ground = crowded(app);
        rebalance(&ground.state, &Suspects::new(), ground.now(), BUDGET, strategy, &mut || true).moves.len()
    };
    let wishing = |strategy| {
        let wishes = Wishes { strategy: Some(strategy), ..Wishes::default() };
        an_app("/web").instances(4).cpus(2.0).wish(wishes)
    };
    let plain = an_app("/web").instances(4).cpus(2.0);
    assert_eq!((moves(&plain, Strategy::Spread), moves(&plain, Strategy::Binpack)), (2, 0));
    assert_eq!(moves(&wishing(Strategy::Binpack), Strategy::Spread), 0);
    assert_eq!(moves(&wishing(Strategy::Spread), Strategy::Binpack), 2);
}

/// Agents of 2 cpus: `a1` with an ssd in zone z1, `a2` and `a3` in z2.
fn two_zones() -> Playground {
    let mut ground = Playground::default();
    let a1 = an_agent("a1").cpus(2.0).attribute("ssd", "yes").attribute("zone", "z1");
    let in_z2 = |id: &str| an_agent(id).cpus(2.0).attribute("zone", "z2");
    ground.record(vec![a1.register(), in_z2("a2").register(), in_z2("a3").register()]);
    ground
}

/// The apps one after the other, those with an agent only there; what moves then.
fn moves_after(apps: &[(AppBuilder, Option<&str>)]) -> Vec<PlannedMove> {
    let mut ground = two_zones();
    for (app, there) in apps {
        match there {
            Some(agent) => {
                ground.put(app);
                let made = ground.create(app.id().as_str(), app.clone().spec().instances as usize);
                ground.put_on(agent, &made);
            }
            None => {
                ground.deploy(app);
                ground.settle();
            }
        }
    }
    ground.settle();
    planned(&ground, BUDGET).moves
}

#[test]
fn nothing_leaves_for_the_sake_of_load_where_its_app_wants_it() {
    let web = |instances, cpus| an_app("/web").instances(instances).cpus(cpus);
    assert_eq!(moves_after(&[(web(6, 0.3).prefer("ssd", "yes", 100), None)]), []);
    let other = |cpus| (an_app("/other").cpus(cpus), Some("a1"));
    assert_eq!(moves_after(&[(web(4, 0.3).spread("zone", 100, &[]), None), other(0.8)]), []);
    // One on each agent, and nowhere two.
    assert_eq!(moves_after(&[(web(3, 0.2), None), other(1.7)]), []);
    let near = web(5, 0.3).near("/other", "hostname", 100);
    assert_eq!(moves_after(&[other(0.4), (near, None)]), []);
    // What wishes for nothing and has no siblings elsewhere does leave.
    let moves = moves_after(&[(web(1, 0.9), Some("a1")), other(0.9)]);
    assert_eq!(moves.len(), 1, "{moves:?}");
}

#[test]
fn an_agent_that_came_back_smaller_than_its_tasks_is_relieved() {
    for cpus in [0.5, 2.0, 3.0] {
        let mut ground = Playground::default();
        ground.record(vec![an_agent("a1").cpus(4.0).register()]);
        ground.deploy(&an_app("/web").instances(6).cpus(0.5).mem(1.0));
        ground.settle();
        ground.record(vec![an_agent("a2").cpus(4.0).register()]);
        ground.record(vec![an_agent("a1").cpus(cpus).run(2).register()]);
        let plan = planned(&ground, Budget { moves_max: 10, moves_per_app_max: 10 });
        assert!(!plan.moves.is_empty(), "{cpus} cpus");
        carry_out(&mut ground, &plan);
        ground.settle();
        assert!(on(&ground, "a1") < 6 && ground.counted("/web").len() == 6);
    }
}
