//! The simulator: whole clusters under simulated time, network and disk.
//!
//! `cargo test --profile sim --features sim --test sim` runs the seeds of every day;
//! `... --test sim -- --seeds 1000..2000` as many as wished, `-- --seed 7` one of them, with
//! `HISTORY=1` in its environment its history too. `--mutant no-fsync` or `--mutant no-term-check`
//! plants a fault: then the command succeeds when some seed finds it. Every seed runs in a
//! process of its own: parts of the runtime keep process-wide chance.

mod client;
mod faults;
mod oracle;
mod world;

use std::collections::VecDeque;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

/// Seeds of the test command: enough to meet every kind of fault many times.
const SEEDS: std::ops::Range<u64> = 0..50;

/// Seeds that run twice, to show that they give the same history.
const TWICE: u64 = 6;

struct Options {
    seeds: std::ops::Range<u64>,
    mutant: Option<String>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let mutant = value("--mutant");
    if let Some(seed) = value("--seed") {
        return run_here(seed.parse().expect("--seed takes a number"), mutant.as_deref());
    }
    let seeds = value("--seeds").map_or(SEEDS, |range| {
        let (from, to) = range.split_once("..").expect("--seeds takes FROM..TO");
        from.parse().expect("a number")..to.parse().expect("a number")
    });
    run_many(&Options { seeds, mutant })
}

/// Runs one seed in this process and prints what came of it.
fn run_here(seed: u64, mutant: Option<&str>) -> ExitCode {
    world::plant(mutant);
    match world::run(seed) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("FAILED seed {seed}: {failure}");
            ExitCode::FAILURE
        }
    }
}

struct Running {
    seed: u64,
    child: Child,
}

fn spawn(seed: u64, mutant: Option<&str>) -> Running {
    let me = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(me);
    command.args(["--seed", &seed.to_string()]);
    if let Some(mutant) = mutant {
        command.args(["--mutant", mutant]);
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn a seed");
    Running { seed, child }
}

/// What one seed printed, and whether it passed.
fn finish(running: Running) -> (u64, bool, String) {
    let output = running.child.wait_with_output().expect("a seed ends");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return (running.seed, true, text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let panic: Vec<&str> = errors.lines().filter(|line| !line.trim().is_empty()).take(4).collect();
    (running.seed, false, format!("{text} {}", panic.join(" | ")))
}

fn run_many(options: &Options) -> ExitCode {
    let began = Instant::now();
    let mutant = options.mutant.as_deref();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let mut todo: VecDeque<u64> = options.seeds.clone().collect();
    let again: Vec<u64> = options.seeds.clone().take(usize::try_from(TWICE).unwrap_or(0)).collect();
    todo.extend(&again);
    let mut running = VecDeque::new();
    let mut seen: std::collections::BTreeMap<u64, String> = std::collections::BTreeMap::new();
    let (mut passed, mut failed, mut same) = (0u64, 0u64, 0u64);
    while !todo.is_empty() || !running.is_empty() {
        while running.len() < workers
            && let Some(seed) = todo.pop_front()
        {
            running.push_back(spawn(seed, mutant));
        }
        let Some(next) = running.pop_front() else { continue };
        let (seed, is_good, text) = finish(next);
        match seen.get(&seed) {
            Some(first) if *first == text => same += 1,
            // A panic names its thread, which differs; the seed was told of already.
            Some(_) if !is_good => {}
            Some(first) => {
                failed += 1;
                println!("seed {seed} told two histories:\n  {first}\n  {text}");
            }
            None => {
                if is_good {
                    passed += 1;
                } else {
                    failed += 1;
                    println!(
                        "seed {seed}: {text}\n  again: cargo test --profile sim --features sim --test sim -- --seed {seed}"
                    );
                }
                seen.insert(seed, text);
            }
        }
    }
    let took = began.elapsed();
    let runs = passed + failed + same;
    let per_run = took.as_secs_f64() / f64::from(u32::try_from(runs.max(1)).unwrap_or(u32::MAX));
    println!(
        "simulator: {runs} runs in {took:.1?}, {per_run:.2} s each; {same} seeds told the same history twice"
    );
    println!("{passed} passed, {failed} failed");
    let is_well = match mutant {
        None => failed == 0,
        Some(mutant) if failed > 0 => {
            println!("{mutant} was found");
            true
        }
        Some(mutant) => {
            println!("{mutant} was NOT found");
            false
        }
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
