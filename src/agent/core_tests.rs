//! The core alone, as sentences: one input, and everything that it leads to.

use std::time::Duration;

use super::core::{AgentCore, on_input};
use super::driver::{DriverError, Ended, Started, TaskHandle};
use super::effect::{DiskRoom, Effect, HeldPort, Input, Timer};
use super::record::TaskRecord;
use super::verdict::Probe;
use crate::domain::{
    AgentId, AgentInfo, Attributes, ClusterId, Exit, HealthCheck, HealthProtocol, Incarnation, LaunchCheck,
    PortBinding, PortRanges, Resources, TaskId, TaskLaunch, Timestamp, Transport, UpdateId,
};
use crate::protocol::{Assignment, Fence, FromAgent, FromMaster};
use crate::testkit::a_container;

mod restarts;
mod starts;

pub(super) fn an_agent(boot: &str) -> AgentInfo {
    AgentInfo {
        id: AgentId::new("agent"),
        hostname: "localhost".to_owned(),
        http: String::new(),
        totals: Resources::default(),
        reserved: Default::default(),
        attributes: Attributes::new(),
        incarnation: Incarnation {
            boot_id: boot.to_owned(),
            started: Timestamp::default(),
            run: 1,
            place: String::new(),
        },
        has_docker: false,
        version: String::new(),
    }
}

pub(super) fn a_launch(task: &str) -> TaskLaunch {
    TaskRecord::nameless(&TaskId::new(task), "", Timestamp::default()).launch
}

pub(super) fn a_handle(task: &str) -> TaskHandle {
    TaskHandle { task: TaskId::new(task), container: None, pid: Some(7), pid_started: Some(1) }
}

pub(super) fn a_fence(term: u64, index: u64) -> Fence {
    Fence { cluster: ClusterId::new("c"), epoch: 1, term, index }
}

fn a_checked_launch(task: &str, protocol: HealthProtocol, most: u32) -> TaskLaunch {
    let check = HealthCheck {
        protocol,
        path: None,
        port_index: Some(0),
        port: None,
        command: None,
        grace_period: Duration::ZERO,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        max_consecutive_failures: most,
        delay: Duration::ZERO,
        ignore_http_1xx: false,
        ipv6: false,
    };
    let check = LaunchCheck { index: 0, check, host_port: Some(31000) };
    TaskLaunch { health_checks: vec![check], ..a_launch(task) }
}

/// One agent in a play.
struct Play {
    core: AgentCore,
    index: u64,
    saved: Vec<TaskRecord>,
}

impl Play {
    /// Registered with a leader of term 5, with the drivers' list known and empty.
    fn new() -> Self {
        let mut play = Self::begun(Vec::new(), "boot");
        play.give(Input::Listed(Ok(Vec::new())));
        play.register();
        play
    }

    fn begun(records: Vec<TaskRecord>, boot: &str) -> Self {
        let core = AgentCore::new(an_agent(boot), Some(a_fence(5, 0)), records);
        Self { core, index: 0, saved: Vec::new() }
    }

    fn register(&mut self) -> Vec<String> {
        self.give(Input::Connected);
        let fence = a_fence(5, 1);
        self.give(Input::Heard(FromMaster::Welcome { protocol: 1, fence, heartbeat_millis: 1000 }))
    }

    fn give(&mut self, input: Input) -> Vec<String> {
        let effects = on_input(&mut self.core, input, Timestamp::from_millis(1000));
        for effect in &effects {
            if let Effect::Save(record) = effect {
                self.saved.push(TaskRecord::clone(record));
            }
        }
        effects.iter().map(brief).collect()
    }

    #[track_caller]
    fn check(&mut self, input: Input, wanted: &[&str]) {
        assert_eq!(self.give(input), wanted);
    }

    fn assign(&mut self, assignment: Assignment) -> Input {
        self.index += 1;
        let fence = a_fence(5, self.index);
        Input::Heard(FromMaster::Assign { fence, full: false, tasks: vec![assignment] })
    }

    fn run(&mut self, launch: TaskLaunch) -> Input {
        self.assign(Assignment::Run(Box::new(launch)))
    }

