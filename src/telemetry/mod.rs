//! Floor 3: how a process is observed: metrics, log lines, errors on one line.
//!
//! Way in: [`Registry`] (`metrics` is the table of everything it may hold), [`start_tracing`],
//! [`error_chain()`]. Names no other room: what is counted is handed in, so that metrics
//! cannot steer decisions.

mod encode;
mod error_chain;
mod handles;
mod marathon_json;
pub mod metrics;
mod process;
mod registry;
mod samples;
mod tracing;

#[cfg(test)]
mod tests;

pub use encode::Rendered;
pub use error_chain::error_chain;
pub use handles::{ApiMetrics, InFlight, RuntimeMetrics, SchedulingMetrics};
pub use registry::{Registry, Source};
pub use samples::{SampledHistogram, Samples};
pub use tracing::{LogFormat, check_filter, start_tracing};
