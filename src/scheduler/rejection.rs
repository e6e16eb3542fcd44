//! Why an offer did not suit a demand: Marathon's ten reasons. Source: spec 5.8.

/// The first thing that stood in the way, in funnel order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The app does not accept resources of the offer's role.
    UnfulfilledRole,
    /// A placement rule, or the app needs an image and the agent runs no containers.
    UnfulfilledConstraint,
    /// A reservation of the app lies elsewhere.
    NoCorrespondingReservationFound,
    /// The agent gets nothing now.
    AgentMaintenance,
    /// Too few processors.
    InsufficientCpus,
    /// Too little memory.
    InsufficientMemory,
    /// Too little disk.
    InsufficientDisk,
    /// Too few graphics processors.
    InsufficientGpus,
    /// Host ports are missing or taken.
    InsufficientPorts,
    /// The agent is kept for those that need its graphics processors.
    DeclinedScarceResources,
}

impl Reason {
    /// Every reason, in funnel order.
    pub const ALL: [Self; 10] = [
        Self::UnfulfilledRole,
        Self::UnfulfilledConstraint,
        Self::NoCorrespondingReservationFound,
        Self::AgentMaintenance,
        Self::InsufficientCpus,
        Self::InsufficientMemory,
        Self::InsufficientDisk,
        Self::InsufficientGpus,
        Self::InsufficientPorts,
        Self::DeclinedScarceResources,
    ];

    /// Marathon's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnfulfilledRole => "UnfulfilledRole",
            Self::UnfulfilledConstraint => "UnfulfilledConstraint",
            Self::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
            Self::AgentMaintenance => "AgentMaintenance",
            Self::InsufficientCpus => "InsufficientCpus",
            Self::InsufficientMemory => "InsufficientMemory",
            Self::InsufficientDisk => "InsufficientDisk",
            Self::InsufficientGpus => "InsufficientGpus",
            Self::InsufficientPorts => "InsufficientPorts",
            Self::DeclinedScarceResources => "DeclinedScarceResources",
        }
    }
}
