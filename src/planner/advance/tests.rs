//! Deployments, played to their end with obedient and with disobedient agents.

use std::time::Duration;

use super::*;
use crate::domain::{DeploymentId, KillSelection, TaskState};
use crate::state::Command;
use crate::testkit::{Playground, an_app};

const LONG: Duration = Duration::from_secs(3600);

fn app(id: &str) -> AppId {
    AppId::parse(id).unwrap()
}

/// Wishes of one deployment, without recording them.
fn wishes(ground: &Playground, deployment: &DeploymentId) -> Vec<Intent> {
    let row = ground.state.deployments.get(deployment).unwrap();
    let mut minted = 1_000_000;
    advance(&ground.state, row, &mut |app| {
        minted += 1;
        InstanceId::mint(app, uuid::Uuid::from_u128(minted))
    })
}

/// How many the wishes create, let go, and steps they finish.
fn counts(intents: &[Intent]) -> (usize, usize, usize) {
    intents.iter().fold((0, 0, 0), |(create, go, steps), intent| match intent {
        Intent::Create { ids, .. } => (create + ids.len(), go, steps),
        Intent::Decommission { ids, .. } => (create, go + ids.len(), steps),
        _ => (create, go, steps + 1),
    })
}

#[track_caller]
fn check(ground: &Playground, deployment: &DeploymentId, wanted: (usize, usize, usize)) {
    assert_eq!(counts(&wishes(ground, deployment)), wanted, "(create, let go, steps done)");
}

/// An app that runs and is well, with no deployment under way.
fn running(app: &crate::testkit::AppBuilder) -> Playground {
    let mut ground = Playground::with_agents(3);
    ground.deploy(app);
    ground.settle();
    assert!(ground.state.deployments.is_empty());
    ground
}

#[test]
fn a_new_app_is_created_once_and_done_when_it_runs() {
    let mut ground = Playground::with_agents(1);
    let deployment = ground.deploy(&an_app("/web").instances(2));
    check(&ground, &deployment, (2, 0, 1));
    ground.plan();
    check(&ground, &deployment, (0, 0, 0));
    ground.place();
    check(&ground, &deployment, (0, 0, 0));
    ground.obey();
    check(&ground, &deployment, (0, 0, 1));
}

#[test]
fn with_checks_it_is_done_when_they_pass() {
    let mut ground = Playground::with_agents(1);
    let deployment = ground.deploy(&an_app("/web").check());
    ground.plan();
    ground.place();
    let id = ground.counted("/web").remove(0);
    ground.say(&id, TaskState::Running);
    check(&ground, &deployment, (0, 0, 0));
    ground.say_health(&id, false);
    check(&ground, &deployment, (0, 0, 0));
    ground.say_health(&id, true);
    check(&ground, &deployment, (0, 0, 1));
}

#[test]
fn scaling_down_waits_until_the_victims_are_gone() {
    let mut ground = running(&an_app("/web").instances(3));
    let deployment = ground.deploy(&an_app("/web").instances(1));
    check(&ground, &deployment, (0, 2, 0));
    ground.plan();
    check(&ground, &deployment, (0, 0, 0));
    ground.obey();
    check(&ground, &deployment, (0, 0, 1));
}

#[test]
fn scaling_up_asks_only_the_new_ones() {
    let mut ground = running(&an_app("/web").instances(2).check());
    let old = ground.counted("/web");
    ground.say_health(&old[0], false);
    let deployment = ground.deploy(&an_app("/web").instances(3).check());
    check(&ground, &deployment, (1, 0, 0));
    ground.plan();
    ground.place();
    ground.obey();
    check(&ground, &deployment, (0, 0, 1));
}

