//! Floor 1: the replicated state machine. Deterministic; the referee.
//!
//! Way in: [`apply()`] with a [`LogEntry`]. Gives the same answer on every master and in
//! every version of the binary. Knows no clock, no chance, no planner or scheduler,
//! and not who leads.

pub mod apply;
pub mod by_agent;
mod cluster_state;
pub mod codec;
pub mod command;
pub mod digest;
pub mod event;
pub mod invariants;
pub mod packed;
pub mod refusal;
pub mod rows;
pub mod table;

pub use apply::{Applied, apply};
pub use cluster_state::ClusterState;
pub use command::{AppChange, Command, LogEntry, Placement, RequestKey, StartDeployment};
pub use event::Event;
pub use refusal::Refusal;
pub use rows::{
    AgentRow, AppChangeRecord, AppRow, DeploymentRow, InstanceRow, LaunchDelay, Presence, RequestRow,
    TaskFailure, TaskRow,
};
pub use table::Table;
