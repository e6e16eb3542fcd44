//! The masters end to end: a POST of an app with very many instances, to all of them running
//! and readable, over agents that speak the real protocol from a process of their own.
//!
//! An app has 100,000 instances at most; for more several are posted.
//! `cargo bench --bench fleet` is small; the sizes of docs/performance.md are
//! `cargo bench --bench fleet -- --agents 10000 --instances 100000 --rounds 3` and
//! `cargo bench --bench fleet -- --agents 5000 --instances 1000000 --cpus 0.001 --restart`.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark may end at once"
)]

mod cluster;
mod crowd;
mod probe;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::{Cluster, ask, busy_us, cpu_us, memory_kib, metric, until};
use crowd::CrowdProcess;
use probe::Probe;
use serde_json::json;

/// Instances that one app may have.
const APP_INSTANCES_MAX: usize = 100_000;

/// Files that a process needs beside its connections.
const FILES_BESIDE: u64 = 200;

#[derive(Clone, Debug)]
struct Flags {
    agents: usize,
    instances: usize,
    masters: usize,
    rounds: usize,
    cpus: f64,
    agent_cpus: f64,
    starting: bool,
    restart: bool,
    deadline: u64,
    hold: u64,
}

fn usage() -> ! {
    eprintln!(
        "flags: --agents N (200)  --instances N (2000)  --masters N (3)  --rounds N (1)\n\
         --cpus X (0.01; what an instance takes)  --agent-cpus X (64; what an agent has)\n\
         --starting (agents tell TASK_STARTING first)  --restart (restart the masters at the end)\n\
         --deadline SECONDS (600)  --hold SECONDS (0; stay idle at the end of each round)"
    );
    std::process::exit(64)
}

impl Flags {
    fn read() -> Self {
        let mut flags = Self {
            agents: 200,
            instances: 2_000,
            masters: 3,
            rounds: 1,
            cpus: 0.01,
            agent_cpus: 64.0,
            starting: false,
            restart: false,
            deadline: 600,
            hold: 0,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut next = || words.next().unwrap_or_else(|| usage());
            match word.as_str() {
                "--agents" => flags.agents = next().parse().unwrap_or_else(|_| usage()),
                "--instances" => flags.instances = next().parse().unwrap_or_else(|_| usage()),
                "--masters" => flags.masters = next().parse().unwrap_or_else(|_| usage()),
                "--rounds" => flags.rounds = next().parse().unwrap_or_else(|_| usage()),
                "--cpus" => flags.cpus = next().parse().unwrap_or_else(|_| usage()),
                "--agent-cpus" => flags.agent_cpus = next().parse().unwrap_or_else(|_| usage()),
                "--deadline" => flags.deadline = next().parse().unwrap_or_else(|_| usage()),
                "--hold" => flags.hold = next().parse().unwrap_or_else(|_| usage()),
                "--starting" => flags.starting = true,
                "--restart" => flags.restart = true,
                "--bench" => {} // From cargo.
                _ => usage(),
            }
        }
        flags
    }
}

/// The kernel's limit on open files of this process and those that it starts.
fn files_max() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX)
}

fn main() {
    if let Some(config) = crowd::asked() {
        return crowd::simulate(&config);
    }
    let flags = Flags::read();
    let needed = flags.agents as u64 + FILES_BESIDE;
    if files_max() < needed {
        eprintln!(
            "the leader holds one connection per agent, and a process here may open {} files only; say \
             `ulimit -n {needed}` first, or ask for fewer --agents",
            files_max()
        );
        std::process::exit(69);
    }
    println!(
        "{} masters, {} agents, apps with {} instances in all, {} rounds",
        flags.masters, flags.agents, flags.instances, flags.rounds
    );
    let rounds: Vec<BTreeMap<&str, f64>> = (0..flags.rounds).map(|at| round(&flags, at)).collect();
    if rounds.len() > 1 {
        println!("\nmedians of {} rounds", rounds.len());
        for name in rounds[0].keys() {
            let mut values: Vec<f64> = rounds.iter().map(|round| round[name]).collect();
            values.sort_by(f64::total_cmp);
            println!("  {name:<44} {:>10.1}", values[values.len() / 2]);
        }
    }
}

