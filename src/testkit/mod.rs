//! Test support: valid things by default, and a cluster without machines.
//!
//! Ways in: [`an_app`], [`an_agent`], [`Playground`], [`crowd`] for agents in bulk, `image` for tiny
//! Docker images, and [`not_run`] where a machine lacks what a test needs.
//! Compiled for tests and with feature `testkit` only. Names whatever it needs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::missing_panics_doc)]

mod builders;
pub mod crowd;
#[cfg(not(feature = "sim"))]
pub mod image;
mod not_run;
mod playground;

pub use crate::forecast::obedient_news;
pub use builders::{AgentBuilder, AppBuilder, a_container, an_agent, an_app};
pub use not_run::not_run;
pub use playground::Playground;
