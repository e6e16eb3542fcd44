//! Agents that come, go and come back, told as sentences that begin with the file's name.

use super::*;

#[test]
fn registers_again_unchanged_writes_nothing() {
    let mut ground = Playground::with_agents(1);
    assert_eq!(ground.record(vec![an_agent("a1").register()]).events, []);
    let later = ground.record(vec![an_agent("a1").run(2).register()]);
    assert_eq!(later.events, [Event::AgentRegistered(AgentId::new("a1"))]);
}

#[test]
fn registers_is_no_longer_known_from_before() {
    let mut ground = Playground::with_agents(1);
    let known = |ground: &Playground, index| ground.state.knows_agents_as_of(index);
    let joined = ground.state.index;
    ground.record(vec![an_agent("a1").register(), Command::Reap { requests_before: Timestamp::default() }]);
    assert!(ground.state.index > joined && known(&ground, joined), "unchanged");
    let before = ground.state.index;
    ground.record(vec![an_agent("a1").run(2).register()]);
    assert!(!known(&ground, before) && known(&ground, ground.state.index), "another run");
    let before = ground.state.index;
    ground.record(vec![an_agent("a2").register()]);
    assert!(!known(&ground, before), "another agent");
}

#[test]
fn is_an_earlier_run_than_the_known_one_is_refused() {
    let mut ground = Playground::with_agents(0);
    ground.record(vec![an_agent("a1").run(2).register()]);
    let applied = ground.record(vec![an_agent("a1").run(1).register()]);
    assert_eq!(applied.refusal(), Some(&Refusal::AgentRunIsOver(AgentId::new("a1"))));
}

#[test]
fn is_back_in_its_own_directory_follows_a_later_copy() {
    let mut ground = Playground::with_agents(0);
    let register = |place: &str, run: u64| {
        let mut command = an_agent("a1").run(run).register();
        if let Command::RegisterAgent { info, .. } = &mut command {
            info.incarnation.place = place.to_owned();
            info.incarnation.started = Timestamp::from_millis(i64::try_from(run).unwrap());
        }
        command
    };
    for (place, run, refused) in
        [("original", 3, false), ("copy", 4, false), ("original", 3, false), ("original", 2, true)]
    {
        let applied = ground.record(vec![register(place, run)]);
        assert_eq!(applied.refusal().is_some(), refused, "{place} {run}: {applied:?}");
    }
}

#[test]
fn shows_another_proof_than_the_first_is_refused() {
    let mut ground = Playground::default();
    let register = |run: u64, digest: Option<&str>| {
        let Command::RegisterAgent { info, held_ports, .. } = an_agent("a1").run(run).register() else {
            unreachable!()
        };
        Command::RegisterAgent { info, held_ports, proof: digest.map(str::to_owned) }
    };
    assert_eq!(ground.record(vec![register(1, None)]).refusal(), None);
    assert_eq!(ground.record(vec![register(1, Some("d1"))]).refusal(), None, "the first one counts");
    for (run, other) in [(1, None), (2, None), (2, Some("d2"))] {
        let refused = ground.record(vec![register(run, other)]);
        assert_eq!(refused.refusal(), Some(&Refusal::AgentIsAnother(AgentId::new("a1"))));
    }
    let back = ground.record(vec![register(2, Some("d1"))]);
    assert_eq!(back.events, [Event::AgentRegistered(AgentId::new("a1"))]);
}

#[test]
fn was_judged_by_an_earlier_run_is_not_marked() {
    let mut ground = Playground::default();
    ground.record(vec![an_agent("a1").run(2).register()]);
    let mark =
        |run| Command::MarkAgentUnreachable { agent: AgentId::new("a1"), run, since: Timestamp::default() };
    assert_eq!(ground.record(vec![mark(1)]).refusal(), Some(&Refusal::AgentIsBack(AgentId::new("a1"))));
    assert_eq!(ground.record(vec![mark(2)]).refusal(), None);
    assert!(matches!(
        ground.state.agents.get(&AgentId::new("a1")).unwrap().presence,
        Presence::Unreachable { .. }
    ));
}

#[test]
fn goes_and_comes_takes_its_tasks_along() {
    let (mut ground, id) = running(&an_app("/web"));
    ground.agent_lost("a1");
    assert!(task_of(ground.row(&id)).unreachable_since.is_some());
    ground.record(vec![Command::MarkInactive { instances: vec![id.clone()] }]);
    assert!(!ground.row(&id).is_counted());
    ground.register("a1");
    assert!(task_of(ground.row(&id)).unreachable_since.is_none() && ground.row(&id).is_counted());
}

#[test]
fn has_ports_held_by_strangers_does_not_offer_them() {
    let mut ground = Playground::with_agents(1);
    let agent = AgentId::new("a1");
    let ports = PortRanges::new([(31_000, 31_998)]);
    ground.record(vec![Command::SetHeldPorts { agent: agent.clone(), ports }]);
    assert_eq!(ground.state.agents.get(&agent).unwrap().spare().ports, PortRanges::of([31_999]));
    let unknown = Command::SetHeldPorts { agent: AgentId::new("x"), ports: PortRanges::default() };
    assert_eq!(ground.record(vec![unknown]).refusal(), Some(&Refusal::UnknownAgent(AgentId::new("x"))));
}

#[test]
fn cannot_start_tasks_takes_none_until_it_says_so() {
    let mut ground = Playground::with_agents(1);
    let agent = AgentId::new("a1");
    let mut say = |hindrances: Hindrances| {
        let applied = ground.record(vec![Command::SetHindrances { agent: agent.clone(), hindrances }]);
        let row = ground.state.agents.get(&agent).unwrap();
        (applied.events.len(), row.takes_tasks(), row.takes_containers())
    };
    let why = || Some("no room".to_owned());
    assert_eq!(say(Hindrances::default()), (0, true, true));
    assert_eq!(say(Hindrances { containers: why(), ..Hindrances::default() }), (1, true, false));
    assert_eq!(say(Hindrances { tasks: why(), ..Hindrances::default() }), (1, false, true));
    assert_eq!(say(Hindrances { tasks: why(), ..Hindrances::default() }), (0, false, true));
    assert_eq!(say(Hindrances::default()), (1, true, true));
    let unknown = Command::SetHindrances { agent: AgentId::new("x"), hindrances: Hindrances::default() };
    assert_eq!(ground.record(vec![unknown]).refusal(), Some(&Refusal::UnknownAgent(AgentId::new("x"))));
}
