//! What is advised does what it says, names the app's own copies, and is never impossible.

use super::super::tests::{explain_in, sentences, waiting_on};
use crate::domain::Constraint;
use crate::scheduler::{Change, Lack};
use crate::state::Command;
use crate::testkit::{AgentBuilder, AppBuilder, Playground, an_agent, an_app};

/// Everything that is advised but for agents to add.
#[track_caller]
fn check(agents: Vec<AgentBuilder>, app: &AppBuilder, wanted: &[&str]) {
    let explanation = explain_in(&waiting_on(agents, app), app);
    let is_add = |change: &&Change| matches!(change, Change::Add { .. });
    let told = explanation.changes.iter().filter(|change| !is_add(change));
    assert_eq!(told.map(Change::sentence).collect::<Vec<_>>(), wanted);
}

#[test]
fn what_an_app_may_do_without_is_lowered_to_nothing() {
    let app = || an_app("/web");
    check(vec![an_agent("a1")], &app().gpus(1.0), &["Lower gpus from 1 to 0: 1 agent would suit."]);
    check(
        vec![an_agent("a1"), an_agent("a2").cpus(0.0)],
        &app().disk(1e6),
        &["Lower disk from 1000000 to 100000: 1 agent would suit."],
    );
    // Without cpus nothing runs.
    check(vec![an_agent("a1").cpus(0.0)], &app(), &[]);
}

