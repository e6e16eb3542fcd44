//! Floor 2: pure. Which waiting instance goes to which offer.
//!
//! Ways in: a [`Book`] follows the state and decides, [`run_cycle`] does the same once,
//! [`make_offers`] shows what agents have to spare, and
//! [`funnel`] and [`fn@explain`] tell why an app waits, by the cycle's own functions. Who is
//! suspect is told to all of them alike. Knows no HTTP, no
//! Raft, no deployments, no clock: `now` comes in as an argument, ties break on ids, and
//! the same state gives the same answer.

mod book;
mod cycle;
mod explain;
mod feasibility;
mod fingerprint;
mod ground;
mod index;
mod judge;
mod launch_queue;
mod matcher;
mod misplaced;
mod names;
mod offers;
mod ports;
mod rank;
mod rejection;
mod rules;
mod verdicts;
mod view;

pub use book::Book;
pub use cycle::{CycleReport, PLACEMENTS_MAX, Waiting, placements_together, run_cycle};
pub use explain::{Funnel, ReasonCount, Unused, funnel};
pub use judge::Part;
pub use launch_queue::{Queued, waiting};
pub use misplaced::{load, misplaced, share};
pub use offers::{Offers, Withheld, make_offers};
pub use rejection::Reason;
pub use verdicts::{
    Amount, Change, Copies, Explanation, Held, Lack, Obstacle, PLACED_MAX, Placed, PortHolder, Score,
    TakenPort, Verdict, Verdicts, explain,
};
pub use view::{SchedulingView, Suspects, Suspicion};
