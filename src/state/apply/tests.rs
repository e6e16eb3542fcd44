//! Arms of `apply`, told as sentences. Those about agents: `an_agent_that.rs`. Any sequence of
//! commands at all: `any_commands.rs`.

use std::time::Duration;

use super::*;
use crate::domain::{
    AgentId, AppId, ClusterId, DeploymentId, Goal, Hindrances, InstanceId, PortRanges, Resources, Scalar,
    SpecVersion, TaskId, TaskState, TaskStatus,
};
use crate::state::{InstanceRow, Placement, Presence, RequestKey};
use crate::testkit::{AppBuilder, Playground, an_agent, an_app};

mod an_agent_that;
mod any_commands;
mod reservations;

const SECOND: Duration = Duration::from_secs(1);

fn app_id(id: &str) -> AppId {
    AppId::parse(id).unwrap()
}

fn deployment(id: &str) -> DeploymentId {
    DeploymentId::new(id)
}

/// One running instance of `/web` on `a1`.
fn running(app: &AppBuilder) -> (Playground, InstanceId) {
    let mut ground = Playground::with_agents(1);
    ground.put(app);
    let id = ground.run_one("/web");
    (ground, id)
}

fn set_goal(ground: &mut Playground, id: &InstanceId) -> Applied {
    let (instances, goal) = (vec![id.clone()], Goal::Decommissioned);
    ground.record(vec![Command::SetGoal { instances, goal, reason: "test".to_owned() }])
}

fn task_of(row: &InstanceRow) -> &crate::state::TaskRow {
    row.task.as_ref().unwrap()
}

mod the_cluster {
    use super::*;

    #[test]
    fn is_founded_once() {
        let mut ground = Playground::default();
        let found = |name: &str| Command::FoundCluster { cluster: ClusterId::new(name), epoch: 1 };
        assert_eq!(ground.record(vec![found("first")]).events, [Event::ClusterFounded]);
        assert_eq!(ground.record(vec![found("second")]).events, []);
        assert_eq!(ground.state.cluster, Some(ClusterId::new("first")));
    }

    #[test]
    fn has_a_time_that_never_runs_backwards() {
        let mut state = ClusterState::default();
        let at = |millis| LogEntry { at: Timestamp::from_millis(millis), commands: vec![] };
        apply(&mut state, 1, &at(100));
        apply(&mut state, 2, &at(40));
        assert_eq!((state.index, state.now), (2, Timestamp::from_millis(100)));
    }

    #[test]
    #[should_panic(expected = "index 1 after 1")]
    fn applies_no_entry_twice() {
        let mut state = ClusterState::default();
        let entry = LogEntry { at: Timestamp::default(), commands: vec![] };
        apply(&mut state, 1, &entry);
        apply(&mut state, 1, &entry);
    }

    #[test]
    fn records_the_rest_of_an_entry_whose_first_command_is_refused() {
        let mut ground = Playground::default();
        let unknown = Command::CancelDeployment { deployment: deployment("none") };
        let applied = ground.record(vec![unknown, an_agent("a1").register()]);
        assert_eq!(applied.refusals, [(0, Refusal::UnknownDeployment(deployment("none")))]);
        assert!(ground.state.agents.contains(&AgentId::new("a1")));
    }
}

mod a_deployment {
    use super::*;

    /// The command with one part changed.
    fn start(command: Command, change: impl FnOnce(&mut crate::state::StartDeployment)) -> Command {
        let Command::StartDeployment(mut start) = command else { panic!("{command:?}") };
        change(&mut start);
        Command::StartDeployment(start)
    }

    #[test]
    fn makes_its_content_current_at_once() {
        let mut ground = Playground::default();
        ground.deploy(&an_app("/web").instances(3));
        assert_eq!(ground.state.current(&app_id("/web")).unwrap().spec.instances, 3);
        assert_eq!(ground.state.deployments.len(), 1);
    }

    #[test]
    fn without_steps_is_over_at_once() {
        let mut ground = Playground::default();
        ground.put(&an_app("/web"));
        let id = ground.deploy(&an_app("/web"));
        assert!(!ground.state.deployments.contains(&id));
    }

    #[test]
    fn of_an_app_that_moved_is_refused() {
        let mut ground = Playground::default();
        let stale = an_app("/web").put(&ground.state, deployment("d"));
        ground.put(&an_app("/web"));
        assert!(matches!(ground.record(vec![stale]).refusal(), Some(Refusal::VersionMoved { .. })));
    }

