//! What is foretold is what happens: the same deciders on the same state.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::domain::{AgentId, AppId, DeploymentId, Strategy};
use crate::forecast::Outcome;
use crate::scheduler::Suspects;
use crate::testkit::{AppBuilder, Playground, an_agent, an_app};

type Dice = (u8, u8, u8);

/// Where each app's attempts are, with their ports, without the names that chance gave them.
fn places(state: &ClusterState) -> Vec<(AppId, AgentId, u32, u32)> {
    let live = state.instances.values().filter(|row| row.is_live());
    let mut places: Vec<_> = live
        .filter_map(|row| {
            let task = row.task.as_ref()?;
            let ports = u32::try_from(task.ports.len()).unwrap();
            Some((row.app.clone(), task.agent.clone(), task.attempt, ports))
        })
        .collect();
    places.sort();
    places
}

fn some_app((id, a, b): Dice) -> AppBuilder {
    let app = an_app(&format!("/app-{}", id % 4))
        .instances(u32::from(a % 9))
        .cpus(f64::from(b % 5) * 0.7)
        .mem(f64::from(a % 5) * 500.0)
        .cmd(&format!("{}", b % 2));
    let app = if a % 3 == 0 { app.check() } else { app };
    let app = if b % 3 == 0 { app.upgrade(f64::from(a % 3) / 2.0, f64::from(b % 2)) } else { app };
    match b % 7 {
        0 => app.constraint("hostname", "UNIQUE", None),
        1 => app.constraint("rack", "GROUP_BY", None),
        2 => app.constraint("rack", "MAX_PER", Some("2")),
        3 => app.constraint("rack", "LIKE", Some("r[12]")),
        4 => app.any_ports(2),
        _ => app,
    }
}

/// A small cluster that has lived a little and rests.
fn some_ground(agents: &[Dice], apps: &[Dice]) -> Playground {
    let mut ground = Playground::default();
    for (at, (_, a, b)) in agents.iter().enumerate() {
        let agent = an_agent(&format!("a{at}")).cpus(f64::from(a % 5) + 0.5).mem(f64::from(b % 4) * 900.0);
        let agent = if a % 4 == 0 { agent } else { agent.attribute("rack", &format!("r{}", b % 3)) };
        ground.record(vec![agent.register()]);
    }
    for app in apps {
        ground.deploy(&some_app(*app));
        ground.settle();
    }
    ground
}

static PLACED: AtomicUsize = AtomicUsize::new(0);
static WAITED: AtomicUsize = AtomicUsize::new(0);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Putting an app, scaling one, losing an agent and a new agent: foretold as it comes.
    #[test]
    fn what_is_foretold_is_what_happens(
        agents in proptest::collection::vec(any::<Dice>(), 1..6),
        apps in proptest::collection::vec(any::<Dice>(), 0..5),
        edits in proptest::collection::vec(any::<Dice>(), 1..4),
    ) {
        let mut ground = some_ground(&agents, &apps);
        let before = ground.state.clone();
        let mut course = Course::start(&before, Suspects::new(), ground.now());
        let lost = AgentId::new("a0");
        let mut commands = Vec::new();
        for (kind, a, b) in edits {
            match kind % 4 {
                0 => {
                    let run = course.state().agents.get(&lost).unwrap().info.incarnation.run;
                    let since = course.now();
                    commands.push(Command::MarkAgentUnreachable { agent: lost.clone(), run, since });
                }
                1 => commands.push(an_agent(&format!("new-{a}")).cpus(f64::from(b % 3)).register()),
                _ => {
                    let name = DeploymentId::new(format!("foretold-{kind}-{a}-{b}"));
                    let mut copy = course.clone();
                    copy.record(commands.clone());
                    commands.push(some_app((kind, a, b)).put(copy.state(), name));
                }
            }
        }
        course.record(commands.clone());
        let rest = course.play(&mut || true);
        prop_assert_eq!(rest, Rest::Reached);
        let outcome = Outcome::of(&before, &Suspects::new(), &course, rest);

        // Nothing happened to the state that was looked at.
        prop_assert_eq!(&before, &ground.state);
        ground.record(commands);
        ground.settle();
        let waiting = |state: &ClusterState| state.instances.values().filter(|row| row.is_waiting()).count();
        let is_delayed = ground.state.apps.values().any(|row| row.delay.is_some());
        prop_assert!(!is_delayed, "nothing fails here");
        prop_assert_eq!(places(course.state()), places(&ground.state));
        prop_assert_eq!(waiting(course.state()), waiting(&ground.state));

        // And the outcome adds up.
        let sum = |of: fn(&crate::forecast::AppOutcome) -> usize| outcome.apps.iter().map(of).sum::<usize>();
        prop_assert_eq!(sum(|app| app.placed), outcome.placements.len());
        prop_assert_eq!(sum(|app| app.moved), outcome.moves.len());
        prop_assert_eq!(sum(|app| app.stopped), outcome.stops.len());
        for app in &outcome.apps {
            let gone = app.moved + app.replaced + app.stopped;
            prop_assert_eq!(app.running_before + app.placed - gone, app.running_after);
        }
        PLACED.fetch_add(outcome.placements.len(), Ordering::Relaxed);
        WAITED.fetch_add(outcome.waits.len(), Ordering::Relaxed);
    }
}

#[test]
fn the_property_has_seen_placements_and_waiting() {
    what_is_foretold_is_what_happens();
    assert!(PLACED.load(Ordering::Relaxed) > 100 && WAITED.load(Ordering::Relaxed) > 20);
}

