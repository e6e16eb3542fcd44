//! Three masters in one process, on real sockets and real disks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use platformd::line::{Purpose, Security};
use platformd::raft::{self, MembershipError, RaftHandle, RaftSettings, Replaced, Standing};
use platformd::state::{Command, digest};
use platformd::store::{Leadership, ProposeError, ReadError, StateStore};
use platformd::testkit::an_agent;
use platformd::world::SystemClock;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Everything in these tests comes to pass within this, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
#[track_caller]
fn eventually<'a>(what: &'a str, mut condition: impl FnMut() -> bool + 'a) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let until = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < until, "{caller}: not in time: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A running master: its Raft and the connections it answers.
struct Master {
    raft: RaftHandle,
    address: String,
    serving: JoinSet<()>,
}

impl Master {
    async fn start(dir: &Path, listener: TcpListener, masters: &[String]) -> Self {
        Self::start_with(dir, listener, masters, |_| {}).await
    }

    async fn start_with(
        dir: &Path,
        listener: TcpListener,
        masters: &[String],
        change: impl FnOnce(&mut RaftSettings),
    ) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let http = format!("http-of-{address}");
        let mut settings = RaftSettings::new(dir.to_owned(), masters.to_vec(), address.clone(), http);
        change(&mut settings);
        let raft = raft::start(settings, Arc::new(SystemClock)).await.unwrap();
        let mut master = Self { raft, address, serving: JoinSet::new() };
        master.listen(listener);
        master
    }

    fn listen(&mut self, listener: TcpListener) {
        let raft = self.raft.clone();
        self.serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let raft = raft.clone();
                connections.spawn(async move {
                    if let Ok((line, Purpose::Masters)) = Security::off().accept(stream).await {
                        let _ = raft.serve(line).await;
                    }
                });
            }
        });
    }

    /// Cuts it from everybody: nothing comes in, and what went out finds no answer.
    async fn stop(mut self) {
        self.serving.shutdown().await;
        self.raft.shutdown().await;
    }

    fn leadership(&self) -> Leadership {
        self.raft.store().leadership().borrow().clone()
    }

    fn leads(&self) -> bool {
        self.leadership().leads
    }

    fn agents(&self) -> usize {
        self.raft.store().snapshot().agents.len()
    }
}

/// Directories of three masters.
struct Disks([TempDir; 3]);

impl Disks {
    fn new() -> Self {
        Self([(); 3].map(|()| TempDir::new().unwrap()))
    }

    /// Starts all three on ports of their own.
    async fn start(&self) -> Vec<Master> {
        self.start_with(|_| {}).await
    }

    async fn start_with(&self, change: impl Fn(&mut RaftSettings)) -> Vec<Master> {
        let mut listeners = Vec::new();
        for _ in &self.0 {
            listeners.push(a_listener().await);
        }
        let addresses: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        let mut masters = Vec::new();
        for (dir, listener) in self.0.iter().zip(listeners) {
            masters.push(Master::start_with(dir.path(), listener, &addresses, &change).await);
        }
        masters
    }
}

async fn a_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn addresses(masters: &[Master]) -> Vec<String> {
    masters.iter().map(|master| master.address.clone()).collect()
}

fn register(name: &str) -> Vec<Command> {
    vec![an_agent(name).register()]
}

/// The one that leads, once there is one.
async fn leader(masters: &[Master]) -> usize {
    eventually("a master leads", || masters.iter().any(Master::leads)).await;
    masters.iter().position(Master::leads).unwrap()
}