    #[test]
    fn with_a_version_that_is_not_the_latest_is_refused() {
        let mut ground = Playground::default();
        let old = an_app("/old").put(&ground.state, deployment("d"));
        ground.put(&an_app("/web"));
        assert!(matches!(ground.record(vec![old]).refusal(), Some(Refusal::VersionMoved { .. })));
    }

    #[test]
    fn waits_for_none_but_takes_the_place_of_another_by_force() {
        let mut ground = Playground::default();
        let first = ground.deploy(&an_app("/web"));
        let second = an_app("/web").cmd("new").put(&ground.state, deployment("second"));
        let polite = start(second.clone(), |start| start.force = false);
        assert_eq!(ground.record(vec![polite]).refusal(), Some(&Refusal::Locked(vec![first.clone()])));
        let applied = ground.record(vec![second]);
        assert!(applied.events.contains(&Event::DeploymentCancelled(first)));
        assert_eq!(ground.state.deployments.len(), 1);
    }

    #[test]
    fn of_another_app_runs_beside_it() {
        let mut ground = Playground::default();
        ground.deploy(&an_app("/web"));
        let other = start(an_app("/db").put(&ground.state, deployment("db")), |start| start.force = false);
        assert_eq!(ground.record(vec![other]).refusal(), None);
        assert_eq!(ground.state.deployments.len(), 2);
    }

    #[test]
    fn with_a_service_port_that_was_taken_meanwhile_is_refused() {
        let mut ground = Playground::default();
        ground.put(&an_app("/db").exact_ports(&[10_000]));
        let with = |port| {
            start(an_app("/web").put(&ground.state, deployment("d")), |start| {
                start.assigned_ports = vec![port];
            })
        };
        let (taken, free) = (with(10_000), with(10_001));
        let refusal = Refusal::ServicePortTaken { port: 10_000, by: app_id("/db") };
        assert_eq!(ground.record(vec![taken]).refusal(), Some(&refusal));
        assert_eq!(ground.record(vec![free]).refusal(), None);
    }

    #[test]
    fn repeated_under_its_key_is_answered_and_another_one_under_it_is_refused() {
        let mut ground = Playground::default();
        let key = |digest: &str| Some(RequestKey { key: "k".to_owned(), digest: digest.to_owned() });
        let put = an_app("/web").put(&ground.state, deployment("first"));
        let first = ground.record(vec![start(put.clone(), |start| start.request = key("same"))]);
        assert_eq!((first.answered, first.refusals.len()), (None, 0));
        let repeat =
            start(put.clone(), |start| (start.id, start.request) = (deployment("again"), key("same")));
        let answered = ground.record(vec![repeat]).answered.unwrap();
        assert_eq!(
            (answered.deployment, answered.index, answered.created),
            (deployment("first"), first.index, true)
        );
        let other = ground.record(vec![start(put, |start| start.request = key("other"))]);
        assert_eq!(other.refusal(), Some(&Refusal::KeyReused));
    }

    #[test]
    fn finishes_steps_in_order_and_is_gone_after_the_last() {
        let mut ground = Playground::default();
        let id = ground.deploy(&an_app("/web"));
        let finish = |step| Command::FinishStep { deployment: deployment(id.as_str()), step };
        assert_eq!(ground.record(vec![finish(1)]).refusal(), Some(&Refusal::StepMoved(id.clone())));
        ground.record(vec![finish(0)]);
        assert_eq!(ground.record(vec![finish(0)]).refusal(), Some(&Refusal::StepMoved(id.clone())));
        let last = ground.record(vec![finish(1)]);
        assert!(last.events.contains(&Event::DeploymentFinished(id.clone())));
        assert_eq!(ground.record(vec![finish(2)]).refusal(), Some(&Refusal::UnknownDeployment(id)));
    }

    #[test]
    fn that_changes_the_configuration_forgets_the_pause_and_one_that_scales_keeps_it() {
        let (mut ground, id) = running(&an_app("/web"));
        ground.say(&id, TaskState::Failed);
        let delay = |ground: &Playground| ground.state.apps.get(&app_id("/web")).unwrap().delay;
        assert!(delay(&ground).is_some());
        ground.put(&an_app("/web").instances(2));
        assert!(delay(&ground).is_some());
        ground.put(&an_app("/web").instances(2).cmd("new"));
        assert_eq!(delay(&ground), None);
    }
}

mod an_instance {
    use super::*;

