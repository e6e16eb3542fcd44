//! What an agent makes of its records when it starts again.

use super::*;

/// The record of a task in the state that `play` brings it to.
fn remembered(play: &Play) -> TaskRecord {
    play.saved.last().unwrap().clone()
}

#[test]
fn after_a_restart_running_tasks_are_waited_for_and_unfinished_starts_repeated() {
    let mut play = Play::new();
    let run = play.run(a_checked_launch("a", HealthProtocol::Http, 3));
    play.give(run);
    play.give(started("a"));
    let a = remembered(&play);
    let run = play.run(a_launch("b"));
    play.give(run);
    let b = remembered(&play);
    let mut later = Play::begun(vec![a, b], "boot");
    later.check(
        Input::Began,
        &["save b Staging", "check a 1 again", "wait a", "start b again", "after 1s SlowStart(b)", "list"],
    );
}

#[test]
fn after_a_restart_a_stop_under_way_goes_on() {
    let mut play = Play::with_a_running(a_launch("a"));
    let stop = play.stop("a");
    play.give(stop);
    let mut later = Play::begun(vec![remembered(&play)], "boot");
    later.check(Input::Began, &["stop a within 3s", "wait a", "list"]);
}

#[test]
fn after_a_reboot_processes_are_gone_and_containers_are_asked() {
    let mut play = Play::new();
    let run = play.run(a_launch("a"));
    play.give(run);
    play.give(started("a"));
    let mut a = remembered(&play);
    let mut later = Play::begun(vec![a.clone()], "boot-2");
    later.check(Input::Began, &["save a Lost", "list"]);
    assert_eq!(later.saved.last().unwrap().status.message, "the machine was restarted");

    a.handle = Some(TaskHandle { container: Some("id".to_owned()), ..a_handle("a") });
    let mut later = Play::begun(vec![a], "boot-2");
    later.check(Input::Began, &["wait a", "list"]);
    later.check(ended("a", code(137)), &["save a Lost"]);
}