/// One cluster from nothing to everything running; gives the figures by name.
fn round(flags: &Flags, at: usize) -> BTreeMap<&'static str, f64> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cluster = Cluster::start(dir.path(), flags.masters);
    until("a leader", Duration::from_secs(60), || cluster.leader().is_some());
    let mut crowd = CrowdProcess::start(&cluster.cluster, flags);
    let longest = Duration::from_secs(flags.deadline);
    let began = Instant::now();
    until("every agent registers", longest, || crowd.seen().registered == flags.agents as u64);
    println!(
        "\nround {}: {} agents registered in {:.1} s",
        at + 1,
        flags.agents,
        began.elapsed().as_secs_f64()
    );
    let leader = cluster.leader().expect("a leader");
    let pids: Vec<u32> = cluster.masters.iter().map(|master| master.0.id()).collect();
    let empty_kib = memory_kib(pids[leader], "VmRSS");
    let mut figures = idle(&cluster, leader, flags);

    let probe = Probe::start(cluster.http[leader].clone());
    let cpu: Vec<f64> = pids.iter().map(|pid| cpu_us(*pid)).collect();
    let (crowd_cpu, busy) = (cpu_us(crowd.pid()), busy_us());
    let own = cpu_us(std::process::id());
    let began = Instant::now();
    for (at, part) in (0..flags.instances).step_by(APP_INSTANCES_MAX).enumerate() {
        let instances = (flags.instances - part).min(APP_INSTANCES_MAX);
        let app = json!({"id": format!("/fleet-{at}"), "cmd": "sleep 1000000", "cpus": flags.cpus, "mem": 1,
            "disk": 0, "instances": instances, "portDefinitions": [], "requirePorts": false});
        let posted = ask(&cluster.http[leader], "POST", "/v2/apps", &app.to_string()).expect("POST");
        assert_eq!(posted.status, 201, "{}", posted.body);
    }
    let total = flags.instances as u64;
    let (mut half, mut launched) = (None, None);
    until("everything runs", longest, || {
        let seen = crowd.seen();
        if half.is_none() && seen.told * 2 >= total {
            half = Some(began.elapsed());
        }
        if launched.is_none() && seen.launched >= total {
            launched = Some(began.elapsed());
        }
        seen.told >= total
    });
    let told = began.elapsed();
    until("the API shows everything running", longest, || running(&cluster.http[leader]) == total);
    let took = began.elapsed();
    let spent: Vec<f64> = pids.iter().zip(&cpu).map(|(pid, before)| cpu_us(*pid) - before).collect();
    let crowd_spent = cpu_us(crowd.pid()) - crowd_cpu;
    let own_spent = cpu_us(std::process::id()) - own;
    let all = busy_us() - busy;
    let foreign = (all - spent.iter().sum::<f64>() - crowd_spent - own_spent) / took.as_micros() as f64;
    until("the deployment ends", longest, || deployments(&cluster.http[leader]) == 0);
    let settled = began.elapsed();
    let latencies = probe.stop();
    if cluster.leader() != Some(leader) {
        println!("  ANOTHER MASTER LEADS NOW: the figures of leader and follower are of both");
    }

    let per_task = |us: f64| us / total as f64;
    let followers: f64 =
        spent.iter().enumerate().filter(|(n, _)| *n != leader).map(|(_, us)| us).sum::<f64>()
            / (flags.masters.max(2) - 1) as f64;
    let seconds = |at: Duration| at.as_secs_f64();
    let log_bytes = metric(&cluster.http[leader], "platformd_log_size_bytes");
    println!(
        "  half told after {:.2} s, launched {:.2} s, told {:.2} s, readable {:.2} s, deployment over {:.2} s",
        seconds(half.unwrap_or_default()),
        seconds(launched.unwrap_or_default()),
        seconds(told),
        seconds(took),
        seconds(settled)
    );
    figures.insert("tasks/s, POST to all running and readable", total as f64 / seconds(took));
    figures.insert("leader CPU, us/task", per_task(spent[leader]));
    figures.insert("follower CPU, us/task", per_task(followers));
    figures.insert("agents' process CPU, us/task", per_task(crowd_spent));
    figures.insert("cores used by others", foreign);
    figures.insert("leader RSS at the end, MiB", memory_kib(pids[leader], "VmRSS") / 1024.0);
    figures.insert(
        "leader RSS grown, bytes/task",
        (memory_kib(pids[leader], "VmRSS") - empty_kib) * 1024.0 / total as f64,
    );
    figures.insert("leader RSS at its peak, MiB", memory_kib(pids[leader], "VmHWM") / 1024.0);
    figures.insert("log in memory, bytes/task", log_bytes / total as f64);
    figures.insert(
        "log on disk, bytes/task",
        folder_bytes(&cluster.data_dir(leader).join("log")) / total as f64,
    );
    figures.insert("snapshots written", metric(&cluster.http[leader], "platformd_snapshots_total"));
    figures.insert("small write in the storm, p50 ms", latencies.write_p50);
    figures.insert("small write in the storm, p99 ms", latencies.write_p99);
    figures.insert("small read in the storm, p50 ms", latencies.read_p50);
    figures.insert("small read in the storm, p99 ms", latencies.read_p99);
    figures.insert("small requests that failed", latencies.failed as f64);
    for (name, value) in &figures {
        println!("  {name:<44} {value:>10.1}");
    }
    if flags.hold > 0 {
        let _ = idle(&cluster, leader, flags);
        std::thread::sleep(Duration::from_secs(flags.hold));
    }
    crowd.check(&cluster.http[leader], total);
    if flags.restart {
        restart(&mut cluster, &mut crowd, total, flags);
    }
    figures
}

