//! Floor 6: HTTP and JSON for people.

pub mod wire;