    fn stop(&mut self, task: &str) -> Input {
        self.assign(Assignment::Stop { task: TaskId::new(task), reason: "unwanted".to_owned() })
    }

    /// With task `a` running and all of it acknowledged.
    fn with_a_running(launch: TaskLaunch) -> Self {
        let mut play = Self::new();
        let run = play.run(launch);
        play.give(run);
        play.give(started("a"));
        play.give(acknowledged("a", 1));
        play.give(Input::Timer(Timer::Resend));
        play.saved.clear();
        play
    }
}

fn started(task: &str) -> Input {
    let started = Started { handle: a_handle(task), ip_addresses: Vec::new() };
    Input::Started { task: TaskId::new(task), result: Ok(started) }
}

fn not_started(task: &str, error: DriverError) -> Input {
    Input::Started { task: TaskId::new(task), result: Err(error) }
}

fn away() -> DriverError {
    DriverError::Unavailable { means: "docker", reason: "no answer".to_owned(), made_nothing: false }
}

fn unreachable() -> DriverError {
    DriverError::Unavailable { means: "docker", reason: "no socket".to_owned(), made_nothing: true }
}

fn ended(task: &str, exit: Exit) -> Input {
    Input::Ended { task: TaskId::new(task), result: Ok(Ended { exit, at: None, message: String::new() }) }
}

fn code(code: i32) -> Exit {
    Exit { code: Some(code), ..Exit::default() }
}

fn acknowledged(task: &str, seq: u64) -> Input {
    let updates = vec![UpdateId { task: TaskId::new(task), seq }];
    Input::Heard(FromMaster::Acknowledge { fence: a_fence(5, 0), updates })
}

fn probed(failure: Option<&str>) -> Input {
    let probe = Probe { check: 0, failure: failure.map(str::to_owned), is_early: false };
    Input::Probed { task: TaskId::new("a"), probe }
}

fn brief(effect: &Effect) -> String {
    match effect {
        Effect::SaveFence(fence) => format!("save term {}", fence.term),
        Effect::Save(record) => format!("save {} {:?}", record.task(), record.status.state),
        Effect::Forget(task) => format!("forget {task}"),
        Effect::Send(FromAgent::Status { updates }) => {
            let one = |update: &crate::protocol::StatusUpdate| {
                format!("{}.{} {:?}", update.id.task, update.id.seq, update.status.state)
            };
            format!("tell {}", updates.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Effect::Send(FromAgent::Register(register)) => format!("register {} tasks", register.tasks.len()),
        Effect::Send(FromAgent::HeldPorts { ports }) => format!("held {ports}"),
        Effect::Send(FromAgent::Hindered { hindrances }) => {
            let why = format!("hindered {:?}", hindrances.all().collect::<Vec<_>>());
            let may_run: Vec<&str> = hindrances.may_run.iter().map(TaskId::as_str).collect();
            if may_run.is_empty() { why } else { format!("{why}, may run: {}", may_run.join(", ")) }
        }
        Effect::Send(FromAgent::Heartbeat { .. }) => "heartbeat".to_owned(),
        Effect::Disconnect(_) => "leave".to_owned(),
        Effect::Start { launch, check_ports } => {
            format!("start {}{}", launch.task, if *check_ports { "" } else { " again" })
        }
        Effect::GiveUpStart(task) => format!("give up start {task}"),
        Effect::Wait(handle) => format!("wait {}", handle.task),
        Effect::Stop { handle, grace } => format!("stop {} within {grace:?}", handle.task),
        Effect::Remove(handle) => format!("remove {}", handle.task),
        Effect::List => "list".to_owned(),
        Effect::StartChecks { handle, checks, is_new } => {
            format!("check {} {}{}", handle.task, checks.len(), if *is_new { "" } else { " again" })
        }
        Effect::StopChecks(task) => format!("no checks {task}"),
        Effect::After { delay, timer } => format!("after {delay:?} {timer:?}"),
        Effect::Warn(_) => "warn".to_owned(),
    }
}

#[test]
fn a_task_is_saved_before_it_is_started_and_told_once_it_runs() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.check(run, &["save a Staging", "start a", "after 1s SlowStart(a)"]);
    play.check(started("a"), &["save a Running", "tell a.1 Running", "wait a", "after 5s Resend"]);
    play.check(Input::Timer(Timer::SlowStart(TaskId::new("a"))), &[]);
}

#[test]
fn a_slow_start_is_told() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    play.check(
        Input::Timer(Timer::SlowStart(TaskId::new("a"))),
        &["save a Starting", "tell a.1 Starting", "after 5s Resend"],
    );
    play.check(started("a"), &["save a Running", "tell a.2 Running", "wait a"]);
}

