//! What goes wrong, and when: crashes, restarts and partitions of masters and agents, by seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use turmoil::Sim;

use crate::oracle::Oracle;

/// Steps of the simulation are milliseconds.
pub type Step = u64;

/// An agent comes back for at least so long before its next fault, so that it registers.
const AGENT_REST: Step = 5_000;

/// A fault under way.
enum Fault {
    Crash { host: String },
    Cut { host: String, others: Vec<String> },
}

/// Plans and undoes faults.
pub struct Faults {
    rng: StdRng,
    masters: Vec<String>,
    agents: Vec<String>,
    /// Longest outage of an agent.
    agent_outage_max: Step,
    under_way: Vec<(Step, Fault)>,
    next: Step,
    agents_free_from: Step,
    pub crashes: u32,
    pub cuts: u32,
}

impl Faults {
    pub fn new(seed: u64, masters: Vec<String>, agents: Vec<String>, agent_outage_max: Step) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed ^ 0x00fa_1175),
            masters,
            agents,
            agent_outage_max,
            under_way: Vec::new(),
            next: 0,
            agents_free_from: 0,
            crashes: 0,
            cuts: 0,
        }
    }

    /// Whether everything is healed.
    pub fn is_calm(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Undoes what is over, and with `go_on` begins something new when it is time.
    pub fn step(&mut self, sim: &mut Sim<'_>, step: Step, go_on: bool, oracle: &Oracle) {
        let (over, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.under_way).into_iter().partition(|(until, _)| *until <= step || !go_on);
        self.under_way = rest;
        for (_, fault) in over {
            undo(sim, &fault, oracle);
        }
        if go_on && step >= self.next {
            self.next = step + self.rng.random_range(300..2_500);
            if self.under_way.len() < 2 {
                self.begin(sim, step, oracle);
            }
        }
    }

    fn begin(&mut self, sim: &mut Sim<'_>, step: Step, oracle: &Oracle) {
        let pick_agent = self.rng.random_bool(0.35);
        if pick_agent && step < self.agents_free_from {
            return;
        }
        let hosts = if pick_agent { &self.agents } else { &self.masters };
        let at = self.rng.random_range(0..hosts.len());
        let host = hosts[at].clone();
        let is_down = self.under_way.iter().any(|(_, fault)| match fault {
            Fault::Crash { host: down } | Fault::Cut { host: down, .. } => *down == host,
        });
        if is_down {
            return;
        }
        let longest = if pick_agent { self.agent_outage_max } else { 3_000 };
        let until = step + self.rng.random_range(50..longest);
        if pick_agent {
            self.agents_free_from = until + AGENT_REST;
        }
        if self.rng.random_bool(0.5) {
            oracle.note(&format!("crash {host}"));
            sim.crash(host.as_str());
            self.crashes += 1;
            self.under_way.push((until, Fault::Crash { host }));
        } else {
            let others: Vec<String> = self.masters.iter().filter(|other| **other != host).cloned().collect();
            oracle.note(&format!("cut {host} from {others:?}"));
            for other in &others {
                sim.partition(host.as_str(), other.as_str());
            }
            self.cuts += 1;
            self.under_way.push((until, Fault::Cut { host, others }));
        }
    }
}

fn undo(sim: &mut Sim<'_>, fault: &Fault, oracle: &Oracle) {
    match fault {
        Fault::Crash { host } => {
            oracle.note(&format!("restart {host}"));
            sim.bounce(host.as_str());
        }
        Fault::Cut { host, others } => {
            oracle.note(&format!("heal {host}"));
            for other in others {
                sim.repair(host.as_str(), other.as_str());
            }
        }
    }
}
