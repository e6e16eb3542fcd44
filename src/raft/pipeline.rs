//! Log entries to one peer: many batches on the way at once, answers in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::base::BoxStream;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::messages::{AppendAsk, AppendReply, Ask, Request};
use super::network::{Peer, unreachable};
use super::types::TypeConfig;
use crate::line::{LineReceiver, LineSender};
use crate::world;

/// Longest wait for a peer to make a batch durable; a partition looks like this. Long enough
/// for a disk with a queue, short enough that a healed peer is found again soon.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

type RpcError = RPCError<TypeConfig>;
type Item = Result<StreamAppendResult<TypeConfig>, RpcError>;

/// What the two halves know of each other.
#[derive(Default)]
struct Progress {
    sent: AtomicU64,
    input_ended: AtomicBool,
}

/// Ends the sending half when the receiving half is dropped.
struct Sending(JoinHandle<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends what `input` gives to `peer`.
///
/// The first batch is awaited before connecting: openraft's back-off sleeps inside `input`,
/// and connecting first would turn a dead peer into a busy loop.
pub(super) async fn open<'s, S>(peer: Peer, mut input: S) -> Result<BoxStream<'s, Item>, RpcError>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
{
    let Some(first) = input.next().await else { return Ok(Box::pin(stream::empty())) };
    let connect = async {
        let (mut sender, receiver) = peer.dial().await?.split();
        sender.feed(&Ask { number: 0, to: Some(peer.target), request: Request::StreamAppend }).await?;
        sender.send(&AppendAsk::from(first)).await?;
        Ok((sender, receiver))
    };
    let connected =
        timeout(ANSWER_TIMEOUT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let (sender, receiver) = connected.map_err(|error| unreachable(&error))?;
    let progress = Arc::new(Progress { sent: AtomicU64::new(1), ..Progress::default() });
    let sending = Sending(world::spawn(forward(input, sender, Arc::clone(&progress))));
    let answers = Answers { receiver, progress, answered: 0, _sending: sending };
    Ok(Box::pin(stream::unfold(Some(answers), next)))
}

async fn forward<S>(mut input: S, mut sender: LineSender, progress: Arc<Progress>)
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    while let Some(batch) = input.next().await {
        progress.sent.fetch_add(1, Ordering::SeqCst);
        if sender.send(&AppendAsk::from(batch)).await.is_err() {
            return; // The receiving half sees the broken connection and says so.
        }
    }
    progress.input_ended.store(true, Ordering::SeqCst);
    let _ = sender.close().await;
}

struct Answers {
    receiver: LineReceiver,
    progress: Arc<Progress>,
    answered: u64,
    _sending: Sending,
}

impl Answers {
    fn is_owed(&self) -> bool {
        self.progress.sent.load(Ordering::SeqCst) > self.answered
    }

    /// Nothing once every batch is answered and none will follow.
    async fn receive(&mut self) -> io::Result<Option<AppendReply>> {
        loop {
            let owed_before = self.is_owed();
            match timeout(ANSWER_TIMEOUT, self.receiver.receive()).await {
                Ok(Ok(Some(reply))) => {
                    self.answered += 1;
                    return Ok(Some(reply));
                }
                Ok(Ok(None)) if self.progress.input_ended.load(Ordering::SeqCst) && !self.is_owed() => {
                    return Ok(None);
                }
                // openraft takes a plain end for "all is done", so a broken connection is an error.
                Ok(Ok(None)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Err(error)) => return Err(error),
                Err(_) if owed_before => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => {}
            }
        }
    }
}

async fn next(answers: Option<Answers>) -> Option<(Item, Option<Answers>)> {
    let mut answers = answers?;
    match answers.receive().await {
        Ok(Some(reply)) => {
            let result = StreamAppendResult::from(reply);
            let more = result.is_ok().then_some(answers);
            Some((Ok(result), more))
        }
        Ok(None) => None,
        Err(error) => Some((Err(unreachable(&error)), None)),
    }
}