#[test]
fn a_repeated_assignment_changes_nothing() {
    let mut play = Play::with_a_running(a_launch("a"));
    let again = play.run(a_launch("a"));
    play.check(again, &[]);
}

#[test]
fn an_older_list_of_the_same_term_is_ignored() {
    let mut play = Play::with_a_running(a_launch("a"));
    let old = FromMaster::Assign {
        fence: a_fence(5, 0),
        full: true,
        tasks: vec![Assignment::Stop { task: TaskId::new("a"), reason: String::new() }],
    };
    play.check(Input::Heard(old), &[]);
}

#[test]
fn a_leader_whose_term_is_over_is_left_and_moves_nothing() {
    let mut play = Play::with_a_running(a_launch("a"));
    let old = FromMaster::Assign {
        fence: a_fence(4, 999),
        full: true,
        tasks: vec![Assignment::Stop { task: TaskId::new("a"), reason: String::new() }],
    };
    play.check(Input::Heard(old), &["leave"]);
    assert_eq!(play.core.heeded().map(|fence| fence.term), Some(5));
}

#[test]
fn another_cluster_is_left_and_moves_nothing() {
    let mut play = Play::with_a_running(a_launch("a"));
    let fence = Fence { cluster: ClusterId::new("other"), epoch: 9, term: 9, index: 9 };
    let stop = Assignment::Stop { task: TaskId::new("a"), reason: String::new() };
    play.check(Input::Heard(FromMaster::Assign { fence, full: true, tasks: vec![stop] }), &["leave"]);
}

#[test]
fn a_new_term_is_saved_before_anything_is_done_for_it() {
    let mut play = Play::new();
    let assign = FromMaster::Assign {
        fence: a_fence(6, 0),
        full: true,
        tasks: vec![Assignment::Run(Box::new(a_launch("a")))],
    };
    play.check(Input::Heard(assign), &["save term 6", "save a Staging", "start a", "after 1s SlowStart(a)"]);
    assert_eq!(play.core.heeded(), Some(&a_fence(6, 0)));
}

#[test]
fn what_a_full_list_does_not_name_is_left_alone() {
    let mut play = Play::with_a_running(a_launch("a"));
    let empty = FromMaster::Assign { fence: a_fence(5, 99), full: true, tasks: Vec::new() };
    play.check(Input::Heard(empty), &["warn"]);
}

#[test]
fn the_end_is_told_until_acknowledged_then_cleaned_up_then_forgotten() {
    let mut play = Play::with_a_running(a_launch("a"));
    play.check(ended("a", code(0)), &["save a Finished", "tell a.2 Finished", "after 5s Resend"]);
    play.check(Input::Timer(Timer::Resend), &["tell a.2 Finished", "after 5s Resend"]);
    play.check(acknowledged("a", 1), &[]);
    play.check(acknowledged("a", 2), &["remove a"]);
    play.check(acknowledged("a", 2), &[]);
    play.check(Input::Removed { task: TaskId::new("a"), result: Ok(()) }, &["forget a"]);
    play.check(Input::Timer(Timer::Resend), &[]);
}

#[test]
fn a_late_word_does_not_start_a_forgotten_task_but_hears_of_its_end() {
    let mut play = Play::with_a_running(a_launch("a"));
    play.give(ended("a", code(0)));
    play.give(acknowledged("a", 2));
    play.give(Input::Removed { task: TaskId::new("a"), result: Ok(()) });
    let run = play.run(a_launch("a"));
    play.check(run, &["save a Finished", "tell a.1 Finished"]);
}

