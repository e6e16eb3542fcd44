//! The book against asking everybody, over random lives of random clusters; and what makes it
//! cheap, each with the smallest cluster that shows it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::naive::naive_cycle;
use super::*;
use crate::domain::{AppId, Goal, Hindrances, PortRanges, Resources, Strategy, TaskState, Wishes, role};
use crate::scheduler::judge::Judge;
use crate::scheduler::{Reason, SchedulingView, funnel, run_cycle};
use crate::state::Command;
use crate::state::Placement;
use crate::testkit::{AgentBuilder, AppBuilder, Playground, an_agent, an_app};

/// Dice for one step: what kind, and what it is about.
type Dice = (u8, u8, u8, u8);

fn pick<T: Clone>(from: &[T], at: u8) -> Option<T> {
    from.get(usize::from(at).checked_rem(from.len())?).cloned()
}

/// Agents differ in size, rack, docker and ports, and some lack the fact.
fn some_agent((_, id, a, b): Dice) -> AgentBuilder {
    let agent = an_agent(&format!("a{}", id % 14))
        .cpus(f64::from(a % 7) / 2.0 + 0.5)
        .mem(f64::from(b % 5) * 300.0 + 64.0)
        .ports(31_000, 31_000 + u16::from(a % 6))
        .run(u64::from(b));
    let agent = if a % 5 == 0 { agent } else { agent.attribute("rack", &format!("r{}", b % 4)) };
    let agent = match a.wrapping_add(b) % 7 {
        // What is kept is part of what there is: others are refused when they register.
        0 => agent.keep("db", 0.5, 64.0, (a % 6 > 0).then_some((31_001, 31_001))),
        1 => agent.keep("db", f64::from(a % 7) / 2.0 + 0.5, 32.0, None).keep("ml", 0.0, 32.0, None),
        2 => agent.keep("ml", 0.25, 64.0, Some((31_000, 31_000))),
        3 => agent.keep("db", 0.5, 32.0, None).keep("ml", 0.0, 32.0, None),
        _ => agent,
    };
    let agent = if b % 3 == 0 { agent.attribute("level", &format!("{}.50", a % 3)) } else { agent };
    // A machine may be there twice: as it was, and as it came back with a new directory.
    let agent = if a % 6 == 5 { agent.hostname("a3.local") } else { agent };
    if (a ^ b) % 4 == 0 { agent.without_docker() } else { agent }
}

