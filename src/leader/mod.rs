//! Floor 5: controllers that run only while this master leads.
//!
//! Way in: [`LeaderScope::run`]. Each [`Controller`] looks at everything again and again and
//! acts on the difference between what is and what should be; nothing it remembers
//! matters, so a new leader is as good as the old. Knows no requests, no users, no JSON.

mod agent_liveness;
mod deployments;
mod instances;
mod reaper;
mod scheduling;
mod scope;
mod stats;
mod suspects;
mod tend;
mod term;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

pub use agent_liveness::{Contacts, LivenessLimits};
pub use scope::LeaderScope;
pub use stats::LeaderStats;
pub use suspects::RollCall;
pub use term::{LeaderStore, Unrecorded};

/// One duty of the leader.
pub trait Controller: Send {
    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// Looks at everything, and proposes what is missing. Says when to look again though
    /// nothing happens; every change of the state brings a look anyway. May be dropped at
    /// any moment.
    ///
    /// # Errors
    /// [`Unrecorded`] when a proposal failed: after [`Unrecorded::TermEnded`] there is no
    /// further look, otherwise one follows after a short wait.
    fn reconcile(&mut self) -> BoxFuture<'_, Result<Option<Instant>, Unrecorded>>;
}

#[cfg(test)]
mod tests;
