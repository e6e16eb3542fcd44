//! What goes wrong, and when: crashes, restarts and partitions of masters and agents, by seed.
//! Once in each run a leader is cut off for long, and an agent is driven back to it.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use turmoil::Sim;

use crate::oracle::{Leader, Oracle};

/// Steps of the simulation are milliseconds.
pub type Step = u64;

/// An agent comes back for at least so long before its next fault, so that it registers.
const AGENT_REST: Step = 5_000;

/// Longest outage of one master at random.
const MASTER_OUTAGE_MAX: Step = 3_000;

/// Faults at once, beyond which none begins at random.
const FAULTS_MAX: usize = 2;

/// When the leader is cut off from the other masters, from the begin of the faults.
const ISOLATED_AT: std::ops::Range<Step> = 500..6_000;
/// How long it is: much longer than agents take to give up a silent leader.
const ISOLATED_FOR: std::ops::Range<Step> = 8_000..12_000;
/// How long one agent does not reach it: a silent leader is left after 3.5 s.
const AGENT_LOSES_IT_FOR: std::ops::Range<Step> = 4_000..5_000;
/// How long that agent then does not reach the other masters; shorter than `--agent-timeout`.
const AGENT_LOSES_OTHERS_FOR: std::ops::Range<Step> = 4_000..5_000;

/// A fault under way.
enum Fault {
    Crash {
        host: String,
    },
    /// Nothing passes between `host` and `others`.
    Cut {
        host: String,
        others: Vec<String>,
    },
}

impl Fault {
    fn host(&self) -> &str {
        match self {
            Self::Crash { host } | Self::Cut { host, .. } => host,
        }
    }

    fn cuts(&self, one: &str, another: &str) -> bool {
        let Self::Cut { host, others } = self else { return false };
        let cuts = |from: &str, to: &str| host == from && others.iter().any(|other| other == to);
        cuts(one, another) || cuts(another, one)
    }
}

/// A leader that no other master hears for long although agents do; and one agent that loses
/// it, follows the next leader, and is then driven off from that, so that it may meet the old.
enum Isolation {
    /// Begins after so many steps of faults.
    After(Step),
    /// The agent is about to follow another leader.
    Of {
        leader: Leader,
        agent: String,
    },
    Done,
}

/// Plans and undoes faults.
pub struct Faults {
    rng: StdRng,
    masters: Vec<String>,
    agents: Vec<String>,
    /// Longest outage of an agent.
    agent_outage_max: Step,
    under_way: Vec<(Step, Fault)>,
    isolation: Isolation,
    began: Option<Step>,
    next: Step,
    agents_free_from: Step,
    pub crashes: u32,
    pub cuts: u32,
}

