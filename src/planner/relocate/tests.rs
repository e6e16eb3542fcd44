//! Moves, played to their end, and moves that cannot be.

use super::*;
use crate::domain::{AgentId, TaskState};
use crate::state::Command;
use crate::testkit::{AppBuilder, Playground, an_agent, an_app};

/// So many instances on `a1`, then `a2` joins.
fn crowded(app: &AppBuilder) -> (Playground, Vec<InstanceId>) {
    let mut ground = Playground::with_agents(1);
    ground.deploy(app);
    ground.settle();
    ground.register("a2");
    let ids = ground.counted(app.id().as_str());
    (ground, ids)
}

fn shall_move(ground: &mut Playground, ids: &[InstanceId]) {
    let instances = ids.iter().map(|id| (id.clone(), "test".to_owned())).collect();
    ground.record(vec![Command::MoveInstances { instances }]);
}

fn agents_of(ground: &Playground, app: &str) -> Vec<AgentId> {
    let rows = ground.counted(app).into_iter();
    rows.filter_map(|id| Some(ground.row(&id).task.as_ref()?.agent.clone())).collect()
}

fn serving(state: &ClusterState) -> usize {
    state.instances.values().filter(|row| serves(state, row)).count()
}

#[test]
fn one_that_moves_goes_when_another_serves_elsewhere() {
    let (mut ground, ids) = crowded(&an_app("/web").instances(3));
    shall_move(&mut ground, &ids[..2]);
    let mut least = 3;
    ground.settle_watching(|state| least = least.min(serving(state)));
    assert_eq!(least, 3, "never fewer than wanted");
    let mut agents = agents_of(&ground, "/web");
    agents.sort();
    assert_eq!(agents, ["a1", "a2", "a2"].map(AgentId::new));
}

#[test]
fn what_fits_nowhere_else_stays_and_its_replacement_waits() {
    let mut ground = Playground::with_agents(1);
    ground.deploy(&an_app("/web").instances(2));
    ground.settle();
    let ids = ground.counted("/web");
    shall_move(&mut ground, &ids);
    ground.settle();
    assert_eq!(serving(&ground.state), 2);
    assert_eq!(ground.state.instances.values().filter(|row| row.is_waiting()).count(), 2);
    // The wish taken back, nothing is left of it.
    ground.record(vec![Command::KeepInstances { instances: ids.clone() }]);
    ground.settle();
    assert_eq!(ground.counted("/web"), ids);
    assert_eq!(ground.state.instances.len(), 2);
}

#[test]
fn an_app_that_never_runs_twice_stops_first_and_others_do_not() {
    let check = |minimum: f64, over: f64, wanted: (usize, bool)| {
        let (mut ground, ids) = crowded(&an_app("/web").upgrade(minimum, over));
        shall_move(&mut ground, &ids);
        let (mut least, mut most) = (1, 0);
        ground.settle_watching(|state| {
            least = least.min(serving(state));
            most = most.max(state.instances.values().filter(|row| row.is_live()).count());
        });
        let spec = an_app("/web").upgrade(minimum, over).spec();
        assert_eq!((least, replaces_before_it_stops(&spec)), wanted);
        assert_eq!(most, 1 + wanted.0);
        assert_eq!(agents_of(&ground, "/web"), [AgentId::new("a2")]);
    };
    check(1.0, 1.0, (1, true));
    check(1.0, 0.0, (1, true));
    check(0.0, 1.0, (1, true));
    check(0.0, 0.0, (0, false));
}

#[test]
fn one_that_ends_by_itself_no_longer_moves() {
    let (mut ground, ids) = crowded(&an_app("/web").instances(2));
    shall_move(&mut ground, &ids[..1]);
    ground.plan();
    ground.place();
    ground.say(&ids[0], TaskState::Finished);
    assert_eq!(ground.row(&ids[0]).shall_move, None);
    ground.pass(std::time::Duration::from_secs(3600));
    ground.settle();
    assert_eq!((ground.counted("/web").len(), serving(&ground.state)), (2, 2));
}

#[test]
fn rules_do_not_count_one_that_moves_and_its_own_agent_is_out_of_question() {
    let app = an_app("/web").instances(2).constraint("hostname", "UNIQUE", None);
    let mut ground = Playground::with_agents(2);
    ground.deploy(&app);
    ground.settle();
    let ids = ground.counted("/web");
    shall_move(&mut ground, &ids);
    ground.settle();
    // Each could only go where the other one is about to leave.
    assert_eq!(serving(&ground.state), 2);
    ground.record(vec![an_agent("a3").register()]);
    ground.settle();
    assert_eq!(serving(&ground.state), 2);
    assert!(agents_of(&ground, "/web").contains(&AgentId::new("a3")));
}

#[test]
fn scaling_down_takes_the_ones_that_move_first() {
    let (mut ground, ids) = crowded(&an_app("/web").instances(3));
    shall_move(&mut ground, &ids[1..2]);
    ground.deploy(&an_app("/web").instances(2));
    ground.settle();
    assert_eq!(ground.counted("/web"), [ids[0].clone(), ids[2].clone()]);
}
