//! Floor 4: the quorum. openraft behind our own log, snapshots, wire and store.
//!
//! Way in: [`start`]; what it gives, [`RaftHandle`], holds the store, answers peers, and
//! says when all is lost. Runs on whatever runtime the caller is in; the daemon gives it
//! one of its own. Knows no app, no task and no rule: it could carry another state.

mod address_book;
mod data_dir;
mod greeter;
mod handle;
mod introduction;
mod last_word;
mod leadership;
mod log_store;
mod membership;
mod messages;
mod mirror;
mod network;
mod pipeline;
mod server;
mod settings;
mod snapshots;
mod standing;
mod state_machine;
mod stats;
pub mod store;
mod transfer;
mod types;
mod wal;

#[cfg(all(test, feature = "sim"))]
mod sim_tests;
#[cfg(all(test, not(feature = "sim")))]
mod tests;

pub use handle::{RaftHandle, start};
pub use membership::{Member, Membership, MembershipError, Replaced};
pub use settings::{RaftSettings, RaftTiming, StartError};
pub use standing::Standing;
pub use stats::{FSYNC_BUCKETS_US, RaftStats};
pub use types::MasterNode;
pub use wal::recover::LogError;