#[test]
fn ends_are_named_by_their_cause() {
    let check = |exit: Exit, state: &str, message: &str| {
        let mut play = Play::with_a_running(a_launch("a"));
        let told = play.give(ended("a", exit));
        assert_eq!(told.get(1), Some(&format!("tell a.2 {state}")));
        assert_eq!(play.saved.last().unwrap().status.message, message);
    };
    check(code(0), "Finished", "Command exited with status 0");
    check(code(3), "Failed", "Command exited with status 3");
    let signal = Exit { signal: Some(11), ..Exit::default() };
    check(signal, "Failed", "Command terminated with signal SIGSEGV");
    let memory = Exit { signal: Some(9), out_of_memory: true, ..Exit::default() };
    check(memory, "Failed", "Command ran out of memory: the limit is 0 MiB");
}

#[test]
fn a_vanished_task_is_lost() {
    let mut play = Play::with_a_running(a_launch("a"));
    let vanished = Input::Ended { task: TaskId::new("a"), result: Err(DriverError::Missing) };
    play.check(vanished, &["save a Lost", "tell a.2 Lost", "after 5s Resend"]);
}

#[test]
fn a_stop_is_told_before_it_is_done_and_done_once() {
    let mut play = Play::with_a_running(a_launch("a"));
    let stop = play.stop("a");
    play.check(stop, &["save a Killing", "tell a.2 Killing", "stop a within 3s", "after 5s Resend"]);
    let again = play.stop("a");
    play.check(again, &[]);
    play.check(Input::StopPassed { task: TaskId::new("a"), result: Ok(()) }, &[]);
    play.check(ended("a", code(0)), &["save a Killed", "tell a.3 Killed"]);
    assert_eq!(play.saved.last().unwrap().status.message, "unwanted");
}

#[test]
fn a_stop_during_the_start_waits_for_it() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    let stop = play.stop("a");
    play.check(stop, &["save a Killing", "tell a.1 Killing", "give up start a", "after 5s Resend"]);
    play.check(started("a"), &["save a Killing", "stop a within 3s", "wait a"]);
}

#[test]
fn a_start_that_was_given_up_ends_the_task_once_nothing_of_it_is_found() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    let stop = play.stop("a");
    play.give(stop);
    play.check(not_started("a", away()), &["stop a within 3s", "wait a"]);
    play.give(Input::StopPassed { task: TaskId::new("a"), result: Ok(()) });
    play.check(
        Input::Ended { task: TaskId::new("a"), result: Err(DriverError::Missing) },
        &["save a Killed", "tell a.2 Killed"],
    );
}

#[test]
fn a_stop_of_what_never_started_ends_it_once_the_driver_says_so() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    play.give(not_started("a", away()));
    let stop = play.stop("a");
    play.check(stop, &["save a Killing", "tell a.2 Killing", "stop a within 3s", "wait a"]);
    play.check(Input::Timer(Timer::Start(TaskId::new("a"))), &[]);
    play.check(
        Input::StopPassed { task: TaskId::new("a"), result: Err(away()) },
        &["warn", "after 1s Stop(a)"],
    );
    play.check(Input::Timer(Timer::Stop(TaskId::new("a"))), &["stop a within 3s"]);
    play.check(
        Input::Ended { task: TaskId::new("a"), result: Err(DriverError::Missing) },
        &["save a Killed", "tell a.3 Killed"],
    );
}

#[test]
fn a_stop_of_an_unknown_task_is_answered() {
    let mut play = Play::new();
    let stop = play.stop("a");
    play.check(stop, &["save a Killed", "tell a.1 Killed", "after 5s Resend"]);
    play.check(acknowledged("a", 1), &["remove a"]);
}

#[test]
fn a_refused_launch_fails_with_its_reason() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    let refused = DriverError::Refused("image 'x' does not exist".to_owned());
    play.check(not_started("a", refused), &["save a Failed", "tell a.1 Failed", "after 5s Resend"]);
    assert_eq!(play.saved.last().unwrap().status.message, "image 'x' does not exist");
}