/// Apps with up to two rules, all seven operators on coarse and on fine facts, with and without
/// values, and ports.
fn some_app((_, id, a, b): Dice) -> AppBuilder {
    let app = match id % 9 {
        5 | 7 => an_app("/db/one").role("db"),
        6 | 8 => an_app("/ml/one").role("ml"),
        other => an_app(&format!("/app-{other}")),
    };
    let app = match (id % 9, b % 4) {
        (5 | 7, 1) => app.accepts(&["db"]),
        (6 | 8, 1) => app.accepts(&["*"]),
        (5, 2) => app.accepts(&["db", "*"]),
        _ => app,
    };
    let app = app
        .instances(u32::from(b % 9))
        .cpus(f64::from(a % 9) / 8.0)
        .mem(f64::from(b % 7) * 20.0)
        .cmd(&format!("{}", a % 2));
    let app = match b % 6 {
        0 => app.any_ports(usize::from(a % 3)),
        1 => app.exact_ports(&[31_000 + u16::from(a % 4)]),
        2 => app.bridged("x:1", &[0, 31_002]),
        _ => app,
    };
    // An app is never near to itself: that is refused.
    let other = if id % 9 == 1 { "/app-2" } else { "/app-1" };
    let own = if matches!(id % 9, 5 | 7) { "/ml/one" } else { "/db/one" };
    let app = match a.wrapping_mul(7).wrapping_add(b) % 14 {
        0 => app.wish(Wishes { strategy: Some(Strategy::Binpack), ..Wishes::default() }),
        1 => app.prefer("rack", "r[12]", i32::from(b % 50) + 1).prefer("level", "1.*", -30),
        2 => app.spread("rack", 60, &[("r1", 50), ("r2", 30)]).spread("hostname", 20, &[]),
        3 => app.near(other, "rack", 40).near(own, "hostname", -80),
        4 => app.near(own, "hostname", 10).spread("rack", 100, &[]).prefer("hostname", "a[0-4].*", 5),
        _ => app,
    };
    let rules = [
        None,
        Some(("hostname", "UNIQUE", None)),
        Some(("rack", "UNIQUE", None)),
        Some(("rack", "CLUSTER", None)),
        Some(("hostname", "CLUSTER", None)),
        Some(("@hostname", "CLUSTER", Some("a3.local"))),
        Some(("rack", "GROUP_BY", None)),
        Some(("rack", "GROUP_BY", Some("2"))),
        Some(("hostname", "GROUP_BY", None)),
        Some(("hostname", "GROUP_BY", Some("3"))),
        Some(("rack", "MAX_PER", Some("2"))),
        Some(("hostname", "MAX_PER", Some("2"))),
        Some(("rack", "LIKE", Some("r[12]"))),
        Some(("hostname", "LIKE", Some("a[0-5]\\..*"))),
        Some(("rack", "UNLIKE", Some("r1"))),
        Some(("level", "IS", Some("1.500"))),
        Some(("level", "UNLIKE", Some(""))),
    ];
    let chosen = [pick(&rules, a / 3), if b % 2 == 0 { pick(&rules, b / 2) } else { None }];
    chosen
        .into_iter()
        .flatten()
        .flatten()
        .fold(app, |app, (field, operator, operand)| app.constraint(field, operator, operand))
}

/// Something happens to the cluster.
fn happen(ground: &mut Playground, dice: Dice) {
    let (kind, a, b, c) = dice;
    let rows: Vec<InstanceId> = ground.state.instances.values().map(|row| row.id.clone()).collect();
    let live: Vec<InstanceId> =
        ground.state.instances.values().filter(|row| row.is_live()).map(|row| row.id.clone()).collect();
    let agents: Vec<AgentId> = ground.state.agents.iter().map(|(id, _)| id.clone()).collect();
    match kind % 17 {
        0 | 1 => drop(ground.record(vec![some_agent(dice).register()])),
        2 => {
            let known = pick(&agents, a);
            known.into_iter().for_each(|agent| ground.agent_lost(agent.as_str()));
        }
        3 | 4 => ground.put(&some_app(dice)),
        5..=8 => {
            let apps: Vec<AppId> = ground.state.apps.iter().map(|(id, _)| id.clone()).collect();
            if let Some(app) = pick(&apps, a) {
                ground.create(app.as_str(), usize::from(b % 7));
            }
        }
        9..=11 => {
            let states = [TaskState::Running, TaskState::Failed, TaskState::Finished, TaskState::Killed];
            for at in 0..=(c % 4) {
                let Some(id) = pick(&live, a.wrapping_add(at * 7)) else { return };
                if ground.state.instances.get(&id).is_some_and(|row| row.is_live()) {
                    ground.say(&id, pick(&states, b.wrapping_add(at)).unwrap());
                }
            }
        }
        12 => {
            let instances: Vec<InstanceId> = [a, b].into_iter().filter_map(|at| pick(&rows, at)).collect();
            ground.record(vec![Command::SetGoal {
                instances,
                goal: Goal::Decommissioned,
                reason: String::new(),
            }]);
        }
        13 => {
            let instances: Vec<InstanceId> = [a, b].into_iter().filter_map(|at| pick(&rows, at)).collect();
            let commands = [
                Command::MarkInactive { instances: instances.clone() },
                Command::Expunge { instances: instances.clone() },
                Command::Readmit { instances },
            ];
            ground.record(pick(&commands, c).into_iter().collect());
        }
        14 if c % 2 == 0 => {
            let why = || Some("test".to_owned());
            let all = [
                Hindrances::default(),
                Hindrances { containers: why(), ..Hindrances::default() },
                Hindrances { tasks: why(), ..Hindrances::default() },
            ];
            let hindrances = pick(&all, b).unwrap_or_default();
            let told = pick(&agents, a).map(|agent| Command::SetHindrances { agent, hindrances });
            ground.record(told.into_iter().collect());
        }
        14 => {
            let ports = PortRanges::of([31_000 + u16::from(b % 5)]);
            let held = pick(&agents, a).map(|agent| Command::SetHeldPorts { agent, ports });
            ground.record(held.into_iter().collect());
        }
        15 => {
            let some: Vec<InstanceId> = [a, b].into_iter().filter_map(|at| pick(&live, at)).collect();
            let moved = some.iter().map(|id| (id.clone(), "test".to_owned())).collect();
            let commands =
                [Command::MoveInstances { instances: moved }, Command::KeepInstances { instances: some }];
            ground.record(pick(&commands, u8::from(c % 3 == 0)).into_iter().collect());
        }
        _ if c % 3 == 0 => drop(ground.remove(&some_app(dice))),
        _ => ground.pass(Duration::from_secs(u64::from(c))),
    }
}

