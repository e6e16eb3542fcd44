//! JSON shapes of Marathon's API: reading them into domain values, writing rows as them.
//!
//! Way in: [`decode::parse_body`], then the `decode_` function of the object; the `_json`
//! functions for answers. Marathon's quirks (nulls, aliases, two names for one field)
//! end here. Knows no HTTP, no store, no clock.

pub mod app;
pub mod counts;
pub mod decode;
pub mod deployment;
pub mod explain;
pub mod group;
pub mod number;
pub mod offer;
pub mod queue;
mod reader;
pub mod rebalance;
pub mod selector;
pub mod task;
pub mod what_if;
