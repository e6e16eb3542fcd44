//! Floor 3: how a process is observed: metrics, log lines, errors on one line.
//!
//! Way in: [`start_tracing`], [`error_chain`]. Names no other room: what is counted
//! is handed in, so that metrics cannot steer decisions.

mod error_chain;
mod tracing;

pub use error_chain::error_chain;
pub use tracing::{LogFormat, check_filter, start_tracing};
