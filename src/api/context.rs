//! What handlers share, and the doors to rooms that the API may not name.

use std::sync::Arc;

use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::error::ApiError;
use crate::control::Control;
use crate::domain::{Strategy, Timestamp};
use crate::forecast::Resilience;
use crate::scheduler::Suspects;
use crate::state::ClusterState;
use crate::store::{Leadership, Master, StateStore, View};
use crate::telemetry::Registry;
use crate::world::Clock;

/// Everything a handler may use. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Takes requests to the state.
    pub control: Arc<Control>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// This master, with its addresses as advertised.
    pub me: Master,
    /// Whether `/ping` says yes; `/ready` asks whether this master is a member, too.
    pub ready: Arc<dyn Readiness>,
    /// What apps get that wish for no strategy, when this master leads.
    pub strategy: Strategy,
    /// What `/metrics` shows, and where requests are counted.
    pub metrics: Arc<Registry>,
    /// The quorum's members.
    pub members: Arc<dyn Members>,
    /// Hands leadership over.
    pub abdicate: Arc<dyn Abdicate>,
    /// Which agents could be lost; nothing while this master does not lead, or has not looked yet.
    pub resilience: watch::Receiver<Option<Arc<Resilience>>>,
    /// Which agents the scheduling cycle avoids.
    pub attendance: Arc<dyn Attendance>,
}

impl Context {
    /// The store, for reads.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        self.control.store()
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now_millis())
    }

    /// Who leads, as this master knows now.
    pub fn leadership(&self) -> Leadership {
        self.store().leadership().borrow().clone()
    }

    /// Who leads, to wake on.
    pub fn leadership_watch(&self) -> watch::Receiver<Leadership> {
        self.store().leadership()
    }

    /// Agents that get nothing now, though `state` says that they are there. Only the leader
    /// hears agents: any other master suspects nobody.
    pub fn suspects(&self, state: &ClusterState) -> Suspects {
        if self.leadership().leads { self.attendance.suspects(state) } else { Suspects::new() }
    }

    /// State that holds every acknowledged write, or with `stale` whatever this master has.
    ///
    /// # Errors
    /// 503 when no majority confirms in time; with `stale`, when this master has nothing that
    /// was the cluster's state.
    pub async fn read(&self, stale: bool) -> Result<View, ApiError> {
        if !stale {
            return Ok(self.store().fresh_snapshot().await?);
        }
        match self.members.outside() {
            Some(why) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why)),
            None => Ok(self.store().snapshot()),
        }
    }

    /// Whether this master can do its work; otherwise why not, for people.
    pub fn missing(&self) -> Option<String> {
        let missing = self.ready.missing().or_else(|| self.members.outside());
        missing.or_else(|| self.members.unheard()).or_else(|| self.leaderless())
    }

    /// Why neither this master nor one that it hears could answer now.
    fn leaderless(&self) -> Option<String> {
        let known = self.leadership();
        let why = match &known.leader {
            _ if known.leads => return None,
            Some(leader) if leader.node != self.me.node => return None,
            Some(_) => "This master was elected but hears from no majority of masters.",
            None => "This master hears of no leader: none is elected at the moment, or it is cut off.",
        };
        Some(format!("{why} Look at the other masters; stale=true shows what this one has."))
    }
}

/// Decides whether this process can do its work.
pub trait Readiness: Send + Sync + 'static {
    /// Nothing when it can; otherwise why not, for people.
    fn missing(&self) -> Option<String>;
}

/// The masters that make the quorum.
pub trait Members: Send + Sync + 'static {
    /// All of them, as this master knows.
    fn list(&self) -> Vec<Member>;

    /// Puts the master `new` in the place of `old`; the answer comes once it votes.
    ///
    /// The error is a sentence for people.
    fn replace(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Replaced, ReplaceError>>;

    /// Why this master cannot answer out of its own copy of the state: it is no member, or has
    /// no copy yet. A whole sentence; nothing when it can.
    fn outside(&self) -> Option<String>;

    /// Why this master cannot have others answer, either: it knows of no leader since its start.
    /// A whole sentence; nothing when it does.
    fn unheard(&self) -> Option<String>;
}

/// One master of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who and where.
    pub master: Master,
    /// Whether its voice counts.
    pub votes: bool,
}

/// What came of a wish to replace a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The new one has the place now.
    Now,
    /// It had a place already, and the old one none.
    Before,
}

/// Why a member was not replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// No member has the old one's id; a whole sentence.
    #[error("{0}")]
    NotAMember(String),
    /// Something has to be done first, such as starting the new one; a whole sentence.
    #[error("{0}")]
    Conflict(String),
    /// Cannot be done now; a whole sentence. A repeat may succeed.
    #[error("{0}")]
    Unavailable(String),
}

/// Hands leadership over.
pub trait Abdicate: Send + Sync + 'static {
    /// Asks for another leader; the answer comes before the change.
    fn abdicate(&self);
}

/// Hears agents while this master leads.
pub trait Attendance: Send + Sync + 'static {
    /// Agents that the scheduling cycle would avoid now, and why.
    fn suspects(&self, state: &ClusterState) -> Suspects;
}
