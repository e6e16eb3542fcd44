//! A store of one master without Raft: the same `apply`, nothing on disk. For tests.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

use super::{Leadership, Master, ProposeError, ReadError, StateStore, View};
use crate::domain::Timestamp;
use crate::state::{Applied, ClusterState, Command, LogEntry, apply};
use crate::world::Clock;

/// Leads in term 1 until told otherwise.
pub struct InMemoryStore {
    clock: Arc<dyn Clock>,
    state: Mutex<View>,
    applied: watch::Sender<u64>,
    leadership: watch::Sender<Leadership>,
}

impl InMemoryStore {
    /// An empty store that takes its time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let master = Master { node: 1, http: "127.0.0.1:8080".into(), cluster: "127.0.0.1:5050".into() };
        Self {
            clock,
            state: Mutex::default(),
            applied: watch::channel(0).0,
            leadership: watch::channel(Leadership { term: 1, leads: true, leader: Some(master) }).0,
        }
    }

    /// The same with a state that is there already.
    pub fn holding(self, state: ClusterState) -> Self {
        Self { state: Mutex::new(Arc::new(state)), ..self }
    }

    /// Begins to lead in a term, or ceases to; later proposals for other terms are refused.
    pub fn set_leads(&self, term: u64, leads: bool) {
        self.leadership.send_modify(|leadership| (leadership.term, leadership.leads) = (term, leads));
    }

    /// Records commands at once.
    pub fn record(&self, commands: Vec<Command>) -> Applied {
        let entry = LogEntry { at: Timestamp::from_millis(self.clock.now_millis()), commands };
        let mut view = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = ClusterState::clone(&view);
        let applied = apply(&mut state, view.index + 1, &entry);
        *view = Arc::new(state);
        drop(view);
        self.applied.send_replace(applied.index);
        applied
    }
}

impl StateStore for InMemoryStore {
    fn snapshot(&self) -> View {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fresh_snapshot(&self) -> BoxFuture<'_, Result<View, ReadError>> {
        std::future::ready(Ok(self.snapshot())).boxed()
    }

    fn propose(
        &self,
        commands: Vec<Command>,
        term: Option<u64>,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        let leadership = self.leadership.borrow().clone();
        let answer = match term {
            _ if !leadership.leads => Err(ProposeError::NotLeader),
            Some(term) if term != leadership.term => Err(ProposeError::TermEnded),
            _ => Ok(self.record(commands)),
        };
        std::future::ready(answer).boxed()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }
}