#[test]
fn the_sentenced_go_and_are_replaced_once_gone() {
    let mut ground = running(&an_app("/web").instances(3));
    let ids = ground.counted("/web");
    let deployment = ground.deploy(&an_app("/web").instances(2));
    let mut row = (**ground.state.deployments.get(&deployment).unwrap()).clone();
    row.plan.steps[0].actions[0].sentenced = ids[..2].to_vec();
    ground.state.deployments.insert(deployment.clone(), row);
    check(&ground, &deployment, (0, 2, 0));
    ground.plan();
    check(&ground, &deployment, (0, 0, 0));
    ground.obey();
    check(&ground, &deployment, (1, 0, 0));
    ground.settle();
    assert!(ground.counted("/web").contains(&ids[2]) && ground.state.deployments.is_empty());
}

#[test]
fn a_removed_app_loses_all_instances_then_its_deployment_ends() {
    let mut ground = running(&an_app("/web").instances(2));
    let deployment = ground.remove(&an_app("/web"));
    check(&ground, &deployment, (0, 2, 0));
    ground.plan();
    check(&ground, &deployment, (0, 0, 0));
    ground.obey();
    check(&ground, &deployment, (0, 0, 1));
}

#[test]
fn an_instance_out_of_reach_delays_no_stop() {
    let mut ground = running(&an_app("/web").absent_for_ever());
    ground.agent_lost("a1");
    ground.agent_lost("a2");
    ground.agent_lost("a3");
    let deployment = ground.remove(&an_app("/web"));
    ground.plan();
    check(&ground, &deployment, (0, 0, 1));
}

#[test]
fn changed_content_replaces_one_by_one_within_bounds() {
    let old = an_app("/web").instances(3).upgrade(1.0, 0.0).check();
    let mut ground = running(&old);
    let before = ground.counted("/web");
    ground.deploy(&old.clone().cmd("new"));
    let id = old.id();
    ground.settle_watching(|state| {
        let rows: Vec<_> = state.instances_of(&id).collect();
        let serving = rows.iter().filter(|row| serves(state, row)).count();
        assert!(serving >= 3, "{serving} serve");
        assert!(rows.len() <= 4, "{} exist", rows.len());
    });
    let after = ground.counted("/web");
    assert_eq!(after.len(), 3);
    assert!(before.iter().all(|id| !after.contains(id)));
    assert!(ground.state.deployments.is_empty());
}

#[test]
fn nothing_old_stops_before_something_new_is_well() {
    let old = an_app("/web").instances(2).check();
    let mut ground = running(&old);
    let deployment = ground.deploy(&old.cmd("new"));
    check(&ground, &deployment, (2, 0, 0));
    ground.plan();
    ground.place();
    check(&ground, &deployment, (0, 0, 0));
    let new: Vec<InstanceId> =
        ground.counted("/web").into_iter().filter(|id| !ground.state.is_outdated(ground.row(id))).collect();
    ground.say(&new[0], TaskState::Running);
    check(&ground, &deployment, (0, 0, 0));
    ground.say_health(&new[0], true);
    check(&ground, &deployment, (0, 1, 0));
}

#[test]
fn a_new_one_that_fails_is_awaited_and_the_old_one_stays() {
    let old = an_app("/web").backoff(LONG);
    let mut ground = running(&old);
    let deployment = ground.deploy(&old.clone().cmd("exit 1"));
    ground.plan();
    ground.place();
    let new: Vec<InstanceId> =
        ground.counted("/web").into_iter().filter(|id| !ground.state.is_outdated(ground.row(id))).collect();
    ground.say(&new[0], TaskState::Failed);
    check(&ground, &deployment, (0, 0, 0));
    ground.settle();
    assert_eq!(ground.counted("/web").len(), 2);
    ground.pass(LONG);
    ground.settle();
    assert_eq!(ground.counted("/web"), new);
}

#[test]
fn an_old_one_that_dies_or_gets_lost_is_not_launched_in_its_old_content() {
    let old = an_app("/web").instances(3).upgrade(1.0, 0.0).check();
    let mut ground = running(&old);
    let ids = ground.counted("/web");
    let deployment = ground.deploy(&old.cmd("new"));
    ground.plan();
    ground.say(&ids[0], TaskState::Failed);
    assert!(wishes(&ground, &deployment).iter().any(|intent| {
        matches!(intent, Intent::Decommission { ids: gone, .. } if gone == &[ids[0].clone()])
    }));
    let agent = ground.row(&ids[1]).task.as_ref().unwrap().agent.to_string();
    ground.agent_lost(&agent);
    ground.settle();
    assert!(ground.state.deployments.is_empty());
    assert_eq!(ground.counted("/web").len(), 3);
}