/// Ids of instances that are gone mean nothing to those that come.
#[test]
fn a_rule_that_depends_on_the_order_is_foretold_as_it_comes() {
    let mut ground = Playground::default();
    for (id, cpus, rack) in [("a0", 3.5, "r2"), ("a1", 2.5, "r0"), ("a2", 3.5, "r0")] {
        ground.record(vec![an_agent(id).cpus(cpus).attribute("rack", rack).register()]);
    }
    let old = an_app("/web").instances(6).cpus(0.7).mem(1.0).constraint("rack", "MAX_PER", Some("2"));
    ground.deploy(&old.check());
    ground.settle();
    let new = an_app("/web").instances(4).cpus(1.4).mem(1.0).upgrade(0.5, 0.0);
    let new = new.constraint("rack", "GROUP_BY", None);
    let (course, _) = playing(&ground, vec![new.put(&ground.state, DeploymentId::new("foretold"))], &[]);
    ground.deploy(&new);
    ground.settle();
    assert_eq!(places(course.state()), places(&ground.state));
}

fn playing(ground: &Playground, commands: Vec<Command>, excluded: &[&str]) -> (Course, Outcome) {
    let excluded: BTreeSet<AgentId> = excluded.iter().map(|id| AgentId::new(*id)).collect();
    let mut course = Course::start(&ground.state, Suspects::new(), ground.now());
    course.drain(excluded);
    course.record(commands);
    let rest = course.play(&mut || true);
    let outcome = Outcome::of(&ground.state, &Suspects::new(), &course, rest);
    (course, outcome)
}

#[test]
fn a_lost_agents_instances_move_or_wait_and_it_is_said_why() {
    let mut ground = Playground::with_agents(2);
    ground.deploy(&an_app("/web").instances(4).cpus(3.0));
    ground.settle();
    let lose = Command::MarkAgentUnreachable { agent: AgentId::new("a1"), run: 1, since: ground.now() };
    let (_, outcome) = playing(&ground, vec![lose], &[]);
    assert_eq!((outcome.moves.len(), outcome.stops.len()), (0, 2));
    assert_eq!((outcome.apps[0].waiting_after, outcome.apps[0].running_after), (2, 2));
    let sentences: Vec<String> =
        outcome.waits[0].why.changes.iter().map(crate::scheduler::Change::sentence).collect();
    assert_eq!(sentences[0], "Lower cpus from 3 to 2: 1 agent would suit.");
    assert_eq!((outcome.free_before.agents, outcome.free_after.agents), (2, 1));
    assert!(!outcome.is_well());
}

#[test]
fn who_waits_long_before_it_is_given_up_is_waited_for() {
    let mut ground = Playground::with_agents(2);
    let hour = Duration::from_secs(3600);
    ground.deploy(&an_app("/web").instances(2).absent(hour, 2 * hour));
    ground.deploy(&an_app("/held").instances(2).absent_for_ever());
    ground.settle();
    let lose = Command::MarkAgentUnreachable { agent: AgentId::new("a1"), run: 1, since: ground.now() };
    let (course, outcome) = playing(&ground, vec![lose], &[]);
    assert_eq!((outcome.moves.len(), outcome.stops.len()), (1, 1));
    assert_eq!(outcome.stops[0].app.as_str(), "/held");
    assert!(course.now().since(ground.now()) >= hour);
}

#[test]
fn a_drained_agent_is_emptied_where_there_is_room_and_the_rest_stays() {
    let mut ground = Playground::with_agents(2);
    ground.deploy(&an_app("/web").instances(4).cpus(2.0).upgrade(1.0, 0.0));
    ground.deploy(&an_app("/big").instances(1).cpus(3.5));
    ground.settle();
    let big = ground.counted("/big").remove(0);
    let on = ground.row(&big).task.as_ref().unwrap().agent.clone();
    let instances: Vec<_> =
        ground.state.live_on(&on).map(|row| (row.id.clone(), "drained".to_owned())).collect();
    let (course, outcome) = playing(&ground, vec![Command::MoveInstances { instances }], &[on.as_str()]);
    let left: Vec<_> = course.state().live_on(&on).map(|row| row.app.clone()).collect();
    assert_eq!(outcome.stays.iter().map(|spot| spot.app.clone()).collect::<Vec<_>>(), left);
    assert!(!outcome.moves.is_empty() && outcome.moves.iter().all(|it| it.from.agent == on));
    assert_eq!(outcome.waits.len(), outcome.stays.iter().map(|it| &it.app).collect::<BTreeSet<_>>().len());
    assert!(outcome.waits.iter().all(|wait| wait.why.suitable() == 0));
}

#[test]
fn it_ends_when_told_to_and_when_it_never_rests() {
    let ground = Playground::with_agents(1);
    let mut course = Course::start(&ground.state, Suspects::new(), ground.now());
    assert_eq!(course.play(&mut || false), Rest::Stopped);
    assert_eq!(course.play(&mut || true), Rest::Reached);
}

#[test]
fn a_course_packs_where_the_cluster_does() {
    let mut ground = Playground::with_agents(2);
    ground.put(&an_app("/web").instances(4).cpus(1.0));
    let agents_used = |strategy: Strategy| {
        let mut course = Course::start(&ground.state, Suspects::new(), ground.now()).with_strategy(strategy);
        assert_eq!(course.play(&mut || true), Rest::Reached);
        let tasks = course.state().instances.values().filter_map(|row| row.task.as_ref());
        tasks.map(|task| task.agent.clone()).collect::<BTreeSet<AgentId>>().len()
    };
    assert_eq!((agents_used(Strategy::Spread), agents_used(Strategy::Binpack)), (2, 1));
}
