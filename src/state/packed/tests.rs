//! What is packed comes out again, whatever the rows hold.

use proptest::prelude::*;

use super::*;
use crate::domain::Exit;
use crate::testkit::{Playground, an_agent, an_app};

fn unpacked(state: &ClusterState) -> ClusterState {
    let mut parts = pack(state);
    let mut unpacking = Unpacking::begin(&parts.next().unwrap()).unwrap();
    parts.for_each(|part| unpacking.add(&part).unwrap());
    unpacking.end()
}

/// How many rows of the usual kind, and how many others, the parts of a state hold.
fn kinds(state: &ClusterState) -> (usize, usize) {
    let parts = pack(state).skip(1).map(|part| codec::decode::<Part>("part", &part).unwrap());
    parts.fold((0, 0), |(plain, others), part| (plain + part.2.len(), others + part.3.len()))
}

/// Two agents, and an app that runs on them with ports.
fn a_state(instances: u32) -> ClusterState {
    let mut ground = Playground::with_agents(2);
    ground.record(vec![an_agent("big").cpus(1e5).mem(1e7).register()]);
    ground.deploy(&an_app("/a/web").instances(3).any_ports(2));
    ground.deploy(&an_app("/db").cpus(0.001).mem(0.1).instances(instances));
    ground.settle();
    ground.state.clone()
}

#[test]
fn usual_instances_are_packed_and_come_out_as_they_were() {
    let state = a_state(9_000);
    assert_eq!(kinds(&state), (9_003, 0));
    assert!(unpacked(&state) == state);
    let bytes: usize = pack(&state).skip(1).map(|part| part.len()).sum();
    // More than half of them is what was said of health.
    assert!(bytes < 9_003 * 130, "{bytes} bytes");
}

#[test]
fn an_empty_state_comes_out_empty() {
    assert!(unpacked(&ClusterState::default()) == ClusterState::default());
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    let state = a_state(1);
    let head = pack(&state).next().unwrap();
    let number = Plain(0, 1, 2, 3, 4, None);
    let part = codec::encode(&Part(Vec::new(), Vec::new(), vec![number], Vec::new()));
    let error = Unpacking::begin(&head).unwrap().add(&part).unwrap_err();
    assert!(error.source.to_string().contains("no such content"), "{}", error.source);
}

proptest! {
    /// Anything may be said of any row, also what no command writes.
    #[test]
    fn every_row_comes_out_as_it_was(words in proptest::collection::vec((0usize..9, 0u8..15, any::<i32>()), 0..20)) {
        let mut state = a_state(6);
        let ids: Vec<InstanceId> = state.instances.iter().map(|(id, _)| id.clone()).collect();
        for (at, what, number) in words {
            let Some(mut row) = ids.get(at).and_then(|id| state.instances.get(id)).map(|row| (**row).clone()) else { continue };
            let moment = Timestamp::from_millis(i64::from(number));
            if let Some(task) = &mut row.task {
                match what {
                    0 => task.stop = Some("why".into()),
                    1 => task.unreachable_since = Some(moment),
                    2 => task.inactive = true,
                    3 => task.status.exit = Some(Exit::default()),
                    4 => task.status.message = "message".into(),
                    5 => task.status.health = vec![HealthResult { alive: true, last_success: Some(moment), ..HealthResult::default() }],
                    6 => task.status.ip_addresses = vec!["10.0.0.1".into()],
                    7 => task.status.at = moment,
                    8 => task.started_at = Some(moment),
                    9 => task.hostname = "another".into(),
                    10 => drop(task.drawn.insert("db".into(), Resources::default())),
                    11 => row.task = None,
                    12 => row.shall_move = Some("why".into()),
                    13 => row.expunged = true,
                    _ => row.goal = Goal::Decommissioned,
                }
            }
            state.instances.insert(row.id.clone(), row);
        }
        // As after a start from bytes: the index is derived.
        let state: ClusterState = codec::decode("state", &codec::encode(&state)).unwrap();
        prop_assert!(unpacked(&state) == state);
    }
}
