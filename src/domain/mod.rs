//! Floor 0: the vocabulary. Values and their laws, true wherever apps exist.
//!
//! Knows no JSON names, no HTTP, no time of day, no cluster. Other rooms import
//! from here by the flat names below. Tests sit at the foot of each file.

pub mod agent;
pub mod attribute;
pub mod claim;
pub mod constraint;
pub mod container;
pub mod deployment;
pub mod fingerprint;
pub mod health_check;
pub mod hindrance;
pub mod id;
pub mod instance;
pub mod launch;
pub mod offer;
pub mod pattern;
pub mod policy;
pub mod resources;
pub mod role;
pub mod run_spec;
pub mod task;
pub mod time;
pub mod validate;
pub mod violation;
pub mod wish;

pub use agent::{AgentInfo, Incarnation};
pub use attribute::{AttributeValue, Attributes};
pub use constraint::{Constraint, HOSTNAME, Operator, attribute_on, is_hostname, seen_instead_of};
pub use container::{
    Container, ContainerKind, DockerImage, Network, PortDefinition, PortMapping, Transport, Volume,
};
pub use deployment::{Action, ActionKind, Plan, Step};
pub use fingerprint::fingerprint;
pub use health_check::{HealthCheck, HealthProtocol};
pub use hindrance::{Hindrances, MAY_RUN_MAX, hindrance};
pub use id::{AgentId, AppId, ClusterId, DeploymentId, IdError, InstanceId, OfferId, TaskId};
pub use instance::Goal;
pub use launch::{LaunchCheck, LaunchContainer, PortBinding, Process, TaskLaunch};
pub use offer::Offer;
pub use pattern::{Pattern, PatternError};
pub use policy::{Backoff, KillSelection, Millionths, UnreachableStrategy, UpgradeStrategy};
pub use resources::{PortRanges, Resources, Scalar};
pub use role::{ANY_ROLE, Accepted, Pools, Reserved};
pub use run_spec::{AppVersion, PortDemand, RunSpec, SpecChange};
pub use task::{Exit, HealthResult, TaskState, TaskStatus, UpdateId};
pub use time::{SpecVersion, Timestamp};
pub use violation::Violation;
pub use wish::{Affinity, Preference, Spread, Strategy, Target, Wanted, Wishes};
