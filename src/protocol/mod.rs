//! Floor 1: the words spoken between master and agent, and their lasting form.
//!
//! Messages are rmp (MessagePack) maps with field names, so that either side may
//! gain a field with a default. Knows values only: no state, no paths, no sockets.
//!
//! Rules both sides keep:
//! * An agent dials any master; the leader answers [`FromMaster::Welcome`], another
//!   master [`FromMaster::Redirect`].
//! * Everything the leader sends carries a [`Fence`]. An agent keeps the highest
//!   (epoch, term) on disk and ignores lower ones; within one term it ignores a lower index.
//! * Nothing stops because a message does not name it.
//! * An agent repeats a status until it is acknowledged; the leader acknowledges after commit.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{AgentInfo, ClusterId, Hindrances, PortRanges, TaskId, TaskLaunch, TaskStatus, UpdateId};

/// Version of the words; both sides say theirs, the lower one is spoken.
pub const PROTOCOL_VERSION: u16 = 1;

/// Who sends, and how new its knowledge is. Higher (epoch, term) wins over lower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Life of the cluster; raised by recovery and restore.
    pub epoch: u64,
    /// Term of the leader that sends.
    pub term: u64,
    /// State index that the message was computed from.
    pub index: u64,
}

impl Fence {
    /// Whether a message with this fence may be heeded after one with `seen`.
    pub fn is_at_least(&self, seen: &Self) -> bool {
        self.cluster == seen.cluster
            && (self.epoch, self.term, self.index) >= (seen.epoch, seen.term, seen.index)
    }
}

/// What an agent says.
#[expect(clippy::large_enum_variant, reason = "made one at a time and moved at once; never kept in bulk")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// First message of a connection.
    Register(Register),
    /// I live. Answered by [`FromMaster::HeartbeatAck`] unless it is quiet. Said once a second unless
    /// something else is.
    Heartbeat {
        /// Counts up per connection.
        seq: u64,
        /// No answer is needed: the leader was heard a moment ago. A leader of before answers all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        quiet: bool,
    },
    /// News of tasks, oldest first; repeated until acknowledged.
    Status {
        /// What happened.
        updates: Vec<StatusUpdate>,
    },
    /// Ports of the agent's ranges that strangers hold; the whole list at every change.
    HeldPorts {
        /// Not to be offered while held.
        ports: PortRanges,
    },
    /// What keeps the agent from starting tasks; all of it at every change, and after each welcome.
    Hindered {
        /// Nothing to be given meanwhile that it could not start.
        hindrances: Hindrances,
    },
}

/// Whether an agent that says once per `beat` that it lives needs no answer now, `heard_ago` after it
/// last heard its leader: then at most one beat in a row stays unanswered. An answer costs a leader of
/// ten thousand agents as much as all the rest of a heartbeat.
pub fn is_quiet(heard_ago: Duration, beat: Duration) -> bool {
    heard_ago < beat + beat / 2
}

/// What only one agent knows; a master keeps a digest of it. Never shown or logged.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proof(String);

impl Proof {
    /// The proof that says `text`; empty means none.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What it says.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

/// Introduces an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Highest version of the words that the agent speaks.
    pub protocol: u16,
    /// Cluster it belongs to, once it knows one.
    #[serde(default)]
    pub cluster: Option<ClusterId>,
    /// Highest fence it has seen.
    #[serde(default)]
    pub seen: Option<Fence>,
    /// What it is and has.
    pub agent: AgentInfo,
    /// What only this agent knows: nobody else is taken for it. Empty from an agent that has none.
    #[serde(default)]
    pub proof: Proof,
    /// A master refused it since it was last welcomed: whoever else has its id comes first.
    #[serde(default)]
    pub yields: bool,
    /// Ports of its ranges that strangers hold.
    #[serde(default)]
    pub held_ports: PortRanges,
    /// Every task it knows of, running or ended and not yet acknowledged.
    #[serde(default)]
    pub tasks: Vec<TaskReport>,
}

/// One task as its agent knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Which.
    pub task: TaskId,
    /// Latest status.
    pub status: TaskStatus,
}

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusUpdate {
    /// For the acknowledgement.
    pub id: UpdateId,
    /// What is the case now.
    pub status: TaskStatus,
}

/// What a master says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromMaster {
    /// I lead; you are registered.
    Welcome {
        /// Version of the words that will be spoken.
        protocol: u16,
        /// Who speaks.
        fence: Fence,
        /// How often to send heartbeats.
        heartbeat_millis: u64,
    },
    /// I do not lead; ask there.
    Redirect {
        /// Cluster address of the leader, when known.
        leader: Option<String>,
    },
    /// You may not join, and a repeat will not help until somebody acts.
    Refuse {
        /// For people.
        reason: String,
    },
    /// What I want of you. `full`: of every task I know on you; otherwise only changes.
    Assign {
        /// Who speaks.
        fence: Fence,
        /// Whether every task that the master knows on this agent is named.
        full: bool,
        /// One entry per task.
        tasks: Vec<Assignment>,
    },
    /// Committed; stop repeating these.
    Acknowledge {
        /// Who speaks.
        fence: Fence,
        /// Which.
        updates: Vec<UpdateId>,
    },
    /// Your heartbeat was heard by a leader whose quorum stands.
    HeartbeatAck {
        /// Who speaks.
        fence: Fence,
        /// Number of the heartbeat.
        seq: u64,
    },
}

/// What is wanted of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Assignment {
    /// It should run; start it unless it was started before.
    Run(Box<TaskLaunch>),
    /// It should stop.
    Stop {
        /// Which.
        task: TaskId,
        /// For people.
        reason: String,
    },
}

impl Assignment {
    /// Which task it is about.
    pub fn task(&self) -> &TaskId {
        match self {
            Self::Run(launch) => &launch.task,
            Self::Stop { task, .. } => task,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_heartbeat_needs_no_answer() {
        let beat = Duration::from_secs(1);
        let heard_ago = [0, 999, 1_001, 1_499, 1_500, 2_000, 9_000].map(Duration::from_millis);
        assert_eq!(heard_ago.map(|ago| is_quiet(ago, beat)), [true, true, true, true, false, false, false]);
    }

    /// As agents and leaders of before say and read it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Before {
        Heartbeat { seq: u64 },
    }

    #[test]
    fn heartbeats_of_before_want_answers_and_quiet_ones_are_read_by_leaders_of_before() {
        let said = rmp_serde::to_vec_named(&Before::Heartbeat { seq: 3 }).unwrap();
        let asks = FromAgent::Heartbeat { seq: 3, quiet: false };
        assert_eq!(rmp_serde::from_slice::<FromAgent>(&said).unwrap(), asks);
        assert_eq!(rmp_serde::to_vec_named(&asks).unwrap(), said);
        let quiet = rmp_serde::to_vec_named(&FromAgent::Heartbeat { seq: 3, quiet: true }).unwrap();
        assert_eq!(rmp_serde::from_slice::<Before>(&quiet).unwrap(), Before::Heartbeat { seq: 3 });
    }
}