impl Faults {
    pub fn new(seed: u64, masters: Vec<String>, agents: Vec<String>, agent_outage_max: Step) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x00fa_1175);
        let isolation = Isolation::After(rng.random_range(ISOLATED_AT));
        Self {
            rng,
            masters,
            agents,
            agent_outage_max,
            under_way: Vec::new(),
            isolation,
            began: None,
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
            self.undo(sim, &fault, oracle);
        }
        if !go_on {
            return;
        }
        let began = *self.began.get_or_insert(step);
        self.isolate(sim, step, step - began, oracle);
        if step >= self.next {
            self.next = step + self.rng.random_range(300..2_500);
            if self.under_way.len() < FAULTS_MAX {
                self.begin(sim, step, oracle);
            }
        }
    }

    fn begin(&mut self, sim: &mut Sim<'_>, step: Step, oracle: &Oracle) {
        let pick_agent = self.rng.random_bool(0.35);
        if pick_agent && step < self.agents_free_from {
            return;
        }
        let host = self.pick(pick_agent);
        if self.is_faulty(&host) {
            return;
        }
        let longest = if pick_agent { self.agent_outage_max } else { MASTER_OUTAGE_MAX };
        let until = step + self.rng.random_range(50..longest);
        if pick_agent {
            self.agents_free_from = until + AGENT_REST;
        }
        if self.rng.random_bool(0.5) {
            self.crash(sim, host, until, oracle);
        } else {
            let others = self.masters_but(&host);
            self.cut(sim, host, others, until, oracle);
        }
    }

    /// Brings the isolation of a leader forward; `age` is how long faults have been going on.
    fn isolate(&mut self, sim: &mut Sim<'_>, step: Step, age: Step, oracle: &Oracle) {
        match &self.isolation {
            Isolation::After(at) if age >= *at => {
                let agent = self.pick(true);
                if let Some(leader) = oracle.leader().filter(|leader| !self.is_faulty(&leader.host))
                    && !self.is_faulty(&agent)
                {
                    self.cut_off(sim, step, leader, agent, oracle);
                }
            }
            Isolation::Of { leader, agent } => {
                let follows_another = oracle.term_heeded(agent).is_some_and(|term| term > leader.term);
                if !self.is_faulty(&leader.host) {
                    self.isolation = Isolation::Done;
                } else if follows_another {
                    let (old, agent) = (leader.host.clone(), agent.clone());
                    self.isolation = Isolation::Done;
                    self.drive_back(sim, step, &old, agent, oracle);
                }
            }
            Isolation::After(_) | Isolation::Done => {}
        }
    }

    fn cut_off(&mut self, sim: &mut Sim<'_>, step: Step, leader: Leader, agent: String, oracle: &Oracle) {
        let until = step + self.rng.random_range(ISOLATED_FOR);
        let agent_until = step + self.rng.random_range(AGENT_LOSES_IT_FOR);
        self.agents_free_from = self.agents_free_from.max(until + AGENT_REST);
        let others = self.masters_but(&leader.host);
        self.cut(sim, leader.host.clone(), others, until, oracle);
        self.cut(sim, agent.clone(), vec![leader.host.clone()], agent_until, oracle);
        self.isolation = Isolation::Of { leader, agent };
    }

    /// Takes the new leader from an agent: its line, or the leader itself, or the line while
    /// the agent restarts.
    fn drive_back(&mut self, sim: &mut Sim<'_>, step: Step, old: &str, agent: String, oracle: &Oracle) {
        let until = step + self.rng.random_range(AGENT_LOSES_OTHERS_FOR);
        self.agents_free_from = self.agents_free_from.max(until + AGENT_REST);
        let way = self.rng.random_range(0..3);
        if way == 0
            && let Some(new) = oracle.leader().filter(|new| new.host != old && !self.is_faulty(&new.host))
        {
            let until = step + self.rng.random_range(500..MASTER_OUTAGE_MAX);
            return self.crash(sim, new.host, until, oracle);
        }
        let others = self.masters_but(old);
        self.cut(sim, agent.clone(), others, until, oracle);
        if way == 1 {
            let back = step + self.rng.random_range(50..1_000);
            self.crash(sim, agent, back, oracle);
        }
    }

    fn crash(&mut self, sim: &mut Sim<'_>, host: String, until: Step, oracle: &Oracle) {
        oracle.note(&format!("crash {host}"));
        sim.crash(host.as_str());
        self.crashes += 1;
        self.under_way.push((until, Fault::Crash { host }));
    }

    fn cut(&mut self, sim: &mut Sim<'_>, host: String, others: Vec<String>, until: Step, oracle: &Oracle) {
        oracle.note(&format!("cut {host} from {others:?}"));
        for other in &others {
            sim.partition(host.as_str(), other.as_str());
        }
        self.cuts += 1;
        self.under_way.push((until, Fault::Cut { host, others }));
    }

    /// Undoes a fault that is under way no more, but for what another still cuts.
    fn undo(&self, sim: &mut Sim<'_>, fault: &Fault, oracle: &Oracle) {
        match fault {
            Fault::Crash { host } => {
                oracle.note(&format!("restart {host}"));
                sim.bounce(host.as_str());
            }
            Fault::Cut { host, others } => {
                oracle.note(&format!("heal {host}"));
                let is_free =
                    |other: &&String| !self.under_way.iter().any(|(_, still)| still.cuts(host, other));
                for other in others.iter().filter(is_free) {
                    sim.repair(host.as_str(), other.as_str());
                }
            }
        }
    }

    fn pick(&mut self, is_agent: bool) -> String {
        let hosts = if is_agent { &self.agents } else { &self.masters };
        let at = self.rng.random_range(0..hosts.len());
        hosts[at].clone()
    }

    fn is_faulty(&self, host: &str) -> bool {
        self.under_way.iter().any(|(_, fault)| fault.host() == host)
    }

    fn masters_but(&self, host: &str) -> Vec<String> {
        self.masters.iter().filter(|other| *other != host).cloned().collect()
    }
}
