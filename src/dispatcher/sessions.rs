//! Who is connected and when they last spoke. Soft state of the leader; lost with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::domain::{AgentId, InstanceId};

/// Instances that wait to be looked at for one agent; beyond it the agent is looked at whole.
const CHANGED_MAX: usize = 4_096;

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
    heard: Arc<Heard>,
    news: Arc<News>,
    replaced: Arc<Notify>,
}

impl Entry {
    fn new(generation: u64) -> Self {
        Self { generation, heard: Heard::now(), news: Arc::default(), replaced: Arc::default() }
    }
}

/// What is known of one connection; its session notes it without asking for the others.
struct Heard(Mutex<Contact>);

impl Heard {
    fn now() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Contact::Connected { last_heard: Instant::now() })))
    }

    fn contact(&self) -> Contact {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, contact: Contact) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = contact;
    }
}

/// Instances of which an agent may have to be told.
#[derive(Default)]
pub(super) struct News {
    changed: Mutex<Changed>,
    wake: Notify,
}

/// What a session looks at next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// These.
    Some(Vec<InstanceId>),
    /// More than are worth naming.
    Any,
}

impl Default for Changed {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl News {
    fn lock(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, instance: &InstanceId) {
        let mut changed = self.lock();
        match &mut *changed {
            Changed::Any => {}
            Changed::Some(ids) if ids.len() >= CHANGED_MAX => *changed = Changed::Any,
            Changed::Some(ids) => ids.push(instance.clone()),
        }
        drop(changed);
        self.wake.notify_one();
    }

    /// Waits for news.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Takes what changed since the last time.
    pub(super) fn take(&self) -> Changed {
        std::mem::take(&mut *self.lock())
    }
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
    /// What the state has of news for the agent.
    pub(super) news: Arc<News>,
    /// Notes that the agent lives.
    pub(super) pulse: Pulse,
    /// Rings when the agent opened a later connection.
    pub(super) replaced: Arc<Notify>,
}

/// Notes of one connection that its agent lives.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Heard>);

impl Pulse {
    /// The agent just said something.
    pub(super) fn beat(&self) {
        self.0.set(Contact::Connected { last_heard: Instant::now() });
    }
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
        self.lock().get(agent).map_or(Contact::Never, |entry| entry.heard.contact())
    }

    /// Shows every agent that ever connected here, in the order of their ids.
    pub fn visit(&self, visit: &mut dyn FnMut(&AgentId, Contact)) {
        self.lock().iter().for_each(|(agent, entry)| visit(agent, entry.heard.contact()));
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

    /// An agent is about to be recorded as there. Until its connection counts, it is one whose host
    /// lives: whoever looks between the record and the connection must not take the silence of an
    /// earlier connection for that of this one.
    pub(super) fn arrive(&self, agent: &AgentId) {
        let now = Instant::now();
        let mut entries = self.lock();
        let entry = entries.entry(agent.clone()).or_insert_with(|| Entry::new(0));
        let (Contact::Connected { last_heard } | Contact::Closed { last_heard, .. }) = entry.heard.contact()
        else {
            return;
        };
        entry.heard.set(Contact::Closed { since: now, last_heard });
    }

    pub(super) fn open(&self, agent: &AgentId) -> Open {
        let mut entries = self.lock();
        let earlier = entries.remove(agent);
        let generation = earlier.as_ref().map_or(1, |entry| entry.generation + 1);
        if let Some(earlier) = earlier {
            earlier.replaced.notify_one();
        }
        let entry = Entry::new(generation);
        let open = Open {
            generation,
            news: Arc::clone(&entry.news),
            pulse: Pulse(Arc::clone(&entry.heard)),
            replaced: Arc::clone(&entry.replaced),
        };
        entries.insert(agent.clone(), entry);
        drop(entries);
        self.changes.send_modify(|count| *count += 1);
        open
    }

    pub(super) fn close(&self, agent: &AgentId, generation: u64, by_peer: bool) {
        let entries = self.lock();
        let Some(entry) = entries.get(agent).filter(|entry| entry.generation == generation) else {
            return;
        };
        let Contact::Connected { last_heard } = entry.heard.contact() else { return };
        if by_peer {
            entry.heard.set(Contact::Closed { since: Instant::now(), last_heard });
        } // A line that we gave up says nothing about the host: the agent counts as silent.
        drop(entries);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Notes that what an agent is to do about an instance may have changed.
    pub(super) fn note(&self, agent: &AgentId, instance: &InstanceId) {
        if let Some(entry) = self.lock().get(agent) {
            entry.news.note(instance);
        }
    }
}
