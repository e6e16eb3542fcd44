//! Apps as JSON: definitions in, definitions and their standing out.
//!
//! Way in: [`decode_app`] for full definitions, [`decode_update`] for partial ones,
//! [`app_json`] and [`created_json`] for answers, [`AppInfo`] for what is embedded.
//! One decoder serves both: an update is laid over the canonical JSON of the current
//! definition and the whole is decoded again. Source: spec 1.5, 2.

mod container;
mod definition;
mod encode;
mod health;
mod info;
mod network;
mod placement;
mod update;

pub(super) use definition::read_app;
pub use definition::{Decoded, decode_app};
pub use encode::{app_json, created_json};
pub(in crate::api::wire) use info::failure_json;
pub use info::{AppInfo, Embeds};
pub use update::{AppUpdate, decode_update};

#[cfg(test)]
mod tests;
