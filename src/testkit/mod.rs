//! Test support: valid things by default, and a cluster without machines.
//!
//! Ways in: [`an_app`], [`an_agent`], [`Playground`], [`crowd`] for agents in bulk, and
//! `image` for tiny Docker images.
//! Compiled for tests and with feature `testkit` only. Names whatever it needs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::missing_panics_doc)]

mod builders;
pub mod crowd;
#[cfg(not(feature = "sim"))]
pub mod image;
mod playground;

pub use crate::forecast::obedient_news;
pub use builders::{AgentBuilder, AppBuilder, a_container, an_agent, an_app};
pub use playground::Playground;
