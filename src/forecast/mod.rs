//! Floor 2½: pure. What would become of the cluster, played on a private copy of its state.
//!
//! Ways in: a [`Course`] plays planner, scheduler and `state::apply`, with agents that do as they
//! are told, until nothing changes; [`Outcome`] tells how the end differs from the beginning.
//! [`survey()`] says which agents could each be lost alone,
//! [`rebalance()`] which instances had better be elsewhere. Knows no HTTP, no
//! Raft, no clock: time is an argument and passes as the deciders ask for it.

mod course;
mod outcome;
mod rebalance;
mod stand_in;
mod survey;
mod unrest;

pub use course::{Course, ROUNDS_MAX, Rest};
pub use outcome::{AppOutcome, Free, Move, Outcome, Spot, Wait};
pub use rebalance::{Budget, Kept, LOAD_GAP, PlannedMove, Rebalance, UnderWay, rebalance};
pub use stand_in::obedient_news;
pub use survey::{Indispensable, Resilience, Survey, survey};
