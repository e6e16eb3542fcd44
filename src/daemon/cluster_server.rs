//! The cluster port of a master: lets in who proves a role, and hands each connection on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::line::{Purpose, Security};
use crate::raft::RaftHandle;
use crate::world;
use crate::world::net::{TcpListener, TcpStream};

/// Pause between two log lines about connections that were not let in.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Pause after a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Hands connections on the cluster port to whom they are for.
#[derive(Clone)]
pub(super) struct ClusterServer {
    pub(super) security: Security,
    pub(super) raft: RaftHandle,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) shutdown: CancellationToken,
}

impl ClusterServer {
    /// Runs beside the quorum; agents are served on the caller's runtime, away from it.
    pub(super) async fn accept(self, listener: TcpListener) {
        let mut told = None;
        let (refusals, mut refused) = mpsc::channel(1);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(refusal) = refused.recv() => {
                    tell(refusal, &mut told);
                    continue;
                }
                () = self.shutdown.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    world::spawn(self.clone().serve(stream, peer, refusals.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection on the cluster port");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, refusals: mpsc::Sender<Refused>) {
        let serving = async {
            match self.security.accept(stream).await {
                Ok((line, Purpose::Masters)) => {
                    if let Err(error) = self.raft.serve(line).await {
                        tracing::debug!(%error, "a connection of another master ended");
                    }
                }
                Ok((line, Purpose::Agent)) => self.dispatcher.serve(line, self.shutdown.clone()).await,
                // When many are refused at once, one of them is told.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    let _ = refusals.try_send((peer, error));
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "a connection on the cluster port said nothing we know");
                }
            }
        };
        tokio::select! {
            () = serving => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

/// Who was not let in, and why.
type Refused = (SocketAddr, io::Error);

/// Says that somebody was not let in, at most once in [`REFUSALS_TOLD_EVERY`]: it comes again
/// and again until people mend it.
fn tell((peer, error): Refused, told: &mut Option<Instant>) {
    if told.is_none_or(|at| at.elapsed() >= REFUSALS_TOLD_EVERY) {
        *told = Some(Instant::now());
        tracing::warn!(%peer, %error, "refused a connection on the cluster port");
    }
}