/// Records what was placed. `apply` asks for each whether the agent has the room, so that no
/// refusal means that nobody was given more than there was.
fn launch(ground: &mut Playground, mut report: CycleReport, loses: u8) {
    // Sometimes an entry is not recorded, or only a part of it is accepted.
    match loses % 8 {
        0 => return,
        1 => report.placements.truncate(report.placements.len() / 2),
        _ => {}
    }
    if report.placements.is_empty() {
        return;
    }
    let before = ground.state.clone();
    let placements = report.placements;
    let drawn = placements.iter().filter(|placement| !placement.drawn.is_empty()).count();
    RESERVED.fetch_add(drawn, Ordering::Relaxed);
    let applied = ground.record(vec![Command::LaunchTasks { placements, seen_at: 0 }]);
    assert_eq!(applied.refusals, []);
    for (id, after) in ground.state.agents.iter() {
        is_within(before.agents.get(id).unwrap(), after);
    }
}

/// Whoever came back with less than his tasks hold gets nothing more of it, of no role.
fn is_within(before: &AgentRow, after: &AgentRow) {
    let info = &after.info;
    let own = |row: &AgentRow, role: &str| row.drawn.get(role).cloned().unwrap_or_default();
    let most = |has: &Resources, had: &Resources| Resources {
        cpus: has.cpus.max(had.cpus),
        mem: has.mem.max(had.mem),
        disk: has.disk.max(had.disk),
        gpus: has.gpus.max(had.gpus),
        ports: has.ports.plus(&had.ports),
    };
    assert!(most(&info.totals, &before.used).contains(&after.used), "{before:?} {after:?}");
    for role in info.reserved.keys().chain(after.drawn.keys()) {
        let kept = info.reserved.get(role).cloned().unwrap_or_default();
        assert!(most(&kept, &own(before, role)).contains(&own(after, role)), "{role}: {before:?} {after:?}");
    }
    let open = info.totals.minus(&role::sum(&info.reserved));
    let plain = |row: &AgentRow| row.used.minus(&role::sum(&row.drawn));
    assert!(most(&open, &plain(before)).contains(&plain(after)), "{before:?} {after:?}");
}

