//! One run: three masters, three agents, a client, and what befalls them, by seed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use platformd::agent::driver::fake::FakeMachine;
use platformd::agent::{AgentHome, AgentSettings, AgentView};
use platformd::daemon::agent::Means;
use platformd::daemon::master::MasterConfig;
use platformd::daemon::{agent, master};
use platformd::domain::{Attributes, PortRanges, Resources, Scalar, TaskId};
use platformd::leader::LivenessLimits;
use platformd::line::Security;
use platformd::raft::RaftSettings;
use platformd::world::net::TcpListener;
use platformd::world::{SystemClock, mutation};

use crate::client;
use crate::faults::{Faults, Step};
use crate::oracle::Oracle;

/// Machines with agents.
const AGENTS: usize = 3;

/// Faults go on for at least this long, however fast the client is.
const FAULTS_MIN: Step = 25_000;

/// From the end of all faults until everything must be as wanted. Promise N8.
const CONVERGE_MAX: Step = 60_000;

/// Between two looks at what runs.
const LOOK_EVERY: Step = 20;

/// Outages of agents in runs that demand that nothing moves: shorter than `--agent-timeout`.
const SHORT_OUTAGE: Step = 5_000;
/// Outages of agents in runs in which tasks are replaced.
const LONG_OUTAGE: Step = 25_000;

/// Plants a fault that the checks have to find.
pub fn plant(mutant: Option<&str>) {
    match mutant {
        None => {}
        Some("no-fsync") => mutation::SKIP_FSYNC.store(true, Ordering::Relaxed),
        Some("no-term-check") => mutation::SKIP_TERM_CHECK.store(true, Ordering::Relaxed),
        Some(other) => panic!("--mutant takes no-fsync or no-term-check, not {other}"),
    }
}

/// A machine that runs tasks, and what its agent lets others see.
struct Machine {
    name: String,
    tasks: Arc<FakeMachine>,
    /// Of the agent's latest run.
    view: Mutex<Option<Arc<AgentView>>>,
}

impl Machine {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), tasks: FakeMachine::new(), view: Mutex::default() })
    }

    fn show(&self, view: &Arc<AgentView>) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(view));
    }

    /// Tells on whose word the agent acted last.
    fn look(&self, oracle: &Oracle) {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(fence) = view.and_then(|view| view.heeded()) {
            oracle.saw_heeded(&self.name, &fence);
        }
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("{prefix}{n}")).collect()
}

/// Runs a seed; gives its summary, or the first thing that must not have been.
pub fn run(seed: u64) -> Result<String, String> {
    let oracle = Oracle::default();
    let result = run_with(seed, &oracle);
    if std::env::var_os("HISTORY").is_some() {
        oracle.history().iter().for_each(|line| eprintln!("{line}"));
    }
    result
}