#[test]
fn an_absent_driver_is_tried_again_less_and_less_often() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    play.check(
        not_started("a", away()),
        &[
            "save a Staging",
            "tell a.1 Staging",
            "warn",
            "after 5s GiveBack(a)",
            "after 500ms Start(a)",
            "after 5s Resend",
        ],
    );
    for delay in ["1s", "2s", "4s", "8s", "16s", "30s", "30s"] {
        play.check(Input::Timer(Timer::Start(TaskId::new("a"))), &["start a again"]);
        play.check(not_started("a", away()), &[&format!("after {delay} Start(a)")]);
    }
}

#[test]
fn a_running_task_is_untouched_while_its_driver_is_away() {
    let mut play = Play::with_a_running(a_launch("a"));
    let unknown = || Input::Ended { task: TaskId::new("a"), result: Err(away()) };
    play.check(unknown(), &["after 500ms Wait(a)"]);
    play.check(Input::Timer(Timer::Wait(TaskId::new("a"))), &["wait a"]);
}

#[test]
fn a_port_held_by_a_stranger_is_told_before_the_task_fails_for_it() {
    let mut play = Play::new();
    let ports = vec![PortBinding { host: 31000, container: 31000, transport: Transport::Tcp }];
    let resources = Resources { ports: PortRanges::of([31000]), ..Resources::default() };
    let run = play.run(TaskLaunch { ports, resources, ..a_launch("a") });
    play.give(run);
    let taken = vec![HeldPort { port: 31000, holder: Some("nginx, process 7".to_owned()) }];
    play.check(
        Input::PortsTaken { task: TaskId::new("a"), taken },
        &["save a Failed", "held [31000-31000]", "tell a.1 Failed", "after 5s Resend"],
    );
    let message = &play.saved.last().unwrap().status.message;
    assert!(message.contains("31000") && message.contains("nginx, process 7"), "{message}");
    play.check(Input::HeldPorts(PortRanges::of([31000])), &[]);
    play.check(Input::HeldPorts(PortRanges::default()), &["held []"]);
}

#[test]
fn ports_of_our_own_tasks_are_not_held_by_strangers() {
    let resources = Resources { ports: PortRanges::of([31000]), ..Resources::default() };
    let mut play = Play::with_a_running(TaskLaunch { resources, ..a_launch("a") });
    play.check(Input::HeldPorts(PortRanges::of([31000, 31001])), &["held [31001-31001]"]);
}

#[test]
fn health_is_told_when_it_changes() {
    let mut play = Play::with_a_running(a_checked_launch("a", HealthProtocol::Http, 0));
    play.check(probed(None), &["save a Running", "tell a.2 Running", "after 5s Resend"]);
    play.check(probed(None), &[]);
    play.check(probed(Some("no")), &["save a Running", "tell a.3 Running"]);
    assert!(!play.saved.last().unwrap().status.health[0].alive);
}

#[test]
fn a_task_that_fails_its_check_too_often_is_stopped() {
    let mut play = Play::with_a_running(a_checked_launch("a", HealthProtocol::Command, 1));
    play.give(probed(None));
    play.check(
        probed(Some("exit 1")),
        &["save a Killing", "tell a.3 Killing", "no checks a", "stop a within 3s"],
    );
    play.check(probed(Some("exit 1")), &[]);
    play.give(ended("a", code(143)));
    let message = &play.saved.last().unwrap().status.message;
    assert_eq!(message, "Task was killed since health check failed. Reason: exit 1");
}

#[test]
fn away_from_masters_nothing_stops_and_the_latest_news_is_kept() {
    let mut play = Play::with_a_running(a_checked_launch("a", HealthProtocol::Http, 0));
    play.check(Input::Disconnected, &[]);
    for _ in 0..50 {
        play.check(probed(None), &["save a Running"]);
        play.check(probed(Some("no")), &["save a Running"]);
    }
    assert_eq!(play.saved.last().unwrap().unacknowledged.len(), 1);
    play.check(Input::Connected, &["register 1 tasks"]);
    let fence = a_fence(5, 200);
    let welcome = FromMaster::Welcome { protocol: 1, fence, heartbeat_millis: 1000 };
    play.check(Input::Heard(welcome), &["hindered []", "tell a.101 Running", "after 5s Resend"]);
}