    #[test]
    fn is_made_once_and_only_of_current_content() {
        let mut ground = Playground::default();
        ground.put(&an_app("/web"));
        let ids = ground.create("/web", 2);
        let version = ground.state.apps.get(&app_id("/web")).unwrap().version;
        let again = Command::CreateInstances { app: app_id("/web"), version, ids: ids.clone() };
        ground.record(vec![again.clone()]);
        assert_eq!(ground.state.instances.len(), 2);
        ground.put(&an_app("/web").cmd("new"));
        assert!(matches!(ground.record(vec![again]).refusal(), Some(Refusal::VersionMoved { .. })));
    }

    #[test]
    fn that_waits_and_is_not_wanted_is_forgotten_at_once() {
        let mut ground = Playground::default();
        ground.put(&an_app("/web"));
        let id = ground.create("/web", 1).remove(0);
        assert!(set_goal(&mut ground, &id).events.contains(&Event::InstanceForgotten(id)));
        assert!(ground.state.instances.is_empty());
    }

    #[test]
    fn that_runs_and_is_not_wanted_is_forgotten_when_it_ended() {
        let (mut ground, id) = running(&an_app("/web"));
        set_goal(&mut ground, &id);
        assert_eq!(task_of(ground.row(&id)).stop.as_deref(), Some("test"));
        assert_eq!(set_goal(&mut ground, &id).events, [], "a repeat says nothing");
        ground.say(&id, TaskState::Killed);
        assert!(ground.state.instances.is_empty());
        assert_eq!(ground.state.agents.get(&AgentId::new("a1")).unwrap().used, Resources::default());
    }

    #[test]
    fn out_of_reach_and_not_wanted_is_hidden_at_once() {
        let (mut ground, id) = running(&an_app("/web"));
        ground.agent_lost("a1");
        set_goal(&mut ground, &id);
        assert!(ground.row(&id).expunged);
    }

    #[test]
    fn within_reach_is_neither_given_up_nor_hidden() {
        let (mut ground, id) = running(&an_app("/web"));
        let instances = vec![id.clone()];
        let give_up = Command::MarkInactive { instances: instances.clone() };
        assert_eq!(ground.record(vec![give_up, Command::Expunge { instances }]).events, []);
        assert!(ground.row(&id).is_counted());
    }

    #[test]
    fn that_was_hidden_is_shown_again_only_when_it_is_back() {
        let (mut ground, id) = running(&an_app("/web"));
        let readmit = Command::Readmit { instances: vec![id.clone()] };
        ground.agent_lost("a1");
        ground.record(vec![Command::Expunge { instances: vec![id.clone()] }, readmit.clone()]);
        assert!(ground.row(&id).expunged);
        ground.register("a1");
        assert!(ground.row(&id).expunged, "back, and yet hidden until somebody decides");
        ground.record(vec![readmit]);
        assert!(ground.row(&id).is_counted());
    }

    #[test]
    fn that_was_hidden_and_ended_is_forgotten() {
        let (mut ground, id) = running(&an_app("/web"));
        ground.agent_lost("a1");
        ground.record(vec![Command::Expunge { instances: vec![id.clone()] }]);
        ground.register("a1");
        ground.say(&id, TaskState::Failed);
        assert!(ground.state.instances.is_empty());
    }
}

fn one(ground: &Playground, id: &InstanceId, cpus: u64, ports: &[u16]) -> Placement {
    let attempt = ground.row(id).task.as_ref().map_or(1, |task| task.attempt + 1);
    let resources = Resources {
        cpus: Scalar::from_thousandths(cpus),
        ports: PortRanges::of(ports.iter().copied()),
        ..Resources::default()
    };
    Placement {
        instance: id.clone(),
        attempt,
        agent: AgentId::new("a1"),
        ports: ports.to_vec(),
        resources,
        drawn: Default::default(),
    }
}

fn launch(ground: &mut Playground, placements: Vec<Placement>) -> Applied {
    ground.record(vec![Command::LaunchTasks { placements, seen_at: 0 }])
}

fn two_waiting() -> (Playground, InstanceId, InstanceId) {
    let mut ground = Playground::with_agents(1);
    ground.put(&an_app("/web"));
    let mut ids = ground.create("/web", 2);
    let second = ids.remove(1);
    (ground, ids.remove(0), second)
}

mod a_placement {
    use super::*;

    #[test]
    fn that_no_longer_fits_is_refused_by_itself() {
        let (mut ground, first, second) = two_waiting();
        let stale = |id: &InstanceId| Refusal::OfferStale { agent: AgentId::new("a1"), instance: id.clone() };
        let both = vec![one(&ground, &first, 5_000, &[]), one(&ground, &second, 5_000, &[])];
        assert_eq!(launch(&mut ground, both).refusals, [(0, stale(&second))]);
        assert!(ground.row(&first).is_live() && ground.row(&second).is_waiting());
    }

