//! Floor 5: what people may ask of the platform, free of HTTP and JSON.
//!
//! Way in: [`Control`]. Requests that change apps are planned one after another, each on
//! the state that the previous one leaves. Knows no status codes, no headers, no agents.

mod deployments;
mod edits;
mod error;
mod rebalance;
mod service_ports;
mod tasks;
mod what_if;

use std::sync::Arc;

use crate::domain::{AppId, AppVersion, DeploymentId, RunSpec, SpecVersion, Strategy, Timestamp};
use crate::state::{Applied, Command, Refusal, RequestKey};
use crate::store::StateStore;
use crate::world::Clock;

pub use error::ControlError;
pub use rebalance::{MOVES_MAX, MOVES_MAX_MOST, MOVES_PER_APP_MAX};
pub use tasks::Kill;
pub use what_if::{ADDED_MAX, Addition, WHAT_IF_TIME_MAX, WHAT_IFS_MAX, WhatIf};

/// Deployments that may run at once. Source: Marathon's `max_running_deployments`.
pub const DEPLOYMENTS_MAX: usize = 100;

/// How often a request is planned again because the state moved under it.
const REPLANS_MAX: u32 = 8;

/// Service ports that are chosen for apps: first and last. Source: spec 10.
pub const SERVICE_PORTS: (u16, u16) = (10_000, 20_000);

/// What a request that changes apps may say besides the change.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Cancels deployments that are in the way.
    pub force: bool,
    /// Makes a repeat of the request give the first answer.
    pub request: Option<RequestKey>,
}

/// A deployment that was accepted.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its name.
    pub deployment: DeploymentId,
    /// Version that the changed apps have now.
    pub version: SpecVersion,
    /// Whether an app came into being.
    pub created: bool,
    /// State index of the answer.
    pub index: u64,
    /// Content as asked for by a create, before service ports were chosen.
    pub app: Option<AppVersion>,
}

/// From the current content, if any, to the wanted one; may be called again when the state moved.
pub type Merge = Box<dyn Fn(Option<&RunSpec>) -> Result<RunSpec, ControlError> + Send + Sync>;

/// What should become of one app.
pub enum Edit {
    /// Comes into being; refused when it is there.
    Create(Box<RunSpec>),
    /// Gets this content, and comes into being when it is not there.
    Put(Merge),
    /// Gets this content; refused when it is not there.
    Patch(Merge),
    /// Gets the content that it had at this version.
    Rollback(SpecVersion),
    /// All its instances are replaced.
    Restart,
    /// Goes.
    Remove,
}

/// Takes people's requests to the state.
pub struct Control {
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    /// Held while one request is planned and recorded.
    turn: tokio::sync::Mutex<()>,
    /// As many as questions may be worked on.
    what_ifs: Arc<tokio::sync::Semaphore>,
    /// What apps get that wish for no strategy.
    strategy: Strategy,
}

impl Control {
    /// Over a store; `clock` only stamps versions. With `strategy` as the cluster's.
    pub fn new(store: Arc<dyn StateStore>, clock: Arc<dyn Clock>, strategy: Strategy) -> Self {
        let what_ifs = Arc::new(tokio::sync::Semaphore::new(WHAT_IFS_MAX));
        Self { store, clock, turn: tokio::sync::Mutex::new(()), what_ifs, strategy }
    }

    /// The store, for reads.
    pub fn store(&self) -> &Arc<dyn StateStore> {
        &self.store
    }

    /// Forgets the pause before the next launch of an app that waits.
    ///
    /// # Errors
    /// `NotFound` when nothing of the app waits.
    pub async fn reset_delay(&self, app: &AppId) -> Result<(), ControlError> {
        let view = self.store.snapshot();
        if !view.instances_of(app).any(crate::state::InstanceRow::is_waiting) {
            return Err(ControlError::NotFound(format!("Application {app} not found in tasks queue.")));
        }
        self.propose(vec![Command::ResetDelay { app: app.clone() }]).await?;
        Ok(())
    }

    async fn propose(&self, commands: Vec<Command>) -> Result<Applied, ControlError> {
        Ok(self.store.propose(commands, None).await?)
    }

    /// A version later than every one given before.
    fn next_version(&self, view: &crate::state::ClusterState) -> SpecVersion {
        let now = Timestamp::from_millis(self.clock.now_millis());
        let after_last = view.last_version.0.plus(std::time::Duration::from_millis(1));
        SpecVersion(now.max(view.now).max(after_last))
    }
}

/// Whether planning again on the newer state may succeed.
fn is_worth_replanning(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::VersionMoved { .. } | Refusal::ServicePortTaken { .. })
}