#[test]
fn what_keeps_it_from_starting_is_told_at_each_change_and_to_whoever_welcomes_it() {
    let mut play = Play::new();
    let full = || Input::DiskTried(DiskRoom::No("its disk\nis full".to_owned()));
    play.check(full(), &[r#"hindered ["its disk is full"]"#]);
    play.check(full(), &[]);
    let away = Input::EngineLooked(Some("docker does not answer".to_owned()));
    play.check(away, &[r#"hindered ["its disk is full", "docker does not answer"]"#]);
    play.check(Input::DiskTried(DiskRoom::Ample), &[r#"hindered ["docker does not answer"]"#]);
    play.check(Input::Disconnected, &[]);
    play.check(Input::EngineLooked(None), &[]);
    play.check(full(), &[]);
    play.check(Input::Connected, &["register 0 tasks"]);
    let welcome = FromMaster::Welcome { protocol: 1, fence: a_fence(5, 200), heartbeat_millis: 1000 };
    play.check(Input::Heard(welcome), &[r#"hindered ["its disk is full"]"#]);
}

#[test]
fn a_disk_that_was_full_needs_more_than_what_it_lacked() {
    let mut play = Play::new();
    let little = || Input::DiskTried(DiskRoom::Little("there is little".to_owned()));
    play.check(little(), &[]);
    let full = Input::DiskTried(DiskRoom::No("it is full".to_owned()));
    play.check(full, &[r#"hindered ["it is full"]"#]);
    play.check(little(), &[r#"hindered ["there is little"]"#]);
    play.check(little(), &[]);
    play.check(Input::DiskTried(DiskRoom::Ample), &["hindered []"]);
    play.check(little(), &[]);
}

#[test]
fn a_stranger_is_left_alone_until_it_is_named() {
    let mut play = Play::begun(Vec::new(), "boot");
    play.check(Input::Listed(Ok(vec![a_handle("a"), a_handle("b")])), &["warn", "warn"]);
    play.register();
    let run = play.run(a_launch("a"));
    play.check(run, &["save a Staging", "start a again", "after 1s SlowStart(a)"]);
    let stop = play.stop("b");
    play.check(
        stop,
        &["save b Killing", "tell b.1 Killing", "stop b within 3s", "wait b", "after 5s Resend"],
    );
}

#[test]
fn a_stop_waits_until_the_drivers_say_what_is_there() {
    let mut play = Play::begun(Vec::new(), "boot");
    play.check(Input::Listed(Err(away())), &["warn", "after 5s List"]);
    play.register();
    let stop = play.stop("a");
    play.check(stop, &[]);
    play.check(Input::Timer(Timer::List), &["list"]);
    play.check(
        Input::Listed(Ok(vec![a_handle("a")])),
        &["save a Killing", "tell a.1 Killing", "warn", "stop a within 3s", "wait a", "after 5s Resend"],
    );
}

#[test]
fn a_container_of_which_only_the_name_is_known_is_still_a_container() {
    let container = a_container("x");
    let launch = TaskLaunch { container: Some(container), ..a_launch("a") };
    let record = TaskRecord::accepted(launch, "boot", Timestamp::default());
    assert_eq!(record.handle_or_name().container.as_deref(), Some(""));
}

#[test]
fn an_agent_that_ends_with_its_tasks_stops_them_and_starts_no_more() {
    let mut play = Play::with_a_running(a_launch("a"));
    play.check(
        Input::StopAll,
        &["save a Killing", "tell a.2 Killing", "stop a within 3s", "after 5s Resend"],
    );
    let run = play.run(a_launch("b"));
    play.check(run, &[]);
}

#[test]
fn ids_that_cannot_name_files_are_refused() {
    for bad in ["../x", "", ".hidden", "a/b", "a b"] {
        let mut play = Play::new();
        let run = play.run(a_launch(bad));
        play.check(run, &["warn"]);
    }
}
