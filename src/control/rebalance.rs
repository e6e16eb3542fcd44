//! Moving instances that had better be elsewhere: planned on one state, recorded as wishes. The
//! planner then replaces them one after another, on whichever master leads.

use tokio::time::Instant;

use super::what_if::WHAT_IF_TIME_MAX;
use super::{Control, ControlError};
use crate::domain::{InstanceId, Timestamp};
use crate::forecast::{Budget, Rebalance, rebalance};
use crate::scheduler::Suspects;
use crate::state::Command;
use crate::store::View;
use crate::world;

/// Instances that move at a time, where nothing else is said.
pub const MOVES_MAX: u32 = 10;

/// Instances of one app that move at a time, where nothing else is said.
pub const MOVES_PER_APP_MAX: u32 = 2;

/// Instances that may be asked to move at a time: one log entry of about 300 KiB.
pub const MOVES_MAX_MOST: u32 = 1_000;

impl Control {
    /// Which instances had better be elsewhere, as of `view`; suspects get nothing new.
    /// Writes nothing.
    ///
    /// # Errors
    /// `Unavailable` while too many such questions are worked on.
    pub async fn plan_rebalance(
        &self,
        view: View,
        budget: Budget,
        suspects: Suspects,
    ) -> Result<Rebalance, ControlError> {
        let permit = self.permit_to_foretell()?;
        let strategy = self.strategy;
        let now = Timestamp::from_millis(self.clock.now_millis()).max(view.now);
        let work = move || {
            let until = Instant::now() + WHAT_IF_TIME_MAX;
            let plan = rebalance(&view, &suspects, now, budget, strategy, &mut || Instant::now() < until);
            drop(permit);
            plan
        };
        Ok(world::blocking(work).await)
    }

    /// Plans as [`Control::plan_rebalance`] on the state that holds every acknowledged write, and
    /// asks for these moves. A repeat asks for nothing twice.
    ///
    /// # Errors
    /// As there, and those of a proposal.
    pub async fn rebalance(&self, budget: Budget, suspects: Suspects) -> Result<Rebalance, ControlError> {
        let _turn = self.turn.lock().await;
        let view = self.store.fresh_snapshot().await?;
        let plan = self.plan_rebalance(view, budget, suspects).await?;
        if !plan.moves.is_empty() {
            let instances =
                plan.moves.iter().map(|it| (it.from.instance.clone(), it.reason.clone())).collect();
            self.propose(vec![Command::MoveInstances { instances }]).await?;
        }
        Ok(plan)
    }

    /// Has every instance that shall move stay where it is. Gives how many there were.
    ///
    /// # Errors
    /// Those of a read and of a proposal.
    pub async fn stop_rebalance(&self) -> Result<usize, ControlError> {
        let view = self.store.fresh_snapshot().await?;
        let moving = view.instances.values().filter(|row| row.is_moving());
        let instances: Vec<InstanceId> = moving.map(|row| row.id.clone()).collect();
        let count = instances.len();
        if count > 0 {
            self.propose(vec![Command::KeepInstances { instances }]).await?;
        }
        Ok(count)
    }
}
