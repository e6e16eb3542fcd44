//! Apps outside deployments: lost, surplus, absent, returned and orphaned instances.

use std::time::Duration;

use super::*;
use crate::domain::TaskState;
use crate::testkit::{AppBuilder, Playground, an_app};

const MINUTE: Duration = Duration::from_secs(60);

/// One running instance of `/web` on `a1`, and an empty `a2` to replace it on.
fn one_running(app: &AppBuilder) -> (Playground, InstanceId) {
    let mut ground = Playground::with_agents(1);
    ground.deploy(app);
    ground.settle();
    ground.register("a2");
    let id = ground.counted("/web").remove(0);
    (ground, id)
}

/// Wishes, without recording them.
fn wishes(ground: &Playground) -> Reconciliation {
    let mut minted = 1_000_000;
    reconcile(&ground.state, ground.now(), &mut |app| {
        minted += 1;
        InstanceId::mint(app, uuid::Uuid::from_u128(minted))
    })
}

#[test]
fn missing_copies_are_created_once_and_surplus_ones_go() {
    let mut ground = Playground::with_agents(1);
    ground.put(&an_app("/web").instances(2));
    assert_eq!(ground.plan(), 1);
    assert_eq!(ground.counted("/web").len(), 2);
    assert_eq!(ground.plan(), 0);
    let extra = ground.create("/web", 1);
    ground.plan();
    assert_eq!(ground.counted("/web").len(), 2);
    assert!(!ground.state.instances.contains(&extra[0]), "the youngest of those that wait goes");
}

#[test]
fn apps_under_deployment_are_left_to_it() {
    let mut ground = Playground::with_agents(1);
    ground.deploy(&an_app("/web").instances(2));
    assert_eq!(wishes(&ground), Reconciliation::default());
}

#[test]
fn an_ended_task_needs_no_new_instance() {
    let (mut ground, id) = one_running(&an_app("/web"));
    ground.say(&id, TaskState::Failed);
    assert_eq!(wishes(&ground).intents, []);
    ground.pass(MINUTE);
    ground.settle();
    assert_eq!(ground.counted("/web"), std::slice::from_ref(&id));
    assert_eq!(ground.row(&id).task.as_ref().unwrap().attempt, 2);
}

#[test]
fn by_default_a_lost_instance_is_hidden_and_replaced_at_once() {
    let (mut ground, lost) = one_running(&an_app("/web"));
    ground.agent_lost("a1");
    ground.settle();
    let counted = ground.counted("/web");
    assert_eq!(counted.len(), 1);
    assert_ne!(counted[0], lost);
    assert!(ground.row(&lost).expunged, "hidden, not forgotten");
}

#[test]
fn absence_is_judged_on_time() {
    let (mut ground, lost) = one_running(&an_app("/web").absent(MINUTE, 2 * MINUTE));
    ground.agent_lost("a1");
    let since = ground.row(&lost).task.as_ref().unwrap().unreachable_since.unwrap();
    assert_eq!(wishes(&ground), Reconciliation { intents: vec![], next_look: Some(since.plus(MINUTE)) });
    ground.pass(MINUTE);
    let look = wishes(&ground);
    assert_eq!(look.intents, [Intent::GiveUp(vec![lost.clone()])]);
    assert_eq!(look.next_look, Some(since.plus(2 * MINUTE)));
    ground.settle();
    assert_eq!(ground.counted("/web").len(), 1);
    assert!(!ground.row(&lost).expunged);
    ground.pass(MINUTE);
    ground.settle();
    assert!(ground.row(&lost).expunged);
}

#[test]
fn disabled_never_replaces() {
    let (mut ground, lost) = one_running(&an_app("/web").absent_for_ever());
    ground.agent_lost("a1");
    ground.pass(1_000 * MINUTE);
    assert_eq!(wishes(&ground), Reconciliation::default());
    assert_eq!(ground.counted("/web"), [lost]);
}

#[test]
fn back_before_the_replacement_runs_the_original_stays() {
    for app in [an_app("/web"), an_app("/web").check(), an_app("/web").absent(Duration::ZERO, MINUTE)] {
        let (mut ground, lost) = one_running(&app);
        ground.agent_lost("a1");
        ground.plan();
        ground.plan();
        ground.place();
        assert_eq!(ground.state.instances.len(), 2, "a replacement is staging");
        ground.register("a1");
        ground.settle();
        assert_eq!(ground.counted("/web"), [lost]);
        assert_eq!(ground.state.instances.len(), 1, "exactly one copy is kept");
    }
}

#[test]
fn back_after_the_replacement_runs_the_replacement_stays() {
    for app in [an_app("/web"), an_app("/web").check()] {
        let (mut ground, lost) = one_running(&app);
        ground.agent_lost("a1");
        ground.settle();
        let replacement = ground.counted("/web");
        ground.register("a1");
        ground.settle();
        assert_eq!(ground.counted("/web"), replacement);
        assert!(!ground.state.instances.contains(&lost), "exactly one copy is kept");
    }
}

#[test]
fn back_beside_a_replacement_that_fails_its_checks_the_original_stays() {
    let (mut ground, lost) = one_running(&an_app("/web").check());
    ground.agent_lost("a1");
    ground.settle();
    let replacement = ground.counted("/web").remove(0);
    ground.say_health(&replacement, false);
    ground.register("a1");
    ground.settle();
    assert_eq!(ground.counted("/web"), [lost]);
}

#[test]
fn given_up_and_back_before_it_is_hidden_the_original_stays() {
    let (mut ground, lost) = one_running(&an_app("/web").absent(Duration::ZERO, MINUTE));
    ground.agent_lost("a1");
    ground.settle();
    assert_eq!(ground.counted("/web").len(), 1);
    ground.register("a1");
    ground.settle();
    assert_eq!(ground.counted("/web"), [lost], "the youngest goes, which is the replacement");
}

#[test]
fn an_instance_told_to_go_out_of_reach_is_hidden_and_stopped_on_return() {
    let (mut ground, lost) = one_running(&an_app("/web").absent_for_ever());
    ground.deploy(&an_app("/web").instances(0));
    ground.plan();
    ground.agent_lost("a1");
    ground.settle();
    assert!(ground.row(&lost).expunged && ground.state.deployments.is_empty());
    ground.register("a1");
    ground.settle();
    assert!(ground.state.instances.is_empty());
}

#[test]
fn orphans_of_a_removed_app_go_also_when_they_return_late() {
    let app = an_app("/web");
    let (mut ground, _) = one_running(&app);
    ground.agent_lost("a1");
    ground.settle();
    let deployment = ground.remove(&app);
    ground.record(vec![crate::state::Command::CancelDeployment { deployment }]);
    ground.settle();
    assert_eq!(ground.counted("/web"), []);
    ground.register("a1");
    ground.settle();
    assert!(ground.state.instances.is_empty());
}
