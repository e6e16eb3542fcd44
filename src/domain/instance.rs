//! One wanted copy of an app: what we want of it.

use serde::{Deserialize, Serialize};

/// What is wanted of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Keep it running; launch it again when it ends.
    Running,
    /// Stop it for good.
    Decommissioned,
}
