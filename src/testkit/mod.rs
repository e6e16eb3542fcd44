//! Test support: valid things by default, and a cluster without machines.
//!
//! Ways in: [`an_app`], [`an_agent`] and [`Playground`]. Compiled for tests and with
//! feature `testkit` only. Names whatever it needs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::missing_panics_doc)]

mod builders;
mod playground;

pub use builders::{AgentBuilder, AppBuilder, an_agent, an_app};
pub use playground::Playground;
