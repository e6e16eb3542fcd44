//! Accepts connections and serves a router on them until told to stop.
//!
//! Our own loop instead of axum's: connections are bounded, slow heads and endless
//! drains have deadlines, and tasks are prepared for the simulator.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::world::{
    self,
    net::{TcpListener, TcpStream},
};

/// Connections served at once; further ones wait in the kernel's queue. Well below the
/// usual limit of open files, which agents and peers need too.
const CONNECTIONS_MAX: usize = 4_096;

/// Longest time for the head of a request to arrive, and for a connection to lie idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest head of a request in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Pause after a failed accept, such as too many open files, which a repeat will not mend at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest wait for requests under way when stopping.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves `router` on `listener` until `shutdown` is cancelled; then lets requests under
/// way finish within a deadline.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &places) => match accepted {
                Ok((stream, peer, place)) => {
                    let serving = serve_one(stream, peer, router.clone(), shutdown.clone());
                    connections.spawn(world::inherit(async move {
                        serving.await;
                        drop(place);
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn serve_one(stream: TcpStream, peer: SocketAddr, router: Router, shutdown: CancellationToken) {
    // Answers are small and whole; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        // The date would come from the machine's clock, which the simulator must not see.
        .auto_date_header(!cfg!(feature = "sim"))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        // Clients break off as they please; nobody needs to hear of it.
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
