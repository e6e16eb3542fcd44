//! Three masters on simulated disks that forget what was not synced, crashed in turn:
//! nothing that was acknowledged is lost. The wide search is `tests/sim`; this is the
//! quorum alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt_tokio::TokioRuntime;
use turmoil::Sim;

use super::{RaftHandle, RaftSettings, start};
use crate::domain::AgentId;
use crate::line::Security;
use crate::state::{Command, digest};
use crate::store::{StateStore, View};
use crate::testkit::an_agent;
use crate::world::net::TcpListener;
use crate::world::{SystemClock, spawn};

/// What the outside knows.
#[derive(Default)]
struct Outside {
    acknowledged: Mutex<Vec<String>>,
    views: Mutex<BTreeMap<u64, View>>,
    next: AtomicU64,
}

fn register(name: &str) -> Vec<Command> {
    vec![an_agent(name).register()]
}

async fn answer_peers(raft: RaftHandle) -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:5050").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let raft = raft.clone();
        spawn(async move {
            if let Ok((line, _)) = Security::off().accept(stream).await {
                let _ = raft.serve(line).await;
            }
        });
    }
}

async fn a_master(host: u64, outside: Arc<Outside>) -> turmoil::Result {
    let masters = (1..=3).map(|n| format!("m{n}:5050")).collect();
    let mut settings =
        RaftSettings::new(PathBuf::from("/data"), masters, format!("m{host}:5050"), format!("m{host}:8080"));
    settings.snapshot_every = 40;
    settings.keep_behind_snapshot = 10;
    settings.segment_bytes = 16 << 10;
    let raft = start(settings, Arc::new(SystemClock)).await?;
    spawn(answer_peers(raft.clone()));
    let store = raft.store();
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(reason) = raft.failed().borrow().clone() {
            return Err(reason.into());
        }
        if store.leadership().borrow().leads {
            let name = format!("agent-{}", outside.next.fetch_add(1, Ordering::Relaxed));
            if store.propose(register(&name), None).await.is_ok() {
                outside.acknowledged.lock().unwrap().push(name);
            }
        }
        outside.views.lock().unwrap().insert(host, store.snapshot());
    }
}

fn pass(sim: &mut Sim<'_>, millis: u64) {
    for _ in 0..millis {
        sim.step().unwrap();
    }
}

/// Runs one history; gives the hash of the final state.
fn history(seed: u64) -> u64 {
    let outside = Arc::new(Outside::default());
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_micros(200))
        .max_message_latency(Duration::from_millis(4))
        .tcp_capacity(65_536);
    builder.fs().sync_probability(0.0);
    let mut sim = builder.build();
    for host in 1..=3 {
        let (outside, boots) = (Arc::clone(&outside), AtomicU64::new(0));
        sim.host(format!("m{host}"), move || {
            let boot = boots.fetch_add(1, Ordering::Relaxed);
            let chance = seed * 1000 + host * 100 + boot;
            DeterministicRng::<TokioRuntime>::scope(chance, a_master(host, Arc::clone(&outside)))
        });
    }
    pass(&mut sim, 2500);
    for round in 0..6 {
        let victim = format!("m{}", (seed + round) % 3 + 1);
        sim.crash(victim.clone());
        pass(&mut sim, 700);
        sim.bounce(victim);
        pass(&mut sim, 700);
    }
    pass(&mut sim, 2000);
    let acknowledged = outside.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 50, "only {} writes were acknowledged", acknowledged.len());
    let views = outside.views.lock().unwrap().clone();
    for (host, view) in &views {
        for name in acknowledged.iter().take(acknowledged.len() - 5) {
            assert!(view.agents.contains(&AgentId::new(name.as_str())), "m{host} lost {name}, seed {seed}");
        }
    }
    views.values().next().map_or(0, |view| digest::digest(view))
}

#[test]
fn nothing_acknowledged_is_lost_when_masters_crash_in_turn() {
    history(1);
}
