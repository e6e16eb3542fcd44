//! Who belongs to the quorum, and how an operator changes that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{sleep, timeout};

use super::address_book::AddressBook;
use super::greeter::greet;
use super::introduction::Introduction;
use super::standing::Standing;
use super::types::{MasterNode, TypeConfig};
use crate::line::Security;

/// Longest wait for a new master to have the log, its snapshot included. With
/// [`CHANGE_TIMEOUT`] within what the API spends on one request; a repeat goes on from there.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(25);

/// Longest wait for a majority to agree to a change.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a new master to know that it votes, within what is left of the API's time.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two questions to it.
const READY_PAUSE: Duration = Duration::from_millis(50);

/// Longest wait for another change to end; the API then still has time to answer.
const TURN_TIMEOUT: Duration = Duration::from_secs(20);

/// One master of the quorum, or one that waits at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Persisted identity.
    pub node: u64,
    /// Where it is reached now.
    pub at: MasterNode,
    /// Whether its voice counts; it only follows otherwise.
    pub votes: bool,
    /// Whether it leads, as far as this master knows.
    pub leads: bool,
    /// Latest entry that the leader knows it to have; only the leader can say.
    pub matched: Option<u64>,
}

/// Why the quorum was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader can.
    #[error("change the members: this master does not lead; ask the leader")]
    NotLeader,
    /// There is no such member.
    #[error("find member {0}; list the members and take one of their ids")]
    NotAMember(u64),
    /// It is a member already.
    #[error("take master {0} in: it is a member already")]
    AlreadyAMember(u64),
    /// It has not introduced itself since this master started.
    #[error("find master {0}; start it with --masters naming this cluster and try again")]
    NeverMet(u64),
    /// It is not where it said to be.
    #[error("reach master {node} at {address}: {why}; see that it runs and listens there, then try again")]
    Unreachable {
        /// Which.
        node: u64,
        /// Where it said to be.
        address: String,
        /// What came instead of its answer.
        why: String,
    },
    /// Its log is of another cluster.
    #[error("take master {0} in: its data directory belongs to another cluster; start it with an empty one")]
    OtherCluster(u64),
    /// The leader itself is to go.
    #[error("remove master {0} while it leads; make another one lead with DELETE /v2/leader, then try again")]
    Leads(u64),
    /// It would leave nobody.
    #[error("remove the last master")]
    LastOne,
    /// It took too long; the change may still happen.
    #[error("{0} in time; it may still happen, and a repeat goes on from there: try again in a while")]
    TimedOut(&'static str),
    /// Raft said no.
    #[error("change the members: {0}; list the members, then try again")]
    Refused(String),
}

/// The quorum, for operators. Cheap to clone.
#[derive(Clone)]
pub struct Membership {
    pub(super) me: Introduction,
    pub(super) book: Arc<AddressBook>,
    pub(super) security: Security,
    /// Held by whoever changes the members.
    pub(super) changing: Arc<Mutex<()>>,
}

/// What came of a wish to replace a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The new one has the place now.
    Now,
    /// It had a place already, and the old one none.
    Before,
}

impl Membership {
    /// Id of this master.
    pub fn own_id(&self) -> u64 {
        self.me.node
    }

    /// Whether this master's own copy of the state stands for the cluster.
    pub fn standing(&self) -> Standing {
        *self.me.standing.borrow()
    }

    /// Members by id, as this master knows them; as the others tell, if it is none itself.
    pub fn members(&self) -> Vec<Member> {
        if matches!(self.standing(), Standing::Stranger | Standing::Replaced) {
            return self.members_by_hearsay();
        }
        let metrics = self.me.raft.metrics().borrow_watched().clone();
        let leader = self.leader();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let matched = |node: u64| {
            let replication = metrics.replication.as_ref()?;
            replication.get(&node).and_then(|at| at.as_ref()).map(|id| id.index)
        };
        let member = |(node, recorded): (&u64, &MasterNode)| Member {
            node: *node,
            at: self.book.get(*node).unwrap_or_else(|| recorded.clone()),
            votes: voters.contains(node),
            leads: leader == Some(*node),
            matched: matched(*node),
        };
        metrics.membership_config.nodes().map(member).collect()
    }

    fn leader(&self) -> Option<u64> {
        self.me.leadership.borrow().leader.as_ref().map(|master| master.node)
    }

    fn members_by_hearsay(&self) -> Vec<Member> {
        let leader = self.leader();
        let nodes = self.book.latest_members().nodes.into_iter();
        let member = |(node, recorded)| Member {
            node,
            at: self.book.get(node).unwrap_or(recorded),
            votes: true,
            leads: leader == Some(node),
            matched: None,
        };
        nodes.map(member).collect()
    }

    /// Masters that say that they are there, of late, and are no members.
    pub fn strangers(&self) -> Vec<(u64, MasterNode)> {
        let members: BTreeSet<u64> = self.members().iter().map(|member| member.node).collect();
        self.book.present(self.me.node).into_iter().filter(|(node, _)| !members.contains(node)).collect()
    }

