//! What it costs to look which agents could be lost, and to play a what-if.
//!
//! `cargo bench --bench foresight` prints one table.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark may end at once"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use platformd::domain::{AgentId, DeploymentId, Strategy, Timestamp};
use platformd::forecast::{Budget, Course, Outcome, Rest, rebalance, survey};
use platformd::scheduler::Suspects;
use platformd::state::{ClusterState, Command};
use platformd::testkit::{an_agent, an_app};

/// As the binary allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 2] = [1_000, 10_000];
const TASKS_EACH: usize = 10;
const APPS: usize = 100;
const ROUNDS: usize = 3;

/// Agents in 40 racks with ten tasks each, of a hundred apps, every fifth spread over racks.
fn cluster(agents: usize) -> ClusterState {
    let mut course = Course::start(&ClusterState::default(), Suspects::new(), Timestamp::from_millis(1));
    let one = |at: usize| {
        an_agent(&format!("agent-{at:05}"))
            .cpus(16.0)
            .mem(65_536.0)
            .attribute("rack", &format!("r{}", at % 40))
            .register()
    };
    course.record((0..agents).map(one).collect());
    for at in 0..APPS {
        let each = u32::try_from(agents * TASKS_EACH / APPS).unwrap();
        let app = an_app(&format!("/app-{at:03}")).instances(each).cpus(1.0).mem(1_024.0);
        let app = if at % 5 == 0 { app.constraint("rack", "GROUP_BY", None) } else { app };
        let put = app.put(course.state(), DeploymentId::new(format!("d{at}")));
        course.record(vec![put]);
    }
    assert_eq!(course.play(&mut || true), Rest::Reached);
    let running = course.state().instances.values().filter(|row| row.is_live()).count();
    assert_eq!(running, agents * TASKS_EACH);
    course.state().clone()
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times.get(ROUNDS / 2).copied().unwrap()
}

fn main() {
    // Cargo's own arguments, such as --bench, are of no interest.
    println!("| {TASKS_EACH} tasks on each agent | agents | median of {ROUNDS} |");
    println!("|---|---|---|");
    for agents in SIZES {
        let state = cluster(agents);
        let none = Suspects::new();
        let (now, say) = (state.now, |what: &str, took: Duration| {
            println!("| {what} | {agents} | {:.1} ms |", took.as_secs_f64() * 1e3);
        });
        say(
            "a look at every agent",
            median(|| drop(survey(&state, &BTreeSet::new(), Strategy::default(), &mut || true).unwrap())),
        );
        let lose = || {
            let mut course = Course::start(&state, none.clone(), now);
            let agent = AgentId::new("agent-00000");
            course.record(vec![Command::MarkAgentUnreachable { agent, run: 1, since: now }]);
            let rest = course.play(&mut || true);
            assert_eq!(Outcome::of(&state, &none, &course, rest).moves.len(), TASKS_EACH);
        };
        say("a what-if: one agent is lost", median(lose));
        let budget = Budget { moves_max: 10, moves_per_app_max: 2 };
        say(
            "a rebalance plan",
            median(|| drop(rebalance(&state, &none, now, budget, Strategy::default(), &mut || true))),
        );
    }
}