fn run_with(seed: u64, oracle: &Oracle) -> Result<String, String> {
    let moves_tasks = seed % 2 == 1;
    let outage = if moves_tasks { LONG_OUTAGE } else { SHORT_OUTAGE };
    let masters = names("master", 3);
    let agents = names("agent", AGENTS);
    let machines: Vec<Arc<Machine>> = agents.iter().map(|name| Machine::new(name)).collect();
    let mut sim = build(seed);
    for (n, name) in masters.iter().enumerate() {
        add_master(&mut sim, seed, n, name, &masters, oracle);
    }
    for (n, machine) in machines.iter().enumerate() {
        add_agent(&mut sim, seed, n, machine, &masters);
    }
    let phase = Arc::new(Phase::default());
    add_client(&mut sim, seed, &masters, oracle, &phase);

    let mut faults = Faults::new(seed, masters.clone(), agents.clone(), outage);
    let mut healed_at: Option<Step> = None;
    let mut began_at: Option<Step> = None;
    for step in 0.. {
        let is_done = sim.step().map_err(|error| error.to_string())?;
        oracle.stepped(sim.elapsed());
        // At every step: an agent that goes astray may find its way back soon.
        machines.iter().for_each(|machine| machine.look(oracle));
        if step % LOOK_EVERY == 0 {
            look(oracle, &machines);
        }
        if let Some(failure) = oracle.failure() {
            return Err(failure);
        }
        if is_done {
            break;
        }
        if began_at.is_none() && phase.begun.load(Ordering::Relaxed) {
            began_at = Some(step);
        }
        let Some(began) = began_at else {
            if step > CONVERGE_MAX {
                return Err("the cluster did not come up".to_owned());
            }
            continue;
        };
        let go_on = !phase.meddled.load(Ordering::Relaxed) || step < began + FAULTS_MIN;
        faults.step(&mut sim, step, go_on, oracle);
        if !go_on && faults.is_calm() && healed_at.is_none() {
            healed_at = Some(step);
            phase.healed.store(true, Ordering::Relaxed);
            oracle.note("healed");
        }
        if healed_at.is_some_and(|healed| step > healed + CONVERGE_MAX) {
            return Err(format!("not as wanted {CONVERGE_MAX} ms after the last fault"));
        }
    }
    check_steady(&machines, moves_tasks)?;
    Ok(format!("seed {seed}: {}, {} crashes, {} cuts", oracle.summary(), faults.crashes, faults.cuts))
}

#[derive(Default)]
struct Phase {
    begun: AtomicBool,
    meddled: AtomicBool,
    healed: AtomicBool,
}

fn build(seed: u64) -> turmoil::Sim<'static> {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_millis(8))
        .tcp_capacity(65_536);
    builder.fs().sync_probability(0.0);
    builder.build()
}

type Chance = DeterministicRng<TokioRuntime>;

/// Chance of one start of one host.
fn chance_of(seed: u64, host: u64, boot: &AtomicU64) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(host * 1_000).wrapping_add(boot.fetch_add(1, Ordering::Relaxed))
}

fn add_master(
    sim: &mut turmoil::Sim<'_>,
    seed: u64,
    n: usize,
    name: &str,
    masters: &[String],
    oracle: &Oracle,
) {
    let boots = AtomicU64::new(0);
    let (name, oracle) = (name.to_owned(), oracle.clone());
    let listed: Vec<String> = masters.iter().map(|master| format!("{master}:5050")).collect();
    sim.host(name.clone(), move || {
        let (name, oracle, listed) = (name.clone(), oracle.clone(), listed.clone());
        Chance::scope(chance_of(seed, n as u64, &boots), async move {
            let raft = RaftSettings {
                snapshot_every: 100,
                keep_behind_snapshot: 20,
                segment_bytes: 64 << 10,
                ..RaftSettings::new("/data".into(), listed, format!("{name}:5050"), format!("{name}:8080"))
            };
            let config = MasterConfig {
                raft,
                http: TcpListener::bind("0.0.0.0:8080").await?,
                cluster: TcpListener::bind("0.0.0.0:5050").await?,
                strategy: Default::default(),
                liveness: LivenessLimits::default(),
                raft_runtime: None,
                credentials: None,
                ready: Arc::new(AlwaysReady),
            };
            let running = master::start(config, Arc::new(SystemClock)).await?;
            let mut failed = running.failed();
            let mut applied = running.store.applied();
            let mut leadership = running.store.leadership();
            loop {
                tokio::select! {
                    changed = applied.changed() => changed?,
                    changed = leadership.changed() => {
                        changed?;
                        let now = leadership.borrow().clone();
                        if now.leads {
                            oracle.saw_leader(&name, now.term);
                        }
                        continue;
                    }
                    reason = failed.wait_for(Option::is_some) => {
                        let reason = reason.map(|reason| reason.clone().unwrap_or_default()).unwrap_or_default();
                        oracle.fail(format!("{name} cannot go on: {reason}"));
                        return Ok(());
                    }
                }
                oracle.saw_state(&name, &running.store.snapshot());
            }
        })
    });
}

