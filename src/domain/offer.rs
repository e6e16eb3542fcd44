//! What an agent has to spare.

use super::attribute::Attributes;
use super::resources::Resources;
use super::{AgentId, OfferId};

/// Spare resources of one agent for one role at one state index. Derived, never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Agent and index.
    pub id: OfferId,
    /// Whose.
    pub agent: AgentId,
    /// Name of its machine.
    pub hostname: String,
    /// Who it is for; `*` is anybody.
    pub role: String,
    /// What is spare; ports held by strangers are not.
    pub spare: Resources,
    /// Facts of the agent.
    pub attributes: Attributes,
    /// Whether it can run containers.
    pub has_docker: bool,
}
