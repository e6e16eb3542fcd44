//! Calls to other masters: one connection per peer and use, kept while it works.
//!
//! Whatever goes wrong is `Unreachable`, so that openraft backs off. Log entries travel in a
//! pipeline ([`super::pipeline`]); heartbeats one by one on a connection of their own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use openraft::OptionalSend;
use openraft::alias::SnapshotOf;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::{Instant, timeout};

use super::address_book::AddressBook;
use super::messages::{Answer, Ask, Reply, Request};
use super::snapshots::SnapshotFile;
use super::types::{MasterNode, TypeConfig, Vote};
use super::{pipeline, transfer};
use crate::line::{Line, Purpose, Security};

/// A connection whose peer has not answered for so long is given up for a new one.
const SILENCE_MAX: Duration = Duration::from_millis(500);

type RpcError = RPCError<TypeConfig>;
type Responses<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>;

/// Makes clients.
pub(crate) struct Peers {
    pub(crate) book: Arc<AddressBook>,
    pub(crate) security: Security,
}

impl Peers {
    fn client(&self, target: u64, node: &MasterNode, one_by_one: bool) -> Client {
        let book = Arc::clone(&self.book);
        let peer = Peer { target, recorded: node.clone(), book, security: self.security.clone() };
        Client { peer, one_by_one, open: None }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &MasterNode) -> Client {
        self.client(target, node, false)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &MasterNode) -> Client {
        self.client(target, node, true)
    }
}

/// Who is called.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Its id; another master at the same address refuses.
    pub(crate) target: u64,
    recorded: MasterNode,
    book: Arc<AddressBook>,
    security: Security,
}

impl Peer {
    /// Connects to where the peer is now.
    pub(crate) async fn dial(&self) -> io::Result<Line> {
        let at = self.book.get(self.target).unwrap_or_else(|| self.recorded.clone());
        self.security.dial(&at.cluster, Purpose::Masters).await
    }
}

/// An open connection and the questions asked on it.
struct Open {
    line: Line,
    number: u64,
    /// When the oldest question without any later answer was asked.
    silent_since: Option<Instant>,
}

/// Calls one peer.
pub(crate) struct Client {
    peer: Peer,
    one_by_one: bool,
    open: Option<Open>,
}

/// The error that makes openraft back off.
pub(crate) fn unreachable(error: &io::Error) -> RpcError {
    RPCError::Unreachable(Unreachable::new(error))
}

/// The same for a snapshot.
fn snapshot_failed(error: &io::Error) -> StreamingError<TypeConfig> {
    StreamingError::Unreachable(Unreachable::new(error))
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn strange(reply: &Reply) -> io::Error {
    let text = match reply {
        Reply::Refused(reason) => reason.clone(),
        other => format!("unexpected answer {other:?}"),
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Client {
    /// Asks and waits for the answer at most `limit`. May be dropped half-way: the answer is
    /// then passed over when it comes.
    async fn call(&mut self, request: Request, limit: Duration) -> Result<Reply, RpcError> {
        let outcome = timeout(limit, self.exchange(request)).await.unwrap_or_else(|_| Err(timed_out()));
        outcome.map_err(|error| {
            self.open = None;
            unreachable(&error)
        })
    }

    async fn exchange(&mut self, request: Request) -> io::Result<Reply> {
        let to = Some(self.peer.target);
        let open = self.connected().await?;
        open.number += 1;
        open.silent_since.get_or_insert_with(Instant::now);
        let number = open.number;
        open.line.send(&Ask { number, to, request }).await?;
        loop {
            let answer: Option<Answer> = open.line.receive().await?;
            let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            open.silent_since = None;
            if answer.number == number {
                return Ok(answer.reply);
            }
        }
    }

    async fn connected(&mut self) -> io::Result<&mut Open> {
        let is_silent = |open: &Open| open.silent_since.is_some_and(|since| since.elapsed() > SILENCE_MAX);
        if self.open.as_ref().is_none_or(is_silent) {
            self.open = None;
            let line = self.peer.dial().await?;
            self.open = Some(Open { line, number: 0, silent_since: None });
        }
        self.open.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }

    async fn ask_for_vote(
        &mut self,
        request: Request,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        match self.call(request, option.hard_ttl()).await? {
            Reply::Vote(reply) => Ok(reply.into()),
            other => Err(unreachable(&strange(&other))),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        match self.call(Request::Append(rpc.into()), option.hard_ttl()).await? {
            Reply::Append(reply) => Ok(StreamAppendResult::from(reply).into()),
            other => Err(unreachable(&strange(&other))),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Responses<'s>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.one_by_one {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(pipeline::open(self.peer.clone(), input))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(Request::Vote(rpc.into()), &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_for_vote(Request::PreVote(rpc.into()), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (meta, file) = ((&snapshot.meta).into(), snapshot.snapshot.path);
        let send = timeout(option.hard_ttl(), transfer::send(&self.peer, vote, meta, file));
        tokio::pin!(cancel);
        let reply = tokio::select! {
            closed = &mut cancel => return Err(StreamingError::Closed(closed)),
            outcome = send => outcome.unwrap_or_else(|_| Err(timed_out())),
        };
        match reply.map_err(|error| snapshot_failed(&error))? {
            Reply::Snapshot(vote) => Ok(SnapshotResponse::new(vote.into())),
            other => Err(snapshot_failed(&strange(&other))),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        match self.call(Request::TransferLeader(rpc.into()), option.hard_ttl()).await? {
            Reply::TransferLeader(reply) => Ok(reply.into()),
            other => Err(unreachable(&strange(&other))),
        }
    }
}