struct AlwaysReady;

impl platformd::api::Readiness for AlwaysReady {
    fn missing(&self) -> Option<String> {
        None
    }
}

fn add_agent(sim: &mut turmoil::Sim<'_>, seed: u64, n: usize, machine: &Arc<Machine>, masters: &[String]) {
    let boots = AtomicU64::new(0);
    let machine = Arc::clone(machine);
    let masters: Vec<String> = masters.iter().map(|master| format!("{master}:5050")).collect();
    sim.host(machine.name.clone(), move || {
        let (machine, masters) = (Arc::clone(&machine), masters.clone());
        Chance::scope(chance_of(seed, 100 + n as u64, &boots), async move {
            let home = AgentHome::open(Path::new("/data"), &SystemClock)?;
            let settings = AgentSettings {
                masters,
                security: Security::off(),
                hostname: machine.name.clone(),
                http: String::new(),
                probe_host: "127.0.0.1".to_owned(),
                totals: Resources {
                    cpus: Scalar::from_thousandths(8_000),
                    mem: Scalar::from_thousandths(8_000_000),
                    ports: PortRanges::new([(31_000, 31_200)]),
                    ..Resources::default()
                },
                reserved: Default::default(),
                attributes: Attributes::new(),
                has_docker: true,
                version: "simulated".to_owned(),
                boot_id: format!("{}-boot", machine.name),
                stop_tasks_on_shutdown: false,
            };
            let means =
                Means { driver: Arc::new(machine.tasks.driver()), ports: None, clock: Arc::new(SystemClock) };
            let running = agent::start(home, settings, means)?;
            machine.show(&running.view);
            std::future::pending::<turmoil::Result>().await
        })
    });
}

fn add_client(
    sim: &mut turmoil::Sim<'_>,
    seed: u64,
    masters: &[String],
    oracle: &Oracle,
    phase: &Arc<Phase>,
) {
    let (masters, oracle, phase) = (masters.to_vec(), oracle.clone(), Arc::clone(phase));
    let people = async move {
        client::begin(&masters, &oracle).await;
        phase.begun.store(true, Ordering::Relaxed);
        client::meddle(&masters, &oracle).await;
        phase.meddled.store(true, Ordering::Relaxed);
        while !phase.healed.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client::settle(&masters, &oracle).await?;
        // All masters see the same end before the run does.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    };
    sim.client("people", Chance::scope(chance_of(seed, 900, &AtomicU64::new(0)), people));
}

fn look(oracle: &Oracle, machines: &[Arc<Machine>]) {
    let tasks =
        |machine: &Machine| machine.tasks.running().into_iter().map(|launch| launch.task).collect::<Vec<_>>();
    let running: Vec<(String, Vec<TaskId>)> =
        machines.iter().map(|machine| (machine.name.clone(), tasks(machine))).collect();
    oracle.saw_running(&running);
}

/// N6: tasks of the app that nobody touched run on; where no agent was away for long they
/// are the very first attempts.
fn check_steady(machines: &[Arc<Machine>], moves_tasks: bool) -> Result<(), String> {
    let steady: Vec<TaskId> = machines
        .iter()
        .flat_map(|machine| machine.tasks.running())
        .filter(|launch| launch.app == client::STEADY)
        .map(|launch| launch.task)
        .collect();
    if steady.len() as u64 != client::STEADY_INSTANCES {
        return Err(format!("the steady app has {} tasks: {steady:?}", steady.len()));
    }
    let started: u32 = machines.iter().map(|machine| machine.tasks.starts_of(client::STEADY)).sum();
    if !moves_tasks && u64::from(started) != client::STEADY_INSTANCES {
        return Err(format!("tasks of the steady app were started {started} times without need"));
    }
    Ok(())
}
