//! Any sequence of commands, sensible or not: sound states, equal replicas.

use proptest::prelude::*;

use super::*;
use crate::scheduler::{SchedulingView, run_cycle};
use crate::state::codec::{decode, encode};
use crate::state::digest::digest;
use crate::state::invariants::broken_invariants;

/// Dice for one command: what kind, and what it is about.
type Dice = (u8, u8, u8, u8);

const AGENTS: [&str; 3] = ["a1", "a2", "a3"];
const APPS: [&str; 2] = ["/web", "/team/db"];
const STATES: [TaskState; 11] = TaskState::ALL;

fn pick<T: Clone>(from: &[T], at: u8) -> Option<T> {
    from.get(usize::from(at).checked_rem(from.len())?).cloned()
}

/// Some command, half sensible and half not.
fn command(state: &ClusterState, (kind, a, b, c): Dice) -> Option<Command> {
    let agent = AgentId::new(pick(&AGENTS, a)?);
    let app = an_app(pick(&APPS, a)?).instances(u32::from(b % 4)).cmd(&format!("{}", c % 3)).any_ports(1);
    let app = if a % 2 == 1 { app.role("team") } else { app };
    let rows: Vec<&InstanceRow> = state.instances.values().map(|row| &**row).collect();
    let some: Vec<InstanceId> =
        [a, b].into_iter().filter_map(|at| Some(pick(&rows, at)?.id.clone())).collect();
    let tasks: Vec<TaskId> = rows.iter().filter_map(|row| Some(row.task.as_ref()?.id.clone())).collect();
    let under_way: Vec<DeploymentId> = state.deployments.iter().map(|(id, _)| id.clone()).collect();
    let id = deployment(&format!("d{}", state.index));
    Some(match kind % 22 {
        0 => {
            let agent = an_agent(pick(&AGENTS, a)?).cpus(1.0).ports(31_000, 31_010).run(u64::from(b % 4));
            let agent = match c % 3 {
                0 => agent.keep("team", 0.5, 64.0, Some((31_000, 31_003))),
                1 => agent.keep("team", f64::from(a % 8) / 8.0, 1_024.0, None).keep("x", 0.1, 0.0, None),
                _ => agent,
            };
            agent.register()
        }
        1 if c % 3 == 0 => {
            let tasks = (b % 2 == 0).then(|| "test".to_owned());
            Command::SetHindrances { agent, hindrances: Hindrances { tasks, ..Hindrances::default() } }
        }
        1 => Command::SetHeldPorts { agent, ports: PortRanges::of([31_000 + u16::from(b % 10)]) },
        2 => {
            let run = state.agents.get(&agent)?.info.incarnation.run;
            Command::MarkAgentUnreachable { agent, run: run + u64::from(b % 2), since: state.now }
        }
        3 | 4 => app.put(state, id),
        5 => app.remove(state, id),
        6 => Command::FinishStep { deployment: pick(&under_way, a)?, step: u32::from(b % 3) },
        7 => Command::CancelDeployment { deployment: pick(&under_way, a)? },
        8 | 9 => {
            let version = state.apps.get(&app.id()).map(|row| row.version).unwrap_or_default();
            let ids = (0..b % 4)
                .map(|at| InstanceId::mint(&app.id(), uuid::Uuid::from_u128(u128::from(c / 8 + at))));
            Command::CreateInstances { app: app.id(), version, ids: ids.collect() }
        }
        10 => Command::SetGoal { instances: some, goal: Goal::Decommissioned, reason: String::new() },
        11 => Command::StopTasks { tasks: pick(&tasks, a).into_iter().collect(), reason: String::new() },
        12 | 13 => {
            let placements = run_cycle(&SchedulingView::of(state, Default::default()), state.now).placements;
            Command::LaunchTasks { placements, seen_at: state.index }
        }
        14 => {
            let port = 30_998 + u16::from(b % 16);
            let resources = Resources {
                cpus: Scalar::from_thousandths(u64::from(c) * 10),
                ports: PortRanges::of([port]),
                ..Resources::default()
            };
            let drawn = if c % 4 == 0 {
                [("team".to_owned(), resources.clone())].into()
            } else {
                crate::domain::Reserved::new()
            };
            let instance = pick(&some, 0)?;
            let attempt = u32::from(c % 3);
            Command::LaunchTasks {
                placements: vec![Placement { instance, attempt, agent, ports: vec![port], resources, drawn }],
                seen_at: 0,
            }
        }
        15 | 16 => {
            let status = TaskStatus::new(pick(&STATES, b)?, state.now, "");
            let owner = state.task(&pick(&tasks, a)?).map(|(_, task)| task.agent.clone())?;
            let agent = if c % 8 == 0 { agent } else { owner };
            Command::RecordStatuses { agent, statuses: vec![(pick(&tasks, a)?, status)] }
        }
        20 => {
            Command::MoveInstances { instances: some.into_iter().map(|id| (id, "test".to_owned())).collect() }
        }
        21 => Command::KeepInstances { instances: some },
        17 => Command::MarkInactive { instances: some },
        18 => Command::Expunge { instances: some },
        _ if c % 2 == 0 => Command::Readmit { instances: some },
        _ => Command::Reap { requests_before: state.now },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is proposed: the invariants hold, no agent holds more than it has, and a
    /// replica that reads the entries from their bytes, and restarts from a snapshot on
    /// the way, has the same state.
    #[test]
    fn any_commands_leave_sound_and_equal_replicas(
        dice in proptest::collection::vec(any::<Dice>(), 1..120), restart in 0usize..120, step in 0i64..3_000,
    ) {
        let mut state = ClusterState::default();
        let mut replica = ClusterState::default();
        for (at, dice) in dice.into_iter().enumerate() {
            let Some(command) = command(&state, dice) else { continue };
            let index = state.index + 1;
            // Leaders' clocks differ: now and then one is behind.
            let clock = i64::try_from(at).unwrap() * step - i64::from(dice.3) * 10;
            let entry = LogEntry { at: Timestamp::from_millis(clock), commands: vec![command] };
            let applied = apply(&mut state, index, &entry);
            prop_assert_eq!(broken_invariants(&state), Vec::<String>::new(), "after {:?}", entry);
            for agent in state.agents.values() {
                prop_assert!(agent.info.totals.contains(&agent.used), "{:?}", agent);
            }
            let read: LogEntry = decode("entry", &encode(&entry)).unwrap();
            prop_assert_eq!(apply(&mut replica, index, &read), applied);
            if at == restart {
                replica = decode("snapshot", &encode(&replica)).unwrap();
            }
            prop_assert_eq!(digest(&replica), digest(&state));
        }
        prop_assert_eq!(replica, state);
    }
}
