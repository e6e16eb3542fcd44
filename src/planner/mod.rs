//! Floor 2: pure. What must happen to get from one set of specs to another.
//!
//! Three ways in: [`plan_deployment`] (an edit becomes steps), [`advance()`] (what the
//! current step of a deployment wants next) and [`reconcile()`] (what apps outside
//! deployments want). All derive from the state alone, so asking again without progress
//! gives nothing new. Knows no offers, no resources, no HTTP, no clock: where instances
//! run is the scheduler's business.

mod absence;
mod advance;
mod capacity;
mod dependency_order;
mod even_out;
mod intent;
mod kill_selection;
mod plan;
mod reconcile;
mod relocate;
mod roster;

pub use advance::advance;
pub use dependency_order::CyclicDependencies;
pub use intent::Intent;
pub use plan::plan_deployment;
pub use reconcile::{Reconciliation, reconcile};
pub use relocate::replaces_before_it_stops;

/// Instances in one wish to create: one log entry holds two such.
pub const CREATED_MAX: u32 = 1_000;

/// Instances created for one app by one look at most; the next look creates the rest. So many
/// are placed in seconds, and a change of mind meanwhile need not wait for more.
const CREATED_PER_LOOK_MAX: u32 = 50_000;
