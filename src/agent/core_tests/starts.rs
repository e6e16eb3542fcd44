//! Starts that cannot begin: waited for, given back, or kept because something may be there.

use super::*;

fn ring(timer: fn(TaskId) -> Timer) -> Input {
    Input::Timer(timer(TaskId::new("a")))
}

/// With the start of `a` under way.
fn starting() -> Play {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    play
}

#[test]
fn a_start_that_nobody_heard_of_is_given_back_with_its_cause() {
    let mut play = starting();
    play.give(not_started("a", unreachable()));
    play.check(ring(Timer::Start), &["start a"]);
    play.check(not_started("a", unreachable()), &["after 1s Start(a)"]);
    play.check(ring(Timer::GiveBack), &["save a Failed", "tell a.2 Failed", "warn"]);
    let message = &play.saved.last().unwrap().status.message;
    assert!(
        message.contains("5s") && message.contains("docker, which does not answer: no socket"),
        "{message}"
    );
    play.check(ring(Timer::Start), &[]);
}

#[test]
fn a_start_under_way_is_given_back_only_once_it_has_failed() {
    let mut play = starting();
    play.give(not_started("a", unreachable()));
    play.give(ring(Timer::Start));
    play.check(ring(Timer::GiveBack), &[]);
    play.check(not_started("a", unreachable()), &["save a Failed", "tell a.2 Failed", "warn"]);

    let mut play = starting();
    play.give(not_started("a", unreachable()));
    play.give(ring(Timer::Start));
    play.give(ring(Timer::GiveBack));
    play.check(started("a"), &["save a Running", "tell a.2 Running", "wait a"]);
}

#[test]
fn a_start_that_may_have_been_heard_is_never_given_back() {
    let mut play = starting();
    play.give(not_started("a", away()));
    play.check(ring(Timer::GiveBack), &[]);
    play.check(ring(Timer::Start), &["start a again"]);
    play.check(
        not_started("a", unreachable()),
        &["save a Staging", "tell a.2 Staging", "warn", "after 1s Start(a)"],
    );
    play.check(ring(Timer::GiveBack), &[]);
}

#[test]
fn a_start_of_an_earlier_run_of_the_agent_is_never_given_back() {
    let record = TaskRecord::accepted(a_launch("a"), "boot", Timestamp::default());
    let mut play = Play::begun(vec![record], "boot");
    play.give(Input::Began);
    play.give(not_started("a", unreachable()));
    play.check(ring(Timer::GiveBack), &[]);
}

#[test]
fn before_the_drivers_say_what_is_there_nothing_is_given_back() {
    let mut play = Play::begun(Vec::new(), "boot");
    play.register();
    let run = play.run(a_launch("a"));
    play.give(run);
    play.give(not_started("a", unreachable()));
    play.check(ring(Timer::GiveBack), &[]);
}

#[test]
fn what_nothing_was_made_of_is_stopped_at_once() {
    let mut play = starting();
    play.give(not_started("a", unreachable()));
    let stop = play.stop("a");
    play.check(stop, &["save a Killed", "tell a.2 Killing, a.3 Killed"]);

    let mut play = starting();
    let stop = play.stop("a");
    play.give(stop);
    play.check(not_started("a", unreachable()), &["save a Killed", "tell a.2 Killed"]);
}

#[test]
fn a_start_without_room_for_its_record_waits_and_is_given_back() {
    let mut play = starting();
    let no_room = || Input::NoRoom { task: TaskId::new("a"), reason: "its disk is full".to_owned() };
    play.give(no_room());
    play.check(ring(Timer::GiveBack), &["save a Failed", "tell a.2 Failed", "warn"]);
    let message = &play.saved.last().unwrap().status.message;
    assert!(message.contains("its disk is full"), "{message}");
}

#[test]
fn what_runs_and_cannot_tell_so_for_want_of_room_is_named() {
    let mut play = starting();
    let full = || Input::DiskTried(DiskRoom::No("its disk is full".to_owned()));
    play.check(full(), &[r#"hindered ["its disk is full"]"#]);
    let up =
        [r#"hindered ["its disk is full"], may run: a"#, "tell a.1 Running", "wait a", "after 5s Resend"];
    play.check(started("a"), &[&["save a Running"], up.as_slice()].concat());
    play.check(full(), &[]);
    let heard = acknowledged("a", 1);
    play.check(heard, &[r#"hindered ["its disk is full"]"#]);
}

#[test]
fn what_an_earlier_run_may_have_started_is_not_said_to_wait_for_its_start() {
    let record = TaskRecord::accepted(a_launch("a"), "boot", Timestamp::default());
    let mut play = Play::begun(vec![record], "boot");
    play.register();
    play.give(Input::Began);
    let no_room = Input::NoRoom { task: TaskId::new("a"), reason: "its disk is full".to_owned() };
    play.give(no_room);
    let message = &play.saved.last().unwrap().status.message;
    assert!(message.contains("room for its record"), "{message}");
    let full = Input::DiskTried(DiskRoom::No("its disk is full".to_owned()));
    play.check(full, &[r#"hindered ["its disk is full"], may run: a"#]);
    play.check(Input::DiskTried(DiskRoom::Ample), &["hindered []", "start a again"]);
}

#[test]
fn starts_and_stops_are_tried_at_once_when_the_engine_is_back() {
    let container = a_container("x");
    let in_container = |task: &str| TaskLaunch { container: Some(container.clone()), ..a_launch(task) };
    let mut play = Play::with_a_running(in_container("a"));
    let run = play.run(in_container("b"));
    play.give(run);
    play.give(Input::EngineLooked(Some("away".to_owned())));
    play.give(not_started("b", unreachable()));
    let stop = play.stop("a");
    play.give(stop);
    play.give(Input::StopPassed { task: TaskId::new("a"), result: Err(away()) });
    play.check(Input::EngineLooked(None), &["hindered []", "stop a within 3s", "start b"]);
    play.check(Input::EngineLooked(None), &[]);
    play.give(started("b"));
    play.check(Input::Timer(Timer::Start(TaskId::new("b"))), &[]);
    play.check(ring(Timer::Stop), &[]);
}
