//! Floor 0: the outside that the simulator replaces: time, sockets, files, tasks, chance.
//!
//! Rooms that act on the world take these from here and nowhere else, so that
//! `tests/sim` can run whole clusters bit for bit again. With feature `sim` the
//! same names lead into the simulation. Knows nothing of platformd, but for the switches in
//! [`mutation`].

pub mod clock;
pub mod fs;
pub mod mutation;
pub mod net;
pub mod private_file;
pub mod tasks;

pub use clock::{Clock, ManualClock, SystemClock};
pub use tasks::{blocking, inherit, ordered_uuid, random_u64, random_uuid, spawn};
