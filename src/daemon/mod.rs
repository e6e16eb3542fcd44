//! Top: the composition root. Builds the rooms that a role needs, connects them, and owns
//! the order in which they stop.
//!
//! Way in: [`run`]. Decides nothing; the simulator composes masters and agents from the
//! same parts ([`master::start`], [`agent::start`]).

pub mod agent;
mod cluster_server;
#[cfg(not(feature = "sim"))]
mod dev;
#[cfg(not(feature = "sim"))]
mod dev_agents;
#[cfg(not(feature = "sim"))]
mod dev_app;
#[cfg(not(feature = "sim"))]
mod dev_dir;
#[cfg(not(feature = "sim"))]
mod dev_told;
mod doors;
#[cfg(not(feature = "sim"))]
mod listen;
pub mod master;
#[cfg(not(feature = "sim"))]
mod process;
#[cfg(not(feature = "sim"))]
mod runtimes;
#[cfg(not(feature = "sim"))]
mod secrets;
#[cfg(not(feature = "sim"))]
mod signals;
mod sources;

#[cfg(not(feature = "sim"))]
pub use process::run;
#[cfg(not(feature = "sim"))]
pub use signals::Stop;
