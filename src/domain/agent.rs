//! A machine that runs tasks, as it describes itself.

use serde::{Deserialize, Serialize};

use super::attribute::Attributes;
use super::resources::Resources;
use super::{AgentId, Timestamp};

/// What an agent says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Persisted identity.
    pub id: AgentId,
    /// Name of the machine; tasks see it as `HOST` and clients dial it.
    pub hostname: String,
    /// Address of the agent's own HTTP server, as given.
    #[serde(default)]
    pub http: String,
    /// All that may be used by tasks.
    pub totals: Resources,
    /// Facts for constraints.
    #[serde(default)]
    pub attributes: Attributes,
    /// Which run of the agent's process speaks.
    pub incarnation: Incarnation,
    /// Runs containers, not only processes.
    #[serde(default)]
    pub has_docker: bool,
    /// Version of the binary.
    #[serde(default)]
    pub version: String,
}

/// One run of an agent's process. Tasks belong to agent id + boot id and survive incarnations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// The machine's boot, from the kernel.
    pub boot_id: String,
    /// When the process started; orders incarnations within one boot.
    pub started: Timestamp,
    /// Counts up on disk at every start; breaks ties.
    #[serde(default)]
    pub run: u64,
}
