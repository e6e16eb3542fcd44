//! Answers other masters on a connection that one of them opened.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use openraft::alias::SnapshotOf;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult};
use tokio::sync::watch;
use tokio::time::timeout;

use super::address_book::AddressBook;
use super::introduction::Introduction;
use super::last_word::LastWord;
use super::messages::{Answer, AppendAsk, AppendReply, Ask, Hello, Reply, Request};
use super::mirror::SnapshotMetaRecord;
use super::snapshots::{SnapshotFile, Snapshots, aside};
use super::standing::Hearsay;
use super::transfer;
use super::types::{TypeConfig, Vote};
use crate::line::{Line, LineReceiver, Security};
use crate::world::fs;

/// A connection on which nothing came for so long is closed; a peer that needs it dials anew.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// What is needed to answer.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) me: Introduction,
    pub(crate) book: Arc<AddressBook>,
    pub(crate) hearsay: watch::Sender<Hearsay>,
    pub(crate) last_word: Arc<LastWord>,
    pub(crate) snapshots: Snapshots,
    pub(crate) security: Security,
}

impl Server {
    /// Answers until the other side goes or stays silent for [`IDLE_MAX`].
    pub(crate) async fn serve(&self, mut line: Line) -> io::Result<()> {
        loop {
            let ask: Result<io::Result<Option<Ask>>, _> = timeout(IDLE_MAX, line.receive()).await;
            let Ok(ask) = ask else { return Ok(()) };
            let Some(Ask { number, to, request }) = ask? else { return Ok(()) };
            if to.is_some_and(|to| to != self.me.node) {
                let reason = format!("master {} is here now, not {}", self.me.node, to.unwrap_or_default());
                return line.send(&Answer { number, reply: Reply::Refused(reason) }).await;
            }
            let reply = match request {
                Request::StreamAppend => return self.append_stream(line).await,
                Request::Snapshot { vote, meta, bytes } => {
                    self.install(&mut line, vote.into(), meta, bytes).await?
                }
                other => self.answer(other).await?,
            };
            line.send(&Answer { number, reply }).await?;
        }
    }

    async fn answer(&self, request: Request) -> io::Result<Reply> {
        Ok(match request {
            Request::Hello(hello) => Reply::Hello(self.hello(&hello).await),
            Request::Append(ask) => {
                let one = stream::iter([AppendEntriesRequest::from(ask)]);
                let mut results = Box::pin(self.me.raft.stream_append(one));
                let result =
                    results.next().await.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
                let result = result.map_err(io::Error::other)?;
                self.note_leader(&result);
                Reply::Append(result.into())
            }
            Request::Vote(ask) => {
                Reply::Vote(self.me.raft.vote(ask.into()).await.map_err(io::Error::other)?.into())
            }
            Request::PreVote(ask) => {
                Reply::Vote(self.me.raft.pre_vote(ask.into()).await.map_err(io::Error::other)?.into())
            }
            Request::TransferLeader(ask) => {
                let outcome =
                    self.me.raft.handle_transfer_leader(ask.into()).await.map_err(io::Error::other)?;
                Reply::TransferLeader(outcome.into())
            }
            Request::StreamAppend | Request::Snapshot { .. } => Reply::Refused("not a question".into()),
        })
    }

    async fn hello(&self, theirs: &Hello) -> Hello {
        if theirs.node != self.me.node {
            self.book.note(theirs);
        }
        self.me.hello().await
    }

    /// Notes that a leader that still counts wrote to us.
    fn note_leader(&self, result: &StreamAppendResult<TypeConfig>) {
        if !matches!(result, Err(StreamAppendError::HigherVote(_))) {
            self.last_word.note();
            self.hearsay.send_if_modified(|known| !std::mem::replace(&mut known.from_leader, true));
        }
    }

    async fn append_stream(&self, line: Line) -> io::Result<()> {
        let (mut sender, receiver) = line.split();
        let mut results = Box::pin(self.me.raft.stream_append(batches(receiver)));
        while let Some(result) = results.next().await {
            let result = result.map_err(io::Error::other)?;
            self.note_leader(&result);
            sender.send(&AppendReply::from(result)).await?;
        }
        sender.close().await
    }

    async fn install(
        &self,
        line: &mut Line,
        vote: Vote,
        meta: SnapshotMetaRecord,
        bytes: u64,
    ) -> io::Result<Reply> {
        let path = self.snapshots.incoming();
        let outcome = match transfer::receive(line, &path, bytes).await {
            Ok(()) => {
                let file = SnapshotFile { path: path.clone() };
                let snapshot = SnapshotOf::<TypeConfig, _> { meta: meta.into(), snapshot: file };
                self.me.raft.install_full_snapshot(vote, snapshot).await.map_err(io::Error::other)
            }
            Err(error) => Err(error),
        };
        // Gone already when it was installed; left over when it was late or broken.
        let _ = aside(move || if fs::exists(&path) { fs::remove_file(&path) } else { Ok(()) }).await;
        Ok(Reply::Snapshot(outcome?.vote.into()))
    }
}

/// Batches until the leader ends the stream, breaks it or is silent for [`IDLE_MAX`].
fn batches(receiver: LineReceiver) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static {
    Box::pin(stream::unfold(receiver, |mut receiver| async move {
        let batch = timeout(IDLE_MAX, receiver.receive::<AppendAsk>()).await;
        let batch = batch.ok()?.ok()??;
        Some((batch.into(), receiver))
    }))
}
