//! Small adapters between rooms that may not name each other.

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::api::{self, ReplaceError, Replaced};
use crate::leader::RollCall;
use crate::raft::{self, Membership, MembershipError, RaftHandle, Standing};
use crate::scheduler::Suspects;
use crate::state::ClusterState;
use crate::store::Master;
use crate::world;

/// The quorum's members, for the API.
pub(super) struct Members(pub(super) Membership);

impl api::Members for Members {
    fn list(&self) -> Vec<api::Member> {
        let mut members: Vec<api::Member> = self
            .0
            .members()
            .into_iter()
            .map(|member| api::Member {
                master: Master { node: member.node, http: member.at.http, cluster: member.at.cluster },
                votes: member.votes,
            })
            .collect();
        let strangers = self.0.strangers().into_iter();
        members.extend(strangers.map(|(node, at)| api::Member {
            master: Master { node, http: at.http, cluster: at.cluster },
            votes: false,
        }));
        members
    }

    fn replace(&self, old: u64, new: u64) -> BoxFuture<'_, Result<Replaced, ReplaceError>> {
        Box::pin(async move {
            let replaced = self.0.replace_member(old, new).await.map_err(|error| {
                let sentence = format!("Failed to {error}.");
                match error {
                    MembershipError::NotAMember(_) => ReplaceError::NotAMember(sentence),
                    MembershipError::NotLeader | MembershipError::TimedOut(_) => {
                        ReplaceError::Unavailable(sentence)
                    }
                    MembershipError::AlreadyAMember(_)
                    | MembershipError::NeverMet(_)
                    | MembershipError::Unreachable { .. }
                    | MembershipError::OtherCluster(_)
                    | MembershipError::Leads(_)
                    | MembershipError::LastOne
                    | MembershipError::Refused(_) => ReplaceError::Conflict(sentence),
                }
            })?;
            Ok(match replaced {
                raft::Replaced::Now => Replaced::Now,
                raft::Replaced::Before => Replaced::Before,
            })
        })
    }

    fn outside(&self) -> Option<String> {
        let why = match self.0.standing() {
            Standing::Member | Standing::Unheard => return None,
            Standing::CatchingUp => {
                "This master does not have the cluster's state yet: it waits for the leader to bring it. \
                 Ask another master, or again in a while."
            }
            Standing::Stranger => {
                "This master is no member of a cluster: it waits until all that --masters names are there \
                 and found one, or until 'platformd members replace' gives it a place in one. Ask a member."
            }
            Standing::Replaced => {
                "This master was replaced: others make the quorum now, and its state is old. Ask a member; \
                 stop this one, or give it a place again with 'platformd members replace'."
            }
        };
        Some(why.to_owned())
    }

    fn unheard(&self) -> Option<String> {
        (self.0.standing() == Standing::Unheard).then(|| {
            "This master has heard of no leader since it started: a majority of masters is not there, or \
             does not reach it. Look at the other masters; stale=true shows what this one's disk holds."
                .to_owned()
        })
    }
}

/// Hands leadership over when the API asks.
pub(super) struct Abdicate {
    pub(super) raft: RaftHandle,
    pub(super) runtime: Option<Handle>,
}

impl api::Abdicate for Abdicate {
    fn abdicate(&self) {
        let raft = self.raft.clone();
        let hand_over = async move {
            if !raft.transfer_leadership().await {
                tracing::warn!("nobody took leadership over");
            }
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(hand_over)),
            None => drop(world::spawn(hand_over)),
        }
    }
}

/// Which agents the cycle avoids, for the API.
pub(super) struct Attendance(pub(super) RollCall);

impl api::Attendance for Attendance {
    fn suspects(&self, state: &ClusterState) -> Suspects {
        self.0.suspects(state)
    }
}