#[test]
fn where_no_change_alone_would_do_the_fewest_together_are_named() {
    let (web, r1) = (an_app("/web"), || an_agent("a1").attribute("rack", "r1"));
    check(
        vec![
            an_agent("a1").mem(1024.0),
            an_agent("a2").cpus(1.0).mem(512.0),
            an_agent("a3").cpus(9.0).mem(8.0),
        ],
        &web.clone().cpus(10.0).mem(99_999.0),
        &["Lower cpus from 10 to 8 and mem from 99999 to 1024: 1 agent would suit."],
    );
    check(
        vec![r1(), an_agent("a2").attribute("rack", "r2")],
        &web.clone().cpus(10.0).constraint("rack", "IS", Some("zz")),
        &[
            r#"Leave the constraint ["rack","IS","zz"] away and lower cpus from 10 to 8: 2 agents would suit."#,
        ],
    );
    check(
        vec![r1()],
        &web.clone().constraint("rack", "CLUSTER", Some("zz")).constraint("rack", "MAX_PER", Some("0")),
        &[concat!(
            r#"Leave the constraint ["rack","CLUSTER","zz"] away and the constraint "#,
            r#"["rack","MAX_PER","0"] away: 1 agent would suit."#
        )],
    );
    let twice = web.clone().constraint("rack", "IS", Some("zz")).constraint("rack", "IS", Some("zz"));
    check(
        vec![r1()],
        &twice,
        &[r#"Leave the constraint ["rack","IS","zz"] away, all 2 times: 1 agent would suit."#],
    );
    // One change that does is enough.
    check(
        vec![r1().cpus(1.0).mem(1.0), an_agent("a2").cpus(1.0)],
        &web.cpus(2.0).mem(64.0),
        &["Lower cpus from 2 to 1: 1 agent would suit."],
    );
}

/// What a new agent is asked for, or why none would suit.
#[track_caller]
fn check_newcomer(rules: &[(&str, &str, Option<&str>)], wanted: Result<&str, &str>) {
    let plain = an_app("/web").instances(3);
    let app = rules.iter().fold(plain, |app, rule| app.constraint(rule.0, rule.1, rule.2));
    let a1 = an_agent("a1").attribute("rack", "r1").attribute("zone", "z1").cpus(0.1);
    let explanation = explain_in(&waiting_on(vec![a1], &app), &app);
    let add = explanation.changes.iter().find_map(|change| match change {
        Change::Add { facts, .. } => Some(facts.join(" and ")),
        _ => None,
    });
    let why = explanation.contradiction.unwrap_or_default();
    assert_eq!(add.as_deref().ok_or(why.as_str()), wanted, "{rules:?}");
}

#[test]
fn nobody_is_asked_for_an_agent_that_cannot_be() {
    let rack = |operator, value| ("rack", operator, Some(value));
    let unique = ("hostname", "UNIQUE", None);
    let never = |a: (&str, &str, Option<&str>), b: (&str, &str, Option<&str>)| {
        let told = |(field, operator, operand): (&str, &str, Option<&str>)| {
            let operator = crate::domain::Operator::parse(operator).unwrap();
            Constraint { field: field.to_owned(), operator, operand: operand.map(str::to_owned) }.to_string()
        };
        let why = format!("No agent can meet {} and {} together: leave one of them away.", told(a), told(b));
        check_newcomer(&[a, b], Err(&why));
    };
    never(rack("IS", "a"), rack("IS", "b"));
    never(rack("LIKE", "a"), rack("UNLIKE", "a"));
    never(rack("LIKE", "a.*"), rack("UNLIKE", "a.*"));
    never(rack("LIKE", "a"), rack("LIKE", "b"));
    never(rack("CLUSTER", "r1"), rack("UNLIKE", "r."));
    never(("@zone", "IS", Some("q")), ("zone", "IS", Some("w")));
    never(unique, ("@hostname", "IS", Some("a1.local")));
    never(rack("LIKE", "r1"), ("rack", "UNIQUE", None));
    check_newcomer(&[rack("IS", "")], Err(r#"No agent can meet ["rack","IS",""]: leave it away."#));
    check_newcomer(
        &[rack("MAX_PER", "0")],
        Err(r#"No agent can meet ["rack","MAX_PER","0"]: leave it away."#),
    );
    // Nothing is rendered like this.
    check_newcomer(
        &[rack("CLUSTER", "1.0")],
        Err(r#"No agent can meet ["rack","CLUSTER","1.0"]: leave it away."#),
    );
}

#[test]
fn what_rules_ask_of_one_fact_is_said_once() {
    let rack = |operator, value| ("rack", operator, Some(value));
    check_newcomer(&[rack("LIKE", "r[1-3]"), ("rack", "UNIQUE", None)], Ok(r#"rack "r2" or "r3""#));
    check_newcomer(&[rack("IS", "r9"), rack("LIKE", "r.*")], Ok(r#"rack "r9""#));
    check_newcomer(&[rack("IS", "r9"), rack("IS", "r9")], Ok(r#"rack "r9""#));
    check_newcomer(&[rack("LIKE", "r.*"), rack("UNLIKE", "r9")], Ok("rack like r.* and rack unlike r9"));
    check_newcomer(&[("rack", "CLUSTER", None)], Ok(r#"rack "r1""#));
    check_newcomer(
        &[("rack", "UNIQUE", None), ("rack", "UNLIKE", Some("r2"))],
        Ok(r#"rack other than "r1" and rack unlike r2"#),
    );
}

#[test]
fn an_agent_that_was_given_up_may_come_back() {
    let app = an_app("/web").cpus(6.0);
    let mut ground =
        waiting_on(vec![an_agent("a1").cpus(1.0), an_agent("a2"), an_agent("a3").cpus(2.0)], &app);
    let lost_at = ground.now();
    ground.agent_lost("a2");
    ground.agent_lost("a3");
    ground.put(&app.clone().cmd("another"));
    ground.create("/web", 1);
    let explanation = explain_in(&ground, &app);
    let said: Vec<String> = explanation.verdicts.get(2).unwrap().lacks.iter().map(Lack::sentence).collect();
    assert!(
        said[0].starts_with(&format!(
            "the agent cannot be reached since {}",
            lost_at.to_string().split('.').next().unwrap()
        )),
        "{said:?}"
    );
    assert_eq!(said[1], "needs 6 cpus, 2 are spare: 4 short");
    // a2 has one already: what it would have to offer is counted.
    assert_eq!(explanation.verdicts.get(1).unwrap().lacks.len(), 2);
    let app = an_app("/small").cpus(2.0);
    ground.put(&app);
    ground.create("/small", 1);
    let told = sentences(&explain_in(&ground, &app));
    assert_eq!(told[0], "Wait for, or bring back, who is not heard of: 2 agents would suit.");
    assert_eq!(told[1], "Lower cpus from 2 to 1: 1 agent would suit.");
}

#[test]
fn what_roles_hide_is_counted() {
    let agents = vec![an_agent("a1").cpus(1.0), an_agent("a2").cpus(2.0).keep("db", 1.0, 0.0, None)];
    let app = an_app("/web").cpus(1.5);
    check(agents, &app, &["Lower cpus from 1.5 to 1: 2 agents would suit."]);
    let agents = vec![an_agent("a1").cpus(2.0).keep("db", 1.0, 0.0, None)];
    let explanation = explain_in(&waiting_on(agents.clone(), &app), &app);
    assert_eq!(
        explanation.verdicts.get(0).unwrap().lacks[0].sentence(),
        "needs 1.5 cpus: of 2 spare 1 are reserved for db, and the app accepts only *"
    );
    check(agents, &app, &["Lower cpus from 1.5 to 1: 1 agent would suit."]);
}

/// Two agents that copies of an app fill, of which another content waits.
fn stuck(app: &AppBuilder) -> (Playground, AppBuilder) {
    let mut ground = Playground::with_agents(2);
    ground.deploy(app);
    ground.settle();
    let app = app.clone().cmd("another");
    ground.deploy(&app);
    ground.settle();
    (ground, app)
}

/// Puts another content, whatever is under way, and plays to rest.
fn force(ground: &mut Playground, app: &AppBuilder) {
    let under_way = ground.state.deployments.values().map(|row| row.id.clone());
    let cancel = under_way.map(|deployment| Command::CancelDeployment { deployment }).collect();
    ground.record(cancel);
    ground.deploy(app);
    ground.settle();
}

#[test]
fn copies_that_keep_their_room_are_named_and_may_be_let_go() {
    let (mut ground, app) = stuck(&an_app("/web").instances(2).cpus(6.0));
    let explanation = explain_in(&ground, &app);
    let copies = explanation.copies;
    assert_eq!((explanation.waiting, copies.running, copies.older), (2, 2, 2));
    assert_eq!(
        explanation.note.as_deref(),
        Some(
            "2 older copies on a1.local, a2.local keep their room: minimumHealthCapacity 1 wants 2 serving, and 2 serve. \
             Copies that stop first serve no more until newer ones do, and whoever else waits may take their room: ask \
             'platformd what-if' before. It takes a PUT with force=true and both fields of the upgradeStrategy."
        )
    );
    assert_eq!(
        sentences(&explanation)[0],
        "Lower minimumHealthCapacity of the upgradeStrategy from 1 to 0.5, so that older copies stop first: \
         at least 1 of 2 agents would suit."
    );
    force(&mut ground, &app.clone().upgrade(0.5, 1.0));
    let explanation = explain_in(&ground, &app);
    assert_eq!((explanation.waiting, explanation.copies.running, explanation.copies.older), (0, 2, 0));
}

#[test]
fn no_more_older_copies_stop_than_have_to_whichever_come_first() {
    // Two and one of one cpu: whichever two stop, two cpus are free somewhere.
    for (instances, cpus, next, low) in [(3, 1.0, 2.0, 0.33), (4, 0.9, 1.5, 0.25), (4, 0.9, 1.0, 0.75)] {
        let mut ground = Playground::default();
        ["a1", "a2"].iter().for_each(|id| drop(ground.record(vec![an_agent(id).cpus(2.0).register()])));
        let app = an_app("/web").instances(instances).cpus(cpus).mem(1.0);
        ground.deploy(&app);
        ground.settle();
        let app = app.cpus(next);
        ground.deploy(&app);
        ground.settle();
        let told = sentences(&explain_in(&ground, &app));
        assert!(told[0].contains(&format!("from 1 to {low}, so")), "{told:?}");
        let before = explain_in(&ground, &app).copies;
        force(&mut ground, &app.clone().upgrade(low, 1.0));
        let after = explain_in(&ground, &app).copies;
        assert!(after.running - after.older > before.running - before.older, "{before:?} {after:?}");
    }
}

#[test]
fn what_older_copies_hold_beyond_their_agent_has_to_go_first() {
    for (instances, cpus, left, low) in [(3, 0.5, 1.0, Some(0.33)), (2, 0.5, 0.2, None)] {
        let mut ground = Playground::default();
        ground.record(vec![an_agent("a1").cpus(4.0).register()]);
        let app = an_app("/web").instances(instances).cpus(cpus).mem(1.0);
        ground.deploy(&app);
        ground.settle();
        ground.record(vec![an_agent("a1").cpus(left).run(2).register()]);
        let app = app.cmd("another");
        ground.deploy(&app);
        ground.settle();
        let told = sentences(&explain_in(&ground, &app));
        let advised = told.iter().find(|told| told.contains("minimumHealthCapacity"));
        let Some(low) = low else {
            assert_eq!(advised, None, "all gone, it would not fit");
            continue;
        };
        assert!(advised.is_some_and(|told| told.contains(&format!("from 1 to {low}, so"))), "{told:?}");
        force(&mut ground, &app.clone().upgrade(low, 1.0));
        let copies = explain_in(&ground, &app).copies;
        assert!(copies.running > copies.older, "{copies:?}");
    }
}

#[test]
fn a_port_that_an_older_copy_has_is_one_that_it_may_give() {
    let (mut ground, app) =
        stuck(&an_app("/web").exact_ports(&[31_000]).constraint("hostname", "LIKE", Some("a1.*")));
    let told = sentences(&explain_in(&ground, &app));
    assert!(
        told[0].contains("upgradeStrategy from 1 to 0, so that older copies stop first: 1 agent"),
        "{told:?}"
    );
    force(&mut ground, &app.clone().upgrade(0.0, 1.0));
    assert_eq!(explain_in(&ground, &app).waiting, 0);
}

#[test]
fn a_change_that_starts_copies_beside_the_old_ones_only_says_so() {
    let app = an_app("/web").instances(9).cpus(3.2);
    let mut ground = Playground::with_agents(2);
    ground.deploy(&app);
    ground.settle();
    let explanation = explain_in(&ground, &app);
    assert_eq!((explanation.waiting, explanation.copies.running, explanation.copies.older), (5, 4, 0));
    assert_eq!(sentences(&explanation)[0], "Lower cpus from 3.2 to 1.6: 2 agents would suit.");
    assert_eq!(
        explanation.note.as_deref(),
        Some(
            "After a change of the definition the 4 copies that have their places keep what they have now: minimumHealthCapacity 1 \
             wants 9 serving, and 4 serve. New ones start only beside them, unless the same change lowers it to 0.33."
        )
    );
    force(&mut ground, &app.clone().cpus(1.6));
    assert_eq!(explain_in(&ground, &app).waiting, 7, "as many run as fit beside");
    let app = app.cpus(1.6).upgrade(0.33, 1.0);
    force(&mut ground, &app);
    assert_eq!(explain_in(&ground, &app).waiting, 0);
}
