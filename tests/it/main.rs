//! The one integration binary: what the pieces do together on real processes, engines and
//! sockets, and what the repository promises about itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may end at once, and these never run simulated; allow-...-in-tests does not see helpers"
)]

#[cfg(not(feature = "sim"))]
mod api;
#[cfg(not(feature = "sim"))]
mod binary;
#[cfg(not(feature = "sim"))]
mod cluster;
#[cfg(not(feature = "sim"))]
mod drivers;
mod examples;
#[cfg(not(feature = "sim"))]
mod golden;
#[cfg(not(feature = "sim"))]
mod quorum;
#[cfg(not(feature = "sim"))]
mod spawned;
mod tidy;
