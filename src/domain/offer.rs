//! What an agent has to spare.

use super::attribute::Attributes;
use super::resources::Resources;
use super::role::Reserved;
use super::{AgentId, OfferId};

/// Spare resources of one agent at one state index, by role. Derived, never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Agent and index.
    pub id: OfferId,
    /// Whose.
    pub agent: AgentId,
    /// Name of its machine.
    pub hostname: String,
    /// What is spare and kept for nobody; ports held by strangers are not.
    pub spare: Resources,
    /// What is spare of what is kept for roles; every role that the agent knows.
    pub reserved: Reserved,
    /// Facts of the agent.
    pub attributes: Attributes,
    /// Whether it can run containers.
    pub has_docker: bool,
}
