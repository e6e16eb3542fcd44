//! What stands in the way of an instance on an agent: one reason, with its numbers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::domain::{Resources, Scalar, Timestamp};
use crate::scheduler::matcher::Need;
use crate::scheduler::{Suspicion, ports};

/// One thing that stands in the way, with its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The agent cannot be reached, since then.
    Unreachable(Timestamp),
    /// The agent counts as there and gets nothing now.
    Contact(Suspicion),
    /// Enough is spare, but too much of it for roles that the app does not accept.
    Role {
        /// For people.
        words: Box<str>,
        /// What it lacks of what is open to it: amounts and ports.
        short: Box<[Lack]>,
    },
    /// The agent says that it can start nothing now; in words.
    Hindered(String),
    /// An image is wanted and the agent runs no containers, or none now; in words.
    Containers(String),
    /// An instance of the app moves away from the agent.
    Left,
    /// A constraint, by its position, and what it objects to.
    Constraint(usize, Arc<str>),
    /// Too little of something.
    Amount(Amount, Scalar, Scalar),
    /// Too few host ports, or those that are wanted are taken.
    Ports {
        /// How many are needed.
        needed: usize,
        /// How many are spare.
        spare: u32,
        /// Wanted ones that are not spare.
        taken: Vec<TakenPort>,
    },
}

/// A host port that is wanted and not spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenPort {
    /// Which.
    pub port: u16,
    /// Who has it.
    pub by: PortHolder,
}

/// Who has a host port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortHolder {
    /// The agent has none of that number.
    NotOffered,
    /// A process on the agent's machine that is no task.
    Stranger,
    /// A task.
    Task,
    /// Whoever may use what is kept for a role.
    Role,
}

impl fmt::Display for TakenPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.by {
            PortHolder::NotOffered => "the agent does not offer it",
            PortHolder::Stranger => "a process that is no task has it",
            PortHolder::Task => "a task has it",
            PortHolder::Role => "it is kept for a role",
        };
        write!(out, "{} ({words})", self.port)
    }
}

/// A resource that has an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Amount {
    /// Processors.
    Cpus,
    /// Memory in MiB.
    Mem,
    /// Disk in MiB.
    Disk,
    /// Graphics processors.
    Gpus,
}

impl Amount {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpus, Self::Mem, Self::Disk, Self::Gpus];

    /// Its name in an app's definition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
        }
    }

    /// So much of it, for people: `1 cpu`, `64 MiB of memory`.
    pub(super) fn counted(self, much: Scalar) -> String {
        let unit = match (self, much == Scalar::from_thousandths(1_000)) {
            (Self::Cpus, true) => "cpu",
            (Self::Cpus, false) => "cpus",
            (Self::Mem, _) => "MiB of memory",
            (Self::Disk, _) => "MiB of disk",
            (Self::Gpus, true) => "gpu",
            (Self::Gpus, false) => "gpus",
        };
        format!("{much} {unit}")
    }

    /// Whether nothing runs without any of it.
    pub(super) fn is_vital(self) -> bool {
        matches!(self, Self::Cpus | Self::Mem)
    }

    /// How much of it one instance needs.
    pub(super) fn of_need(self, need: &Need) -> Scalar {
        match self {
            Self::Cpus => need.cpus,
            Self::Mem => need.mem,
            Self::Disk => need.disk,
            Self::Gpus => need.gpus,
        }
    }

    /// How much of it there is.
    pub fn of(self, resources: &Resources) -> Scalar {
        match self {
            Self::Cpus => resources.cpus,
            Self::Mem => resources.mem,
            Self::Disk => resources.disk,
            Self::Gpus => resources.gpus,
        }
    }
}

impl Lack {
    /// Whether both have the same name.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Constraint(a, _), Self::Constraint(b, _)) => a == b,
            (Self::Amount(a, ..), Self::Amount(b, ..)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// All of them, where those that roles hide stand for themselves.
    pub(super) fn without_roles(lacks: &[Self]) -> impl Iterator<Item = &Self> {
        lacks.iter().flat_map(Self::without_role)
    }

    fn without_role(&self) -> &[Self] {
        match self {
            Self::Role { short, .. } => short,
            other => std::slice::from_ref(other),
        }
    }

    /// What is spare of an amount.
    pub(super) fn spare_amount(&self) -> Option<Scalar> {
        match self {
            Self::Amount(_, _, spare) => Some(*spare),
            _ => None,
        }
    }

    /// How many host ports are spare.
    pub(super) fn spare_ports(&self) -> Option<usize> {
        match self {
            Self::Ports { spare, .. } => usize::try_from(*spare).ok(),
            _ => None,
        }
    }

    /// Host ports that are wanted and not spare.
    pub(super) fn taken_ports(&self) -> impl Iterator<Item = u16> + '_ {
        let taken: &[TakenPort] = match self {
            Self::Ports { taken, .. } => taken,
            _ => &[],
        };
        taken.iter().map(|taken| taken.port)
    }

    /// A short name, the same for every agent: what obstacles are grouped by.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Unreachable(_) => "unreachable".into(),
            Self::Contact(Suspicion::Drained) => "drained".into(),
            Self::Contact(_) => "contact".into(),
            Self::Role { .. } => "role".into(),
            Self::Hindered(_) => "hindered".into(),
            Self::Containers(_) => "containers".into(),
            Self::Left => "moving".into(),
            Self::Constraint(at, _) => format!("constraints({at})").into(),
            Self::Amount(amount, ..) => amount.as_str().into(),
            Self::Ports { .. } => "ports".into(),
        }
    }

    /// For people, with numbers.
    pub fn sentence(&self) -> String {
        match self {
            Self::Unreachable(since) => {
                format!("the agent cannot be reached since {since}: it gets tasks again when it is back")
            }
            Self::Contact(suspicion) => suspicion.sentence(),
            Self::Role { words, .. } => words.to_string(),
            Self::Hindered(words) | Self::Containers(words) => words.clone(),
            Self::Left => "an instance of the app moves away from the agent".to_owned(),
            Self::Constraint(_, objection) => objection.to_string(),
            Self::Amount(amount, needed, spare) => {
                let (needs, short) = (amount.counted(*needed), needed.minus(*spare));
                format!("needs {needs}, {spare} are spare: {short} short")
            }
            Self::Ports { needed, spare, taken } if taken.is_empty() => {
                format!("needs {}, {} spare", ports::counted(*needed), ports::are(*spare))
            }
            Self::Ports { taken, .. } => {
                let taken: Vec<String> = taken.iter().map(TakenPort::to_string).collect();
                format!("needs host ports that are not spare: {}", taken.join(", "))
            }
        }
    }

    /// How far away it is, in thousandths of what is needed; what has no amount is farthest.
    pub(super) fn distance(&self) -> u64 {
        match self {
            Self::Amount(_, needed, spare) => {
                let (short, needed) = (needed.minus(*spare).thousandths(), needed.thousandths());
                let share = match short.checked_mul(1_000) {
                    Some(short) => short.checked_div(needed),
                    None => short.checked_div(needed / 1_000),
                };
                share.unwrap_or(0)
            }
            // A port that the agent does not have never comes, one that somebody has may.
            Self::Ports { taken, .. } if taken.iter().any(|it| it.by == PortHolder::NotOffered) => 1_001,
            _ => 1_000,
        }
    }
}
