//! The quick look agrees with playing every loss to its end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::Strategy;
use crate::forecast::{Course, Rest};
use crate::scheduler::Suspects;
use crate::testkit::{Playground, an_agent, an_app};

type Dice = (u8, u8, u8);

static LOSABLE: AtomicUsize = AtomicUsize::new(0);
static NOT_LOSABLE: AtomicUsize = AtomicUsize::new(0);

fn surveyed(ground: &Playground) -> Survey {
    survey(&ground.state, &BTreeSet::new(), Strategy::default(), &mut || true).unwrap()
}

/// What waits after a loss that did not wait before, by playing it.
fn played(ground: &Playground, agent: &AgentId) -> BTreeMap<AppId, usize> {
    let mut course = Course::start(&ground.state, Suspects::new(), ground.now());
    let run = ground.state.agents.get(agent).unwrap().info.incarnation.run;
    course.record(vec![Command::MarkAgentUnreachable { agent: agent.clone(), run, since: ground.now() }]);
    assert_eq!(course.play(&mut || true), Rest::Reached);
    let waiting = |state: &ClusterState| {
        let mut waiting: BTreeMap<AppId, usize> = BTreeMap::new();
        for row in state.instances.values().filter(|row| row.is_waiting()) {
            *waiting.entry(row.app.clone()).or_default() += 1;
        }
        waiting
    };
    let before = waiting(&ground.state);
    let more = |(app, count): (AppId, usize)| {
        let more = count.saturating_sub(before.get(&app).copied().unwrap_or(0));
        (more > 0).then_some((app, more))
    };
    waiting(course.state()).into_iter().filter_map(more).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// In clusters where nothing waits: the same agents, the same apps, the same numbers.
    #[test]
    fn a_quick_look_finds_what_playing_finds(
        agents in proptest::collection::vec(any::<Dice>(), 1..6),
        apps in proptest::collection::vec(any::<Dice>(), 1..6),
    ) {
        let mut ground = Playground::default();
        for (at, (_, a, b)) in agents.iter().enumerate() {
            let rack = format!("r{}", b % 3);
            ground.record(vec![
                an_agent(&format!("a{at}")).cpus(f64::from(a % 5) + 1.0).attribute("rack", &rack).register(),
            ]);
        }
        for (at, (kind, a, b)) in apps.iter().enumerate() {
            let app = an_app(&format!("/app-{at}")).instances(u32::from(a % 4)).cpus(f64::from(b % 8) * 0.25);
            let app = match kind % 5 {
                0 => app.constraint("hostname", "UNIQUE", None),
                1 => app.constraint("rack", "GROUP_BY", None),
                2 => app.absent_for_ever(),
                _ => app,
            };
            ground.deploy(&app);
            ground.settle();
        }
        prop_assume!(!ground.state.instances.values().any(|row| row.is_waiting()));
        let found = surveyed(&ground);
        prop_assert_eq!(found.agents, agents.len());
        for agent in ground.state.agents.values().map(|row| row.info.id.clone()) {
            let quick = found.indispensable.iter().find(|it| it.agent == agent);
            let quick = quick.map(|it| it.waits.clone()).unwrap_or_default();
            let counter = if quick.is_empty() { &LOSABLE } else { &NOT_LOSABLE };
            counter.fetch_add(1, Ordering::Relaxed);
            prop_assert_eq!(quick, played(&ground, &agent), "{}", agent);
        }
    }
}

#[test]
fn the_property_has_seen_both() {
    a_quick_look_finds_what_playing_finds();
    assert!(LOSABLE.load(Ordering::Relaxed) > 50 && NOT_LOSABLE.load(Ordering::Relaxed) > 20);
}

#[test]
fn one_agent_too_few_is_named_with_what_would_wait() {
    let mut ground = Playground::with_agents(3);
    ground.deploy(&an_app("/web").instances(5).cpus(4.0));
    ground.settle();
    let found = surveyed(&ground);
    assert_eq!((found.agents, found.dispensable()), (3, 0));
    assert!(found.indispensable.iter().all(|it| it.waits.values().copied().eq([1])), "{found:?}");
    ground.register("a4");
    assert_eq!(surveyed(&ground).dispensable(), 4);
}

#[test]
fn what_waits_already_and_pauses_after_failures_are_no_fault_of_a_loss() {
    let mut ground = Playground::with_agents(2);
    ground.deploy(&an_app("/huge").cpus(64.0));
    ground.deploy(&an_app("/web").backoff(Duration::from_secs(3600)));
    ground.settle();
    let id = ground.counted("/web").remove(0);
    ground.say(&id, crate::domain::TaskState::Failed);
    ground.pass(Duration::from_secs(2 * 3600));
    ground.settle();
    assert_eq!(surveyed(&ground).dispensable(), 2);
}

#[test]
fn excluded_agents_take_over_nothing_and_a_look_can_be_ended() {
    let mut ground = Playground::with_agents(2);
    ground.deploy(&an_app("/web").instances(2));
    ground.settle();
    let excluded = BTreeSet::from([AgentId::new("a2")]);
    let found = survey(&ground.state, &excluded, Strategy::default(), &mut || true).unwrap();
    assert_eq!(found.indispensable.len(), 1);
    assert_eq!(survey(&ground.state, &excluded, Strategy::default(), &mut || false), None);
}

#[test]
fn an_agent_with_more_than_one_cycle_places_is_looked_at_whole() {
    let mut ground = Playground::default();
    let most = u32::try_from(crate::scheduler::PLACEMENTS_MAX).unwrap();
    ground.record(vec![an_agent("a1").cpus(1e6).mem(1e9).register()]);
    ground.deploy(&an_app("/many").instances(most + 200));
    ground.settle();
    ground.record(vec![an_agent("a2").cpus(f64::from(most + 100) / 10.0).mem(1e9).register()]);
    let found = surveyed(&ground);
    assert_eq!(found.indispensable[0].waits.values().sum::<usize>(), 100);
}
