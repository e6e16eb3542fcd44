//! platformd: turns a set of machines into one private PaaS.

// A test may end at once; clippy's own allow-...-in-tests does not see `cfg(all(test, ...))`.
// Code that ships is looked at in the build without tests.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod domain;
pub mod world;

pub mod protocol;
pub mod state;

pub mod planner;
pub mod scheduler;

pub mod forecast;

pub mod line;
pub mod store;
pub mod telemetry;

pub mod dispatcher;
pub mod raft;

pub mod agent;

pub mod leader;

pub mod control;

pub mod api;

pub mod cli;
pub mod daemon;
pub mod hello;
pub mod settings;

#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