    /// Puts `new` in the place of `old`, which may be dead or emptied: `new` first follows
    /// until it has the log, then gets the voice.
    ///
    /// # Errors
    /// [`MembershipError`]. After `TimedOut` the change may still happen; a repeat is harmless,
    /// and says whether it was done before.
    pub async fn replace_member(&self, old: u64, new: u64) -> Result<Replaced, MembershipError> {
        let _changing = self.take_turn().await?;
        self.check_leads()?;
        let mut voters = self.voters();
        if voters.contains(&new) && !voters.contains(&old) {
            return Ok(Replaced::Before);
        }
        self.check_may_go(old)?;
        self.let_follow(new).await?;
        voters = self.voters();
        if voters.remove(&old) {
            voters.insert(new);
        }
        self.set_voters(voters).await?;
        self.wait_for_copy(new).await;
        Ok(Replaced::Now)
    }

    /// Takes `new` in as one more member with a voice.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_member(&self, new: u64) -> Result<(), MembershipError> {
        let _changing = self.take_turn().await?;
        self.check_leads()?;
        self.let_follow(new).await?;
        let mut voters = self.voters();
        voters.insert(new);
        self.set_voters(voters).await
    }

    /// Lets a member go.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove_member(&self, old: u64) -> Result<(), MembershipError> {
        let _changing = self.take_turn().await?;
        self.check_may_go(old)?;
        let mut voters = self.voters();
        voters.remove(&old);
        if voters.is_empty() {
            return Err(MembershipError::LastOne);
        }
        self.set_voters(voters).await
    }

    /// Of two changes at once the later one sees what the earlier one did.
    async fn take_turn(&self) -> Result<OwnedMutexGuard<()>, MembershipError> {
        let turn = timeout(TURN_TIMEOUT, Arc::clone(&self.changing).lock_owned()).await;
        turn.map_err(|_| MembershipError::TimedOut("end another change of the members"))
    }

    fn voters(&self) -> BTreeSet<u64> {
        self.me.raft.metrics().borrow_watched().membership_config.voter_ids().collect()
    }

    fn check_leads(&self) -> Result<(), MembershipError> {
        if self.me.raft.is_leader() { Ok(()) } else { Err(MembershipError::NotLeader) }
    }

    fn check_may_go(&self, old: u64) -> Result<(), MembershipError> {
        self.check_leads()?;
        if !self.voters().contains(&old) {
            return Err(MembershipError::NotAMember(old));
        }
        if old == self.me.node { Err(MembershipError::Leads(old)) } else { Ok(()) }
    }

    /// Adds `new` as a follower without a voice and waits until it has the log.
    async fn let_follow(&self, new: u64) -> Result<(), MembershipError> {
        if self.voters().contains(&new) {
            return Err(MembershipError::AlreadyAMember(new));
        }
        let at = self.book.get(new).ok_or(MembershipError::NeverMet(new))?;
        self.check_may_come(new, &at).await?;
        let adding = timeout(CATCH_UP_TIMEOUT, self.me.raft.add_learner(new, at, true)).await;
        adding
            .map_err(|_| MembershipError::TimedOut("bring the new master up"))?
            .map_err(|error| refused(&error))?;
        Ok(())
    }

    /// Waits until `new` says that it can answer for the cluster; it votes by now, so there is
    /// nothing to undo if that takes longer than [`READY_TIMEOUT`].
    async fn wait_for_copy(&self, new: u64) {
        let Some(at) = self.book.get(new) else { return };
        let waiting = async {
            let own = self.me.hello().await;
            while !greet(&self.security, &at.cluster, &own).await.is_ok_and(|theirs| theirs.has_copy) {
                sleep(READY_PAUSE).await;
            }
        };
        let _ = timeout(READY_TIMEOUT, waiting).await;
    }

    /// Whether `new` is there now, and has no log but ours.
    async fn check_may_come(&self, new: u64, at: &MasterNode) -> Result<(), MembershipError> {
        let unreachable =
            |why: String| MembershipError::Unreachable { node: new, address: at.cluster.clone(), why };
        let own = self.me.hello().await;
        let theirs =
            greet(&self.security, &at.cluster, &own).await.map_err(|error| unreachable(error.to_string()))?;
        if theirs.node != new {
            return Err(unreachable(format!("master {} is there now", theirs.node)));
        }
        // Not empty, but with us for a member: an earlier try brought it some of our log.
        if theirs.empty || theirs.members.contains_key(&self.me.node) {
            Ok(())
        } else {
            Err(MembershipError::OtherCluster(new))
        }
    }

    async fn set_voters(&self, voters: BTreeSet<u64>) -> Result<(), MembershipError> {
        let change = ChangeMembers::ReplaceAllVoters(voters);
        let changing = timeout(CHANGE_TIMEOUT, self.me.raft.change_membership(change, false)).await;
        changing
            .map_err(|_| MembershipError::TimedOut("hear a majority agree"))?
            .map_err(|error| refused(&error))?;
        Ok(())
    }
}

fn refused(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    if error.forward_to_leader().is_some() {
        return MembershipError::NotLeader;
    }
    MembershipError::Refused(error.to_string())
}