/// Records through whoever leads, however often that changes.
async fn write(masters: &[Master], name: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let at = leader(masters).await;
        match masters[at].raft.store().propose(register(name), None).await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn all_have(masters: &[Master], agents: usize) {
    eventually("all masters have all", || masters.iter().all(|master| master.agents() == agents)).await;
    let index = masters.iter().map(|master| master.raft.store().snapshot().index).max().unwrap();
    eventually("all masters are at one index", || {
        masters.iter().all(|master| master.raft.store().snapshot().index >= index)
    })
    .await;
    let states: Vec<_> = masters.iter().map(|master| master.raft.store().snapshot()).collect();
    for pair in states.windows(2).filter(|pair| pair[0].index == pair[1].index) {
        assert_eq!(digest::digest(&pair[0]), digest::digest(&pair[1]), "at index {}", pair[0].index);
    }
}

async fn stop_all(masters: Vec<Master>) {
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_alone_leads_at_once_and_again_after_a_restart() {
    let dir = TempDir::new().unwrap();
    for run in 0..3 {
        let listener = a_listener().await;
        let address = listener.local_addr().unwrap().to_string();
        let started = Instant::now();
        let master = Master::start(dir.path(), listener, &[address]).await;
        eventually("it leads", || master.leads()).await;
        let took = started.elapsed();
        assert!(took < Duration::from_secs(2), "took {took:?}");
        println!("run {run}: leads after {took:?}");
        let applied = master.raft.store().propose(register(&format!("agent-{run}")), None).await.unwrap();
        assert_eq!(applied.index, master.raft.store().snapshot().index);
        assert_eq!(master.raft.store().fresh_snapshot().await.unwrap().agents.len(), run + 1);
        assert_eq!(master.leadership().leader.unwrap().http, format!("http-of-{}", master.address));
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_alone_whose_log_vanished_founds_no_second_quorum() {
    let dir = TempDir::new().unwrap();
    let listener = a_listener().await;
    let address = listener.local_addr().unwrap().to_string();
    let master = Master::start(dir.path(), listener, std::slice::from_ref(&address)).await;
    eventually("it leads", || master.leads()).await;
    master.raft.store().propose(register("agent"), None).await.unwrap();
    master.stop().await;
    for segment in std::fs::read_dir(dir.path().join("log")).unwrap() {
        std::fs::remove_file(segment.unwrap().path()).unwrap();
    }
    let settings =
        RaftSettings::new(dir.path().to_owned(), vec![address.clone()], address, "http".to_owned());
    let Err(error) = raft::start(settings, Arc::new(SystemClock)).await else { panic!("it started") };
    assert!(error.to_string().contains("missing or empty"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_reach_all_and_go_on_without_the_leader() {
    let disks = Disks::new();
    let mut masters = disks.start().await;
    for n in 0..20 {
        write(&masters, &format!("agent-{n}")).await;
    }
    all_have(&masters, 20).await;
    let at = leader(&masters).await;
    let old = masters[at].leadership();
    assert!(masters.iter().all(|master| master.leadership().leader == old.leader));
    masters.remove(at).stop().await;
    let since = Instant::now();
    write(&masters, "after").await;
    println!("written {:?} after the leader went", since.elapsed());
    let at = leader(&masters).await;
    assert!(masters[at].leadership().term > old.term);
    all_have(&masters, 21).await;
    stop_all(masters).await;
}

/// In its old term it might give an index anew that its disk had lost and the others have.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_back_before_an_election_needs_one_all_the_same() {
    let disks = Disks::new();
    // Long enough for a restart within it on a busy machine.
    let slow = |settings: &mut RaftSettings| {
        settings.timing.election_min_ms = 1_500;
        settings.timing.election_max_ms = 2_000;
    };
    let mut masters = disks.start_with(slow).await;
    write(&masters, "before").await;
    let at = leader(&masters).await;
    let (old, all) = (masters[at].leadership().term, addresses(&masters));
    let gone = masters.remove(at);
    let address = gone.address.clone();
    gone.stop().await;
    let listener = TcpListener::bind(&address).await.unwrap();
    let back = Master::start_with(disks.0[at].path(), listener, &all, slow).await;
    masters.push(back);
    let at = leader(&masters).await;
    let new = masters[at].leadership().term;
    assert!(new > old, "term {new} after term {old}");
    write(&masters, "after").await;
    all_have(&masters, 2).await;
    stop_all(masters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_on_other_ports_keeps_everything() {
    let disks = Disks::new();
    let masters = disks.start().await;
    for n in 0..10 {
        write(&masters, &format!("agent-{n}")).await;
    }
    let before: Vec<u64> = masters.iter().map(|master| master.raft.node()).collect();
    stop_all(masters).await;
    let masters = disks.start().await;
    write(&masters, "later").await;
    all_have(&masters, 11).await;
    let after: Vec<u64> = masters.iter().map(|master| master.raft.node()).collect();
    assert_eq!(before, after);
    let at = leader(&masters).await;
    let said = masters[at].leadership().leader.unwrap();
    assert_eq!((said.node, said.cluster), (after[at], masters[at].address.clone()));
    stop_all(masters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_of_another_term_is_refused() {
    let disks = Disks::new();
    let masters = disks.start().await;
    let at = leader(&masters).await;
    let store = masters[at].raft.store();
    let term = masters[at].leadership().term;
    assert_eq!(store.propose(register("old"), Some(term - 1)).await, Err(ProposeError::TermEnded));
    assert_eq!(store.propose(register("future"), Some(term + 1)).await, Err(ProposeError::TermEnded));
    store.propose(register("now"), Some(term)).await.unwrap();
    let follower = &masters[(at + 1) % 3];
    let elsewhere = follower.raft.store();
    assert_eq!(elsewhere.propose(register("no"), None).await, Err(ProposeError::NotLeader));
    assert_eq!(elsewhere.propose(register("no"), Some(term)).await, Err(ProposeError::TermEnded));
    assert_eq!(elsewhere.fresh_snapshot().await.err(), Some(ReadError::NotLeader));
    all_have(&masters, 1).await;
    stop_all(masters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_request() {
    let disks = Disks::new();
    let masters = disks.start().await;
    let at = leader(&masters).await;
    let since = Instant::now();
    assert!(masters[at].raft.transfer_leadership().await);
    eventually("another leads", || masters.iter().enumerate().any(|(n, master)| n != at && master.leads()))
        .await;
    println!("handed over in {:?}", since.elapsed());
    assert!(!masters[at].leads());
    write(&masters, "after").await;
    stop_all(masters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_from_its_quorum_says_so() {
    let disks = Disks::new();
    let mut masters = disks.start().await;
    write(&masters, "before").await;
    let at = leader(&masters).await;
    let cut = masters.remove(at);
    stop_all(masters).await;
    let since = Instant::now();
    eventually("the leader stops saying that it leads", || !cut.leads()).await;
    println!("gave up {:?} after its quorum went", since.elapsed());
    let refused = timeout(Duration::from_secs(5), cut.raft.store().fresh_snapshot()).await.unwrap();
    assert!(refused.is_err());
    sleep(Duration::from_millis(500)).await;
    assert!(!cut.leads());
    cut.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_of_three_knows_of_no_leader_until_it_hears_one() {
    let disks = Disks::new();
    let mut masters = disks.start().await;
    write(&masters, "agent").await;
    let at = leader(&masters).await;
    let survivor = masters.remove((at + 1) % 3);
    eventually("the others lead it", || survivor.leadership().leader.is_some()).await;
    let gone = masters.remove(0);
    let (address, dir) = (gone.address.clone(), gone.raft.node());
    let all = [addresses(&masters), vec![address.clone(), survivor.address.clone()]].concat();
    gone.stop().await;
    stop_all(masters).await;
    eventually("it hears nobody", || survivor.leadership().leader.is_none()).await;
    let disk = disks.0.iter().find(|disk| {
        let text = std::fs::read_to_string(disk.path().join("identity.json")).unwrap();
        text.contains(&dir.to_string())
    });
    let listener = TcpListener::bind(&address).await.unwrap();
    let back = Master::start(disk.unwrap().path(), listener, &all).await;
    eventually("one of the two leads", || {
        [&survivor, &back].iter().all(|one| one.leadership().leader.is_some())
    })
    .await;
    stop_all(vec![survivor, back]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_master_is_a_stranger_until_it_replaces_its_former_self() {
    let disks = Disks::new();
    let small = |settings: &mut RaftSettings| {
        settings.snapshot_every = 20;
        settings.keep_behind_snapshot = 5;
        settings.segment_bytes = 8192;
    };
    let mut masters = disks.start_with(small).await;
    for n in 0..60 {
        write(&masters, &format!("agent-{n}")).await;
    }
    // Empty a follower, and start it where it was.
    let at = (leader(&masters).await + 1) % 3;
    let lost = masters.remove(at);
    let (old, address) = (lost.raft.node(), lost.address.clone());
    lost.stop().await;
    let all: Vec<String> =
        masters.iter().map(|master| master.address.clone()).chain([address.clone()]).collect();
    let empty = TempDir::new().unwrap();
    let listener = TcpListener::bind(&address).await.unwrap();
    let stranger = Master::start_with(empty.path(), listener, &all, small).await;
    let new = stranger.raft.node();
    assert_ne!(old, new);
    let at = leader(&masters).await;
    let members = masters[at].raft.membership();
    eventually("the stranger introduces itself", || members.strangers().iter().any(|(node, _)| *node == new))
        .await;
    for n in 60..70 {
        write(&masters, &format!("agent-{n}")).await;
    }
    assert_eq!(stranger.agents(), 0, "a stranger got entries");
    eventually("the stranger hears who leads", || {
        let told = stranger.leadership();
        !told.leads && told.leader.is_some_and(|told| masters.iter().any(|one| one.raft.node() == told.node))
    })
    .await;
    let standing = stranger.raft.membership();
    assert_eq!(standing.standing(), Standing::Stranger);
    assert_eq!(masters[0].raft.membership().standing(), Standing::Member);

    let at = leader(&masters).await;
    let members = masters[at].raft.membership();
    let own = masters[at].raft.node();
    assert_eq!(members.replace_member(12345, new).await, Err(MembershipError::NotAMember(12345)));
    assert_eq!(members.replace_member(old, 12345).await, Err(MembershipError::NeverMet(12345)));
    assert_eq!(members.replace_member(own, new).await, Err(MembershipError::Leads(own)));
    assert_eq!(members.replace_member(old, own).await, Err(MembershipError::AlreadyAMember(own)));
    let follower = masters[(at + 1) % 2].raft.membership();
    assert_eq!(follower.replace_member(old, new).await, Err(MembershipError::NotLeader));

    assert_eq!(members.replace_member(old, new).await, Ok(Replaced::Now));
    assert_eq!(members.replace_member(old, new).await, Ok(Replaced::Before));
    masters.push(stranger);
    eventually("the new master has what was there before it", || standing.standing() == Standing::Member)
        .await;
    let now: Vec<u64> =
        members.members().iter().filter(|member| member.votes).map(|member| member.node).collect();
    assert_eq!(now.len(), 3);
    assert!(now.contains(&new) && !now.contains(&old), "{now:?}");
    all_have(&masters, 70).await;
    let files = std::fs::read_dir(empty.path().join("snapshots")).unwrap().count();
    assert!(files > 0, "it was brought up by a snapshot");
    // Its voice counts: one of the others may go.
    masters.remove(0).stop().await;
    write(&masters, "after").await;
    all_have(&masters, 71).await;
    stop_all(masters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_master_joins_and_one_leaves() {
    let disks = Disks::new();
    let mut masters = disks.start().await;
    write(&masters, "before").await;
    let all = addresses(&masters);
    let dir = TempDir::new().unwrap();
    let fourth = Master::start(dir.path(), a_listener().await, &all).await;
    let new = fourth.raft.node();
    let at = leader(&masters).await;
    let members = masters[at].raft.membership();
    eventually("it introduces itself", || members.strangers().iter().any(|(node, _)| *node == new)).await;
    members.add_member(new).await.unwrap();
    masters.push(fourth);
    let leaving = (at + 1) % 3;
    let old = masters[leaving].raft.node();
    members.remove_member(old).await.unwrap();
    masters.remove(leaving).stop().await;
    assert_eq!(members.members().len(), 3);
    write(&masters, "after").await;
    all_have(&masters, 2).await;
    stop_all(masters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_and_purged_logs_restart_to_the_same_state() {
    let disks = Disks::new();
    let small = |settings: &mut RaftSettings| {
        settings.snapshot_every = 10;
        settings.keep_behind_snapshot = 2;
        settings.segment_bytes = 4096;
    };
    let masters = disks.start_with(small).await;
    for n in 0..50 {
        write(&masters, &format!("agent-{n}")).await;
    }
    all_have(&masters, 50).await;
    let at = leader(&masters).await;
    let stats = masters[at].raft.stats();
    assert!(stats.snapshots > 0 && stats.snapshot_bytes > 0, "{stats:?}");
    assert!(stats.log_entries < 50 && stats.fsyncs > 0 && stats.committed >= 50, "{stats:?}");
    stop_all(masters).await;
    let masters = disks.start_with(small).await;
    all_have(&masters, 50).await;
    write(&masters, "after").await;
    all_have(&masters, 51).await;
    stop_all(masters).await;
}
