//! What must be true of a run, and the history it is judged by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use platformd::domain::TaskId;
use platformd::protocol::Fence;
use platformd::state::invariants::broken_invariants;
use platformd::state::{ClusterState, digest::digest};

/// A change that a client asked for.
#[derive(Clone, Debug)]
pub enum Write {
    Put { number: u64, instances: u64 },
    Delete,
}

impl Write {
    /// What the app would be: the number of its command, or nothing.
    fn outcome(&self) -> Option<u64> {
        match self {
            Self::Put { number, .. } => Some(*number),
            Self::Delete => None,
        }
    }
}

#[derive(Default)]
struct Inner {
    history: Vec<String>,
    /// When the latest step ended, for what happens between two.
    now: Duration,
    /// Latest acknowledged content per app.
    acknowledged: BTreeMap<String, Option<u64>>,
    /// Contents whose request never got an answer: they may be there, or come yet.
    open: BTreeMap<String, Vec<Option<u64>>>,
    /// State digest by index, and whichever master was first to show it.
    digests: BTreeMap<u64, (u64, String)>,
    /// The master that began to lead last, by term.
    leader: Option<Leader>,
    /// Epoch and term of the leader that each agent heeded last, over all its runs.
    heeded: BTreeMap<String, (u64, u64)>,
    failures: Vec<String>,
    requests: u64,
    acknowledgements: u64,
}

/// A master that began to lead.
#[derive(Clone, Debug)]
pub struct Leader {
    pub term: u64,
    pub host: String,
}

/// Collects what happens; shared by every part of a run.
#[derive(Clone, Default)]
pub struct Oracle(Arc<Mutex<Inner>>);

impl Oracle {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step of the simulation has ended.
    pub fn stepped(&self, now: Duration) {
        self.lock().now = now;
    }

    /// Writes a line of history.
    pub fn note(&self, what: &str) {
        let mut inner = self.lock();
        let at = turmoil::sim_elapsed().unwrap_or(inner.now);
        inner.history.push(format!("{at:?} {what}"));
    }

    /// Something that must not be.
    pub fn fail(&self, what: String) {
        self.note(&format!("BROKEN {what}"));
        self.lock().failures.push(what);
    }

    /// A client's change and its answer.
    pub fn wrote(&self, app: &str, write: Write, answer: Option<u16>) {
        self.note(&format!("{app} {write:?} -> {answer:?}"));
        let mut inner = self.lock();
        inner.requests += 1;
        let outcome = write.outcome();
        match answer {
            Some(200..=299) => {
                inner.acknowledgements += 1;
                inner.acknowledged.insert(app.to_owned(), outcome);
            }
            Some(400..=499) => {}
            _ => inner.open.entry(app.to_owned()).or_default().push(outcome),
        }
    }

    /// Every app that was ever written, and the steady one.
    pub fn apps(&self) -> Vec<String> {
        let inner = self.lock();
        let mut apps: Vec<String> = inner.acknowledged.keys().chain(inner.open.keys()).cloned().collect();
        apps.push(crate::client::STEADY.to_owned());
        apps.sort();
        apps.dedup();
        apps
    }

    /// N1, N2: the app is what was last acknowledged, or what an unanswered request asked for.
    pub fn check_final(&self, app: &str, found: Option<u64>) -> Result<(), String> {
        self.note(&format!("{app} is {found:?}"));
        if app == crate::client::STEADY {
            return if found == Some(0) { Ok(()) } else { Err(format!("{app} is {found:?}")) };
        }
        let inner = self.lock();
        let acknowledged = inner.acknowledged.get(app).copied();
        let open = inner.open.get(app).is_some_and(|open| open.contains(&found));
        if acknowledged == Some(found) || open || (acknowledged.is_none() && found.is_none()) {
            return Ok(());
        }
        Err(format!("acknowledged write lost: {app} is {found:?}, acknowledged was {acknowledged:?}"))
    }

    /// N12 and the state's own invariants, for a state that a master shows.
    pub fn saw_state(&self, master: &str, state: &ClusterState) {
        let broken = broken_invariants(state);
        if !broken.is_empty() {
            self.fail(format!("{master} at {}: {}", state.index, broken.join("; ")));
        }
        let digest = digest(state);
        let (first, by) = {
            let mut inner = self.lock();
            inner.digests.entry(state.index).or_insert_with(|| (digest, master.to_owned())).clone()
        };
        if first != digest {
            self.fail(format!("{master} differs at index {} from what {by} had there", state.index));
        }
    }

    /// A master says that it leads.
    pub fn saw_leader(&self, host: &str, term: u64) {
        if self.leader().is_none_or(|known| known.term < term) {
            self.note(&format!("{host} leads term {term}"));
            self.lock().leader = Some(Leader { term, host: host.to_owned() });
        }
    }

    /// The latest leader. It may be gone by now.
    pub fn leader(&self) -> Option<Leader> {
        self.lock().leader.clone()
    }

    /// Fencing: on whose word an agent acted last. Once a later leader was heeded no earlier
    /// one is, whatever happened to the agent meanwhile.
    pub fn saw_heeded(&self, agent: &str, fence: &Fence) {
        let said = (fence.epoch, fence.term);
        let known = self.lock().heeded.insert(agent.to_owned(), said);
        if known == Some(said) {
            return;
        }
        self.note(&format!("{agent} heeds term {} of epoch {}", fence.term, fence.epoch));
        if let Some((epoch, term)) = known.filter(|known| said < *known) {
            let now = format!("term {} of epoch {}", fence.term, fence.epoch);
            self.fail(format!("{agent} acts on {now} after it had heeded term {term} of epoch {epoch}"));
        }
    }

    /// Term of the leader that an agent heeded last.
    pub fn term_heeded(&self, agent: &str) -> Option<u64> {
        self.lock().heeded.get(agent).map(|(_, term)| *term)
    }

    /// N5: what runs now, by machine: no task twice, no instance with two attempts at once.
    pub fn saw_running(&self, running: &[(String, Vec<TaskId>)]) {
        let mut where_by_instance: BTreeMap<String, String> = BTreeMap::new();
        for (machine, tasks) in running {
            for task in tasks {
                let Some((instance, _)) = task.parts() else { continue };
                let place = format!("{task} on {machine}");
                if let Some(other) = where_by_instance.insert(instance.to_string(), place.clone()) {
                    self.fail(format!("two attempts of one instance run at once: {place} and {other}"));
                }
            }
        }
    }

    /// The first thing that must not have been.
    pub fn failure(&self) -> Option<String> {
        self.lock().failures.first().cloned()
    }

    /// Hash and size of the history.
    pub fn summary(&self) -> String {
        let inner = self.lock();
        let hash = inner
            .history
            .iter()
            .flat_map(|line| line.bytes())
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
        format!(
            "history {hash:016x} of {} lines, {} requests, {} acknowledged, {} states compared",
            inner.history.len(),
            inner.requests,
            inner.acknowledgements,
            inner.digests.len()
        )
    }

    /// The history, for people.
    pub fn history(&self) -> Vec<String> {
        self.lock().history.clone()
    }
}
