//! Who is connected and when they last spoke. Soft state of the leader; lost with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::domain::AgentId;

/// What is known of an agent's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// A connection is open.
    Connected {
        /// When the agent last said anything.
        last_heard: Instant,
    },
    /// The connection was closed, so the agent's host lives.
    Closed {
        /// When it closed.
        since: Instant,
        /// When the agent last said anything.
        last_heard: Instant,
    },
    /// No connection since this master began to lead.
    Never,
}

struct Entry {
    /// Counts connections; a closed one only reports itself while it is the latest.
    generation: u64,
    contact: Contact,
    wake: Arc<Notify>,
    replaced: Arc<Notify>,
}

/// Connections of agents by id.
pub struct Sessions {
    entries: Mutex<BTreeMap<AgentId, Entry>>,
    /// The latest term in which agents registered here, and since when.
    listening: Mutex<Option<(u64, Instant)>>,
    changes: watch::Sender<u64>,
}

/// One open connection, as its session holds it.
pub(super) struct Open {
    pub(super) generation: u64,
    /// Rings when the state has news for the agent.
    pub(super) wake: Arc<Notify>,
    /// Rings when the agent opened a later connection.
    pub(super) replaced: Arc<Notify>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { entries: Mutex::default(), listening: Mutex::default(), changes: watch::channel(0).0 }
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AgentId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an agent's connection.
    pub fn contact(&self, agent: &AgentId) -> Contact {
        self.lock().get(agent).map_or(Contact::Never, |entry| entry.contact)
    }

    /// Rings at every connection that opens or closes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Since when agents register with this master in its `term`: from the first one on.
    pub(super) fn listening_since(&self, term: u64) -> Instant {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        match *listening {
            Some((known, since)) if known >= term => since,
            _ => listening.insert((term, Instant::now())).1,
        }
    }

    pub(super) fn open(&self, agent: &AgentId) -> Open {
        let mut entries = self.lock();
        let earlier = entries.remove(agent);
        let generation = earlier.as_ref().map_or(1, |entry| entry.generation + 1);
        if let Some(earlier) = earlier {
            earlier.replaced.notify_one();
        }
        let entry = Entry {
            generation,
            contact: Contact::Connected { last_heard: Instant::now() },
            wake: Arc::default(),
            replaced: Arc::default(),
        };
        let open = Open { generation, wake: Arc::clone(&entry.wake), replaced: Arc::clone(&entry.replaced) };
        entries.insert(agent.clone(), entry);
        drop(entries);
        self.changes.send_modify(|count| *count += 1);
        open
    }

    pub(super) fn heard(&self, agent: &AgentId, generation: u64) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(agent).filter(|entry| entry.generation == generation) else {
            return;
        };
        entry.contact = Contact::Connected { last_heard: Instant::now() };
    }

    pub(super) fn close(&self, agent: &AgentId, generation: u64, by_peer: bool) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(agent).filter(|entry| entry.generation == generation) else {
            return;
        };
        let Contact::Connected { last_heard } = entry.contact else { return };
        if by_peer {
            entry.contact = Contact::Closed { since: Instant::now(), last_heard };
        } // A line that we gave up says nothing about the host: the agent counts as silent.
        drop(entries);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn wake(&self, agent: &AgentId) {
        if let Some(entry) = self.lock().get(agent) {
            entry.wake.notify_one();
        }
    }
}