#[test]
fn a_restart_goes_on_where_another_leader_stopped() {
    let old = an_app("/web").instances(2).upgrade(0.5, 0.0);
    let mut ground = running(&old);
    let deployment = ground.deploy(&old.cmd("new"));
    ground.plan();
    ground.obey();
    check(&ground, &deployment, (1, 0, 0));
    ground.plan();
    // Nothing is remembered outside the state: the same question again gives nothing more.
    check(&ground, &deployment, (0, 0, 0));
}

#[test]
fn a_second_deployment_by_force_takes_what_it_finds() {
    let old = an_app("/web").instances(2);
    let mut ground = running(&old);
    ground.deploy(&old.clone().cmd("second"));
    ground.plan();
    ground.place();
    ground.deploy(&old.clone().cmd("third"));
    ground.settle();
    let version = ground.state.apps.get(&app("/web")).unwrap().version;
    let ids = ground.counted("/web");
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|id| ground.row(id).version == version));
}

#[test]
fn an_app_made_again_does_not_keep_instances_of_its_removed_namesake() {
    let old = an_app("/web").instances(2);
    let mut ground = running(&old);
    let before = ground.counted("/web");
    ground.remove(&old);
    ground.deploy(&old.clone().cmd("new"));
    ground.settle();
    let after = ground.counted("/web");
    assert_eq!(after.len(), 2);
    assert!(before.iter().all(|id| !after.contains(id)));
}

#[test]
fn steps_follow_each_other_in_order_of_dependencies() {
    let mut ground = Playground::with_agents(1);
    let web = an_app("/web").after("/db");
    ground.deploy(&an_app("/db").check());
    ground.plan();
    ground.place();
    ground.deploy(&web);
    // Each is a deployment of its own, so they run side by side; a joint plan is judged in plan.rs.
    ground.settle();
    assert_eq!((ground.counted("/db").len(), ground.counted("/web").len()), (1, 1));
}

#[test]
fn the_oldest_go_first_where_the_app_says_so() {
    let old = an_app("/web").instances(3).kill(KillSelection::OldestFirst);
    let mut ground = Playground::with_agents(1);
    ground.put(&old.clone().instances(0));
    let ids: Vec<InstanceId> = (0..3).map(|_| ground.run_one("/web")).collect();
    ground.deploy(&old.instances(1));
    ground.settle();
    assert_eq!(ground.counted("/web"), ids[2..]);
}

#[test]
fn many_instances_are_created_in_bounded_parts() {
    let mut ground = Playground::with_agents(1);
    let parts = |ground: &Playground, deployment: &DeploymentId| -> Vec<usize> {
        let created = wishes(ground, deployment).into_iter().filter_map(|intent| match intent {
            Intent::Create { ids, .. } => Some(ids.len()),
            _ => None,
        });
        created.collect()
    };
    let deployment = ground.deploy(&an_app("/web").instances(2_500));
    assert_eq!(parts(&ground, &deployment), [1_000, 1_000, 500]);
    ground.plan();
    assert_eq!(parts(&ground, &deployment), Vec::<usize>::new());
    let many = ground.deploy(&an_app("/many").instances(60_000));
    assert_eq!(parts(&ground, &many), vec![1_000; 50], "the rest at the next look");
}

#[test]
fn a_cancelled_deployment_leaves_all_as_it_is() {
    let old = an_app("/web").instances(2);
    let mut ground = running(&old);
    let deployment = ground.deploy(&old.cmd("new"));
    ground.plan();
    ground.record(vec![Command::CancelDeployment { deployment }]);
    ground.settle();
    assert_eq!(ground.counted("/web").len(), 2);
}
