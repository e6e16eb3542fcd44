//! A snapshot file from one master to another, in chunks on a connection of its own.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::messages::{Answer, Ask, Chunk, Reply, Request};
use super::mirror::{Blob, SnapshotMetaRecord};
use super::network::Peer;
use super::snapshots::aside;
use super::types::Vote;
use crate::line::Line;
use crate::world::fs::File;

/// Bytes per frame: small beside the line's limit, large enough for full speed.
const CHUNK_BYTES: usize = 1 << 20;

/// Longest wait for the next chunk or for room to send it.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the file; the answer is what the peer's Raft says to it.
pub(super) async fn send(
    peer: &Peer,
    vote: Vote,
    meta: SnapshotMetaRecord,
    path: PathBuf,
) -> io::Result<Reply> {
    let (mut file, bytes) = aside(move || {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    })
    .await?;
    let mut line = peer.dial().await?;
    let request = Request::Snapshot { vote: vote.into(), meta, bytes };
    line.send(&Ask { number: 0, to: Some(peer.target), request }).await?;
    let mut left = bytes;
    while left > 0 {
        let (chunk, again) = aside(move || read_chunk(file)).await?;
        file = again;
        left = left.saturating_sub(chunk.len() as u64);
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let sent = timeout(CHUNK_TIMEOUT, line.send(&Chunk { data: Blob(chunk) })).await;
        sent.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
    let answer: Option<Answer> = line.receive().await?;
    answer.map(|answer| answer.reply).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn read_chunk(mut file: File) -> io::Result<(Bytes, File)> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok((chunk.into(), file))
}

/// Receives `bytes` bytes into a file at `path` and makes them durable.
pub(super) async fn receive(line: &mut Line, path: &Path, bytes: u64) -> io::Result<()> {
    let target = path.to_owned();
    let mut file = aside(move || File::create(&target)).await?;
    let mut left = bytes;
    while left > 0 {
        let chunk: Option<Chunk> = timeout(CHUNK_TIMEOUT, line.receive())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let Some(Chunk { data: Blob(data) }) = chunk else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let size = data.len() as u64;
        left = match left.checked_sub(size) {
            Some(left) if size > 0 => left,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "snapshot chunks do not add up")),
        };
        file = aside(move || file.write_all(&data).map(|()| file)).await?;
    }
    aside(move || file.sync_all()).await
}
