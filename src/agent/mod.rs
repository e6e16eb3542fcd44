//! Side tower: runs tasks on one machine.
//!
//! Names only `domain`, `protocol`, `line`, `world` and `telemetry`. Knows no apps, versions
//! or deployments, and of the masters only addresses and a term.

pub mod driver;
#[cfg(not(feature = "sim"))]
mod known_process;
#[cfg(not(feature = "sim"))]
pub mod shim;
