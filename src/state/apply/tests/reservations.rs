//! Placements on agents that keep resources for roles.

use super::*;

#[test]
fn of_more_than_its_role_has_is_refused_and_its_end_gives_back() {
    let (mut ground, first, second) = two_waiting();
    let agent = an_agent("a1").cpus(4.0).keep("db", 1.0, 0.0, Some((31_000, 31_000))).run(2);
    ground.record(vec![agent.register()]);
    let cpus = |amount| Resources { cpus: Scalar::from_thousandths(amount), ..Resources::default() };
    let drawing = |ground: &Playground, taken: u64, drawn: u64| Placement {
        drawn: [("db".to_owned(), cpus(drawn))].into(),
        ..one(ground, &first, taken, &[])
    };
    let refused = |ground: &mut Playground, placement: Placement| {
        let refusals = launch(ground, vec![placement]).refusals;
        assert!(matches!(refusals.as_slice(), [(0, Refusal::OfferStale { .. })]), "{refusals:?}");
    };
    let placement = drawing(&ground, 1_500, 1_001);
    refused(&mut ground, placement);
    let placement = drawing(&ground, 500, 600);
    refused(&mut ground, placement);
    let placement = one(&ground, &first, 3_001, &[]);
    refused(&mut ground, placement);
    let placement = one(&ground, &first, 1, &[31_000]);
    refused(&mut ground, placement);
    let mut placement = drawing(&ground, 500, 500);
    placement.drawn = [("ml".to_owned(), cpus(500))].into();
    refused(&mut ground, placement);
    let placement = drawing(&ground, 4_000, 1_000);
    assert_eq!(launch(&mut ground, vec![placement]).refusals, []);
    let placement = one(&ground, &second, 1, &[]);
    refused(&mut ground, placement);
    let drawn = |ground: &Playground| ground.state.agents.get(&AgentId::new("a1")).unwrap().drawn.clone();
    assert_eq!(drawn(&ground)["db"], cpus(1_000));
    // It comes back without the reservation: what was drawn is remembered, and given back.
    ground.record(vec![an_agent("a1").cpus(4.0).run(3).register()]);
    let placement = one(&ground, &second, 1, &[]);
    refused(&mut ground, placement);
    ground.say(&first, TaskState::Failed);
    assert!(drawn(&ground).is_empty());
    let placement = one(&ground, &second, 4_000, &[]);
    assert_eq!(launch(&mut ground, vec![placement]).refusals, []);
}