/// What the leader costs while agents only say that they live.
fn idle(cluster: &Cluster, leader: usize, flags: &Flags) -> BTreeMap<&'static str, f64> {
    let pid = cluster.masters[leader].0.id();
    let before = cpu_us(pid);
    let pause = Duration::from_secs(3);
    std::thread::sleep(pause);
    let share = (cpu_us(pid) - before) / pause.as_micros() as f64 * 100.0;
    println!("  idle leader with {} agents: {share:.1} % of a core", flags.agents);
    [("idle leader, % of a core", share)].into()
}

fn restart(cluster: &mut Cluster, crowd: &mut CrowdProcess, total: u64, flags: &Flags) {
    let leader = cluster.leader().expect("a leader");
    let http = cluster.http[leader].clone();
    println!(
        "  latest snapshot: {:.1} MiB in {:.2} s",
        metric(&http, "platformd_snapshot_size_bytes") / 1_048_576.0,
        metric(&http, "platformd_snapshot_last_write_seconds")
    );
    let led = cluster.restart();
    let leader = cluster.leader().expect("a leader");
    let began = Instant::now();
    until("the API shows everything running", Duration::from_secs(120), || {
        running(&cluster.http[leader]) == total
    });
    let readable = led + began.elapsed();
    let agents = flags.agents as u64;
    until("every agent is back", Duration::from_secs(120), || crowd.seen().registered == agents);
    println!(
        "  restart of all masters: led after {:.2} s, readable {:.2} s, every agent back {:.2} s; leader {:.0} MiB",
        led.as_secs_f64(),
        readable.as_secs_f64(),
        (led + began.elapsed()).as_secs_f64(),
        memory_kib(cluster.masters[leader].0.id(), "VmRSS") / 1024.0
    );
}

/// Tasks of the apps that run, as the API counts them.
fn running(http: &str) -> u64 {
    let answer = ask(http, "GET", "/v2/apps?id=fleet", "").ok();
    let apps = answer.and_then(|answer| answer.json()["apps"].as_array().cloned()).unwrap_or_default();
    apps.iter().filter_map(|app| app["tasksRunning"].as_u64()).sum()
}

fn deployments(http: &str) -> usize {
    let answer = ask(http, "GET", "/v2/deployments", "").ok();
    let mut all = answer.and_then(|answer| answer.json().as_array().cloned()).unwrap_or_default();
    let is_ours = |app: &serde_json::Value| app.as_str().is_some_and(|app| app.starts_with("/fleet"));
    all.retain(|deployment| is_ours(&deployment["affectedApps"][0]));
    all.len()
}

fn folder_bytes(folder: &std::path::Path) -> f64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len() as f64).sum()
}