    #[test]
    fn on_a_port_that_is_taken_is_refused() {
        let (mut ground, first, second) = two_waiting();
        let both = vec![one(&ground, &first, 1, &[31_000]), one(&ground, &second, 1, &[31_000])];
        assert_eq!(launch(&mut ground, both).refusals.len(), 1);
        let outside = vec![one(&ground, &second, 1, &[80])];
        assert_eq!(launch(&mut ground, outside).refusals.len(), 1);
    }

    #[test]
    fn on_an_agent_that_is_away_is_refused() {
        let (mut ground, first, _) = two_waiting();
        ground.agent_lost("a1");
        let placement = one(&ground, &first, 1, &[]);
        assert!(matches!(launch(&mut ground, vec![placement]).refusal(), Some(Refusal::OfferStale { .. })));
    }

    #[test]
    fn of_another_attempt_or_of_none_that_waits_is_refused() {
        let (mut ground, first, second) = two_waiting();
        let not_waiting = |id: &InstanceId| Some(Refusal::NotWaiting(id.clone()));
        let ahead = Placement { attempt: 2, ..one(&ground, &first, 1, &[]) };
        assert_eq!(launch(&mut ground, vec![ahead]).refusal().cloned(), not_waiting(&first));
        let placement = one(&ground, &first, 1, &[]);
        assert_eq!(launch(&mut ground, vec![placement.clone()]).refusal(), None);
        assert_eq!(launch(&mut ground, vec![placement]).refusal().cloned(), not_waiting(&first));
        let gone = one(&ground, &second, 1, &[]);
        set_goal(&mut ground, &second);
        assert_eq!(launch(&mut ground, vec![gone]).refusal().cloned(), not_waiting(&second));
    }
}

mod a_status {
    use super::*;

    #[test]
    fn moves_forward_only_and_repeats_say_nothing() {
        let (mut ground, id) = running(&an_app("/web"));
        let back = ground.say(&id, TaskState::Starting);
        assert_eq!((back.events.len(), back.refusals.len()), (0, 0));
        let (agent, task) = (AgentId::new("a1"), task_of(ground.row(&id)).clone());
        let repeat = Command::RecordStatuses { agent, statuses: vec![(task.id, task.status)] };
        assert_eq!(ground.record(vec![repeat]).events, []);
    }

    #[test]
    fn of_a_stranger_or_from_another_agent_is_refused() {
        let (mut ground, id) = running(&an_app("/web"));
        let task = task_of(ground.row(&id)).id.clone();
        let said = |agent: &str, task: &TaskId| Command::RecordStatuses {
            agent: AgentId::new(agent),
            statuses: vec![(task.clone(), TaskStatus::new(TaskState::Failed, Timestamp::default(), ""))],
        };
        let other = Refusal::NotYourTask { task: task.clone(), agent: AgentId::new("a2") };
        assert_eq!(ground.record(vec![said("a2", &task)]).refusal(), Some(&other));
        for stranger in ["nonsense", "x.instance-1._app.1"].map(TaskId::new) {
            let unknown = Refusal::UnknownTask(stranger.clone());
            assert_eq!(ground.record(vec![said("a1", &stranger)]).refusal(), Some(&unknown));
        }
        assert!(ground.row(&id).is_live());
    }

    #[test]
    fn of_an_earlier_attempt_does_not_touch_the_later_one() {
        let (mut ground, id) = running(&an_app("/web"));
        let first = task_of(ground.row(&id)).id.clone();
        ground.say(&id, TaskState::Failed);
        ground.pass(2 * SECOND);
        ground.place();
        let late = TaskStatus::new(TaskState::Lost, ground.now(), "");
        let statuses = vec![(first.clone(), late)];
        let applied = ground.record(vec![Command::RecordStatuses { agent: AgentId::new("a1"), statuses }]);
        assert_eq!(applied.refusal(), Some(&Refusal::UnknownTask(first)));
        assert_eq!(task_of(ground.row(&id)).attempt, 2);
    }

    /// After these ends, one after another, each a second after the last launch: the pause.
    #[track_caller]
    fn pause_after(ends: &[TaskState], wanted: Option<Duration>) {
        let (mut ground, id) = running(&an_app("/web").backoff(10 * SECOND));
        for (at, end) in ends.iter().enumerate() {
            if at > 0 {
                ground.pass(1_000 * SECOND);
                ground.place();
            }
            ground.say(&id, *end);
        }
        let delay = ground.state.apps.get(&app_id("/web")).unwrap().delay;
        assert_eq!(delay.map(|delay| delay.pause), wanted);
        let until = delay.map(|delay| delay.until());
        assert_eq!(until, wanted.map(|pause| ground.state.now.plus(pause)));
    }

