//! Everything the core hears and may ask for. Values only; performed by `runtime`.

use std::time::Duration;

use super::driver::{DriverError, Ended, Started, TaskHandle};
use super::record::TaskRecord;
use super::verdict::Probe;
use crate::domain::{LaunchCheck, PortRanges, TaskId, TaskLaunch};
use crate::protocol::{Fence, FromAgent, FromMaster};

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// The agent's process began; what it remembers is already in the core.
    Began,
    /// There is a connection to some master, which waits for an introduction.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// A master said something.
    Heard(FromMaster),
    /// A start ended this way.
    Started {
        /// Which task.
        task: TaskId,
        /// What came of it.
        result: Result<Started, DriverError>,
    },
    /// A start was not tried, because strangers hold ports that the task needs.
    PortsTaken {
        /// Which task.
        task: TaskId,
        /// The needed ports that are held.
        taken: Vec<HeldPort>,
    },
    /// A start was not tried, because the disk takes no record of it.
    NoRoom {
        /// Which task.
        task: TaskId,
        /// What the disk says.
        reason: String,
    },
    /// A task ended, or cannot be waited for.
    Ended {
        /// Which task.
        task: TaskId,
        /// How it ended.
        result: Result<Ended, DriverError>,
    },
    /// A stop was passed on, or could not be.
    StopPassed {
        /// Which task.
        task: TaskId,
        /// What came of it.
        result: Result<(), DriverError>,
    },
    /// What an ended task left behind was removed, or could not be.
    Removed {
        /// Which task.
        task: TaskId,
        /// What came of it.
        result: Result<(), DriverError>,
    },
    /// Everything the drivers know of.
    Listed(Result<Vec<TaskHandle>, DriverError>),
    /// A health check produced a result.
    Probed {
        /// Which task.
        task: TaskId,
        /// What was found.
        probe: Probe,
    },
    /// Ports of our ranges that were found in use.
    HeldPorts(PortRanges),
    /// Whether the engine of containers answers; otherwise why not.
    EngineLooked(Option<String>),
    /// What the disk has room for.
    DiskTried(DiskRoom),
    /// A time that the core asked for has come.
    Timer(Timer),
    /// The agent ends and takes its tasks with it.
    StopAll,
}

/// What the disk has room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiskRoom {
    /// Not for a record; why not, for people.
    No(String),
    /// For a record. That is enough for a disk that was not full; of one that was, why it is not.
    Little(String),
    /// For a record, and so much more that what is started now does not fill it again.
    Ample,
}

impl DiskRoom {
    /// Why nothing can be started. A full disk has to have more than what it lacked: otherwise the
    /// little that a task leaves when it is given back would bring the next one, again and again.
    pub(super) fn hindrance(&self, was_full: bool) -> Option<&str> {
        match self {
            Self::No(why) => Some(why),
            Self::Little(why) => Some(why).filter(|_| was_full).map(String::as_str),
            Self::Ample => None,
        }
    }
}

/// A port in use, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPort {
    /// The port.
    pub port: u16,
    /// Name and number of the process, where they can be known.
    pub holder: Option<String>,
}

/// What a time was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Say again what was not acknowledged.
    Resend,
    /// Ask the drivers again what they know of.
    List,
    /// Try again to start this task.
    Start(TaskId),
    /// Give up the start of this task if nothing was made of it by now.
    GiveBack(TaskId),
    /// Tell that the start of this task takes long.
    SlowStart(TaskId),
    /// Try again to wait for this task.
    Wait(TaskId),
    /// Try again to stop this task.
    Stop(TaskId),
    /// Try again to remove what this task left.
    Remove(TaskId),
}

/// One thing to do. What an input saves is durable before anything else it asks for is done.
#[expect(clippy::large_enum_variant, reason = "made one at a time and moved at once; never kept in bulk")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Keep this as the highest fence seen.
    SaveFence(Fence),
    /// Keep this record of a task.
    Save(Box<TaskRecord>),
    /// Drop the record of a task.
    Forget(TaskId),
    /// Tell the master, if connected.
    Send(FromAgent),
    /// Leave this master and look for another.
    Disconnect(String),
    /// Start a task.
    Start {
        /// What to start.
        launch: Box<TaskLaunch>,
        /// Look first whether strangers hold its ports; not when an earlier try may run.
        check_ports: bool,
    },
    /// End a start under way as soon as nothing is half made, such as while an image is pulled.
    GiveUpStart(TaskId),
    /// Wait for the end of a task.
    Wait(TaskHandle),
    /// Stop a task.
    Stop {
        /// Which.
        handle: TaskHandle,
        /// From TERM to KILL.
        grace: Duration,
    },
    /// Remove what an ended task left behind.
    Remove(TaskHandle),
    /// Ask the drivers what they know of.
    List,
    /// Begin to probe.
    StartChecks {
        /// Which task.
        handle: TaskHandle,
        /// What to ask.
        checks: Vec<LaunchCheck>,
        /// The task came up just now, rather than being found again.
        is_new: bool,
    },
    /// Probe no more.
    StopChecks(TaskId),
    /// Hand in `timer` after `delay`.
    After {
        /// How long from now.
        delay: Duration,
        /// What for.
        timer: Timer,
    },
    /// Tell people.
    Warn(String),
}