static DECISIONS: AtomicUsize = AtomicUsize::new(0);
static REFUSALS: AtomicUsize = AtomicUsize::new(0);
static RESERVED: AtomicUsize = AtomicUsize::new(0);
static WISHED: AtomicUsize = AtomicUsize::new(0);
static LIVES: AtomicUsize = AtomicUsize::new(0);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// One book lives through everything; at each cycle it decides as a new book and as somebody
    /// who asks every agent for every instance, nobody is given more than he has, and the sums
    /// of the funnel add up.
    #[test]
    fn the_book_decides_as_asking_everybody_does(
        agents in proptest::collection::vec(any::<Dice>(), 1..12),
        steps in proptest::collection::vec((any::<Dice>(), 0u8..8, any::<u8>()), 1..60),
    ) {
        let mut ground = Playground::default();
        let agents_count = agents.len();
        ground.record(agents.into_iter().map(|dice| some_agent(dice).register()).collect());
        let strategy = if agents_count % 6 == 5 { Strategy::Binpack } else { Strategy::Spread };
        let mut book = Book::new(strategy);
        for (dice, loses, leaves_out) in steps {
            happen(&mut ground, dice);
            if dice.2 % 3 == 0 {
                continue; // Several things happen between two cycles.
            }
            let is_out = |at: usize| leaves_out % 4 == 0 && at % 5 == usize::from(leaves_out / 4) % 5;
            let ids = ground.state.agents.iter().enumerate();
            let excluded: BTreeSet<AgentId> =
                ids.filter(|(at, _)| is_out(*at)).map(|(_, (id, _))| id.clone()).collect();
            let view = SchedulingView { strategy, ..SchedulingView::of(&ground.state, excluded.clone()) };
            if loses == 7 {
                book.walked = WALKS_MAX; // Full: what is learnt now is forgotten after the cycle.
            }
            let report = book.cycle(&ground.state, &excluded, ground.now());
            let naive = naive_cycle(&view, ground.now());
            prop_assert_eq!(&report, &naive, "maintained against everybody");
            prop_assert_eq!(&Book::new(strategy).cycle(&ground.state, &excluded, ground.now()), &naive, "rebuilt");
            let counted = run_cycle(&view, ground.now());
            let offers = crate::scheduler::make_offers(&ground.state, &Default::default());
            let present = u32::try_from(offers.offers.len() + offers.withheld.len()).unwrap();
            for (app, _) in &report.blocked {
                // What one content placed may have opened a rule to another one of the app.
                let queue = crate::scheduler::waiting(&ground.state, ground.now());
                if queue.iter().filter(|queued| queued.app == app).count() == 1 {
                    let counts = &counted.waiting.get(app).unwrap().rejections;
                    prop_assert_eq!(counts.values().sum::<u32>(), present, "a reason for each agent");
                }
                let funnel = funnel(&ground.state, app, &Default::default(), 0).unwrap();
                let declined: u32 = funnel.summary.iter().map(|line| line.declined).sum();
                prop_assert_eq!(declined + funnel.suitable, funnel.processed);
                REFUSALS.fetch_add(1, Ordering::Relaxed);
            }
            DECISIONS.fetch_add(report.placements.len(), Ordering::Relaxed);
            let has_wishes = |placement: &&Placement| {
                let content = ground.state.content_of(ground.row(&placement.instance)).unwrap();
                Judge::of(&content.spec, strategy).is_some()
            };
            WISHED.fetch_add(report.placements.iter().filter(has_wishes).count(), Ordering::Relaxed);
            launch(&mut ground, report, loses);
        }
        LIVES.fetch_add(1, Ordering::Relaxed);
        let [lives, decisions, refusals, reserved, wished] =
            [&LIVES, &DECISIONS, &REFUSALS, &RESERVED, &WISHED].map(|count| count.load(Ordering::Relaxed));
        if lives % 96 == 0 {
            println!("{lives} lives: {decisions} placements and {refusals} refusals as asking everybody gives them");
            println!("{wished} of them by points: soft wishes or bin-packing");
            println!("{reserved} placements drew on reservations; nobody gave more than he had, of no role");
        }
    }
}

#[test]
fn a_placement_that_is_not_recorded_is_taken_back() {
    let mut ground = Playground::with_agents(1);
    ground.put(&an_app("/web").cpus(8.0).constraint("hostname", "UNIQUE", None));
    ground.create("/web", 1);
    let mut book = Book::default();
    let none = BTreeSet::new();
    let first = book.cycle(&ground.state, &none, ground.now());
    assert_eq!(first.placements.len(), 1);
    assert_eq!(book.cycle(&ground.state, &none, ground.now()), first, "nothing was recorded");
}