    #[test]
    fn of_an_end_by_itself_delays_the_next_launch_and_more_each_time() {
        pause_after(&[TaskState::Failed], Some(10 * SECOND));
        pause_after(&[TaskState::Finished], Some(10 * SECOND));
        pause_after(&[TaskState::Failed, TaskState::Failed], Some(20 * SECOND));
        pause_after(&[TaskState::Failed, TaskState::Finished, TaskState::Lost], Some(40 * SECOND));
        pause_after(&[TaskState::Killed], None);
    }

    #[test]
    fn of_an_end_that_was_asked_for_delays_nothing() {
        let (mut ground, id) = running(&an_app("/web"));
        let tasks = vec![task_of(ground.row(&id)).id.clone()];
        ground.record(vec![Command::StopTasks { tasks, reason: "test".to_owned() }]);
        ground.say(&id, TaskState::Failed);
        assert_eq!(ground.state.apps.get(&app_id("/web")).unwrap().delay, None);
        assert!(ground.row(&id).is_waiting());
    }

    #[test]
    fn of_an_end_of_old_content_does_not_delay_the_new() {
        let (mut ground, id) = running(&an_app("/web"));
        ground.put(&an_app("/web").cmd("new"));
        ground.say(&id, TaskState::Failed);
        let app = (**ground.state.apps.get(&app_id("/web")).unwrap()).clone();
        assert_eq!(app.delay, None);
        assert!(app.last_failure.is_some());
    }

    #[test]
    fn of_a_failure_is_remembered_and_a_finish_or_a_kill_on_request_is_not() {
        for (end, asked, is_failure) in [
            (TaskState::Failed, false, true),
            (TaskState::Error, false, true),
            (TaskState::Finished, false, false),
            // Its agent gave it up for failing its health check.
            (TaskState::Killed, false, true),
            (TaskState::Killed, true, false),
        ] {
            let (mut ground, id) = running(&an_app("/web"));
            if asked {
                let task = task_of(ground.state.instances.get(&id).unwrap()).id.clone();
                ground.record(vec![Command::StopTasks { tasks: vec![task], reason: "asked".into() }]);
            }
            ground.say(&id, end);
            let failure = ground.state.apps.get(&app_id("/web")).unwrap().last_failure.clone();
            assert_eq!(failure.is_some(), is_failure, "{end:?}");
        }
    }

    #[test]
    fn that_asks_to_forget_a_pause_needs_an_app() {
        let (mut ground, id) = running(&an_app("/web"));
        ground.say(&id, TaskState::Failed);
        ground.record(vec![Command::ResetDelay { app: app_id("/web") }]);
        assert_eq!(ground.state.apps.get(&app_id("/web")).unwrap().delay, None);
        let unknown = ground.record(vec![Command::ResetDelay { app: app_id("/none") }]);
        assert_eq!(unknown.refusal(), Some(&Refusal::UnknownApp(app_id("/none"))));
    }
}

mod reaping {
    use super::*;

    #[test]
    fn keeps_what_runs_what_is_current_and_the_latest_fifty() {
        let (mut ground, id) = running(&an_app("/web"));
        let first = ground.row(&id).version;
        for round in 0..80 {
            ground.put(&an_app("/web").cmd(&format!("{round}")));
        }
        ground.record(vec![Command::Reap { requests_before: Timestamp::default() }]);
        let kept: Vec<SpecVersion> =
            ground.state.versions_of(&app_id("/web")).map(|(version, _)| version).collect();
        assert_eq!((kept.len(), kept[0]), (51, first));
    }

    #[test]
    fn forgets_removed_apps_once_nothing_of_them_runs() {
        let (mut ground, id) = running(&an_app("/web"));
        let deployment = ground.remove(&an_app("/web"));
        ground.record(vec![Command::CancelDeployment { deployment }]);
        let reap = Command::Reap { requests_before: Timestamp::default() };
        ground.record(vec![reap.clone()]);
        assert_eq!(ground.state.versions.len(), 1);
        set_goal(&mut ground, &id);
        ground.say(&id, TaskState::Killed);
        ground.record(vec![reap]);
        assert_eq!(ground.state.versions.len(), 0);
    }
}