#[test]
fn a_state_from_elsewhere_is_read_from_the_beginning() {
    let mut ground = Playground::with_agents(3);
    ground.put(&an_app("/web"));
    ground.create("/web", 2);
    let mut book = Book::default();
    book.follow(&ground.state);
    let mut other = Playground::with_agents(1);
    other.put(&an_app("/db"));
    other.create("/db", 1);
    let none = BTreeSet::new();
    let report = book.cycle(&other.state, &none, other.now());
    assert_eq!(report, Book::default().cycle(&other.state, &none, other.now()));
    assert_eq!(report.placements.len(), 1);
}

#[test]
fn equal_agents_are_not_taken_in_the_order_of_their_names() {
    let mut ground = Playground::with_agents(40);
    ground.put(&an_app("/web"));
    ground.create("/web", 10);
    let report = Book::default().cycle(&ground.state, &BTreeSet::new(), ground.now());
    let tail = report
        .placements
        .iter()
        .filter(|placement| placement.agent.as_str().trim_start_matches('a').parse::<u32>().unwrap() > 20);
    assert!((2..=8).contains(&tail.count()));
}

#[test]
fn what_fits_nowhere_is_asked_again_of_those_that_grew() {
    let mut ground = Playground::with_agents(2);
    ground.put(&an_app("/small").cpus(8.0));
    let id = ground.run_one("/small");
    ground.run_one("/small");
    ground.put(&an_app("/huge").cpus(6.0));
    ground.create("/huge", 1);
    let (mut book, none) = (Book::default(), BTreeSet::new());
    let report = book.cycle(&ground.state, &none, ground.now());
    assert_eq!((report.placements.len(), report.blocked.len(), report.left), (0, 1, 1));
    let reasons = run_cycle(&SchedulingView::of(&ground.state, none.clone()), ground.now());
    let waiting = reasons.waiting.values().next().unwrap();
    assert_eq!(waiting.rejections.get(&Reason::InsufficientCpus), Some(&2));
    let agent = ground.row(&id).task.as_ref().unwrap().agent.clone();
    ground.record(vec![Command::SetGoal {
        instances: vec![id.clone()],
        goal: Goal::Decommissioned,
        reason: String::new(),
    }]);
    ground.say(&id, TaskState::Killed);
    let report = book.cycle(&ground.state, &none, ground.now());
    assert_eq!(report.placements.iter().map(|placement| &placement.agent).collect::<Vec<_>>(), [&agent]);
}

/// Forecasts make ids up; real ones come only once.
#[test]
fn an_id_that_comes_again_for_other_content_is_counted_for_that_one() {
    let mut ground = Playground::default();
    for rack in ["r1", "r2"] {
        ground.record(vec![an_agent(rack).attribute("rack", rack).register()]);
    }
    let web = an_app("/web").constraint("rack", "MAX_PER", Some("1"));
    ground.put(&web);
    let old = [ground.run_one("/web"), ground.run_one("/web")];
    ground.put(&web.cmd("sleep 2"));
    let new = [ground.run_one("/web"), ground.run_one("/web")];
    ground.create("/web", 1);
    let (mut book, none) = (Book::default(), BTreeSet::new());
    assert_eq!(book.cycle(&ground.state, &none, ground.now()).placements, []);
    let goal = Goal::Decommissioned;
    let instances = old.to_vec();
    ground.record(vec![Command::SetGoal { instances, goal, reason: String::new() }]);
    old.iter().for_each(|id| drop(ground.say(id, TaskState::Killed)));
    let app = AppId::parse("/web").unwrap();
    let version = ground.row(&new[0]).version;
    ground.record(vec![Command::CreateInstances { app, version, ids: old.to_vec() }]);
    assert_eq!(book.cycle(&ground.state, &none, ground.now()).placements, []);
}
