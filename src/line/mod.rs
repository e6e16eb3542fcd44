//! Floor 3: frames on the cluster port, for the rooms that talk there.
//!
//! A connection opens with a preamble that says which version of the frames follows and
//! what for. Then both sides send length-delimited MessagePack messages. Way in:
//! [`dial`] and [`Line::accept`]. Knows no message and no room.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::world::net::TcpStream;

/// Largest frame: one batch of log entries or one chunk of a snapshot, with room to spare.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Longest wait for a connection and its preamble.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// First bytes of every connection: name and version of the framing.
const MAGIC: &[u8; 4] = b"PDL1";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Masters among themselves.
    Masters,
    /// An agent and a master.
    Agent,
}

impl Purpose {
    fn byte(self) -> u8 {
        match self {
            Self::Masters => b'M',
            Self::Agent => b'A',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Masters, Self::Agent].into_iter().find(|purpose| purpose.byte() == byte)
    }
}

/// Anything that carries bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

type Frames = Framed<Box<dyn Io>, LengthDelimitedCodec>;

/// One connection on the cluster port.
pub struct Line {
    frames: Frames,
}

/// Sending half of a [`Line`].
pub struct LineSender(SplitSink<Frames, Bytes>);

/// Receiving half of a [`Line`].
pub struct LineReceiver(SplitStream<Frames>);

/// Connects to `address` for `purpose`, within [`DIAL_TIMEOUT`].
///
/// # Errors
/// What the network answers, or a time-out.
pub async fn dial(address: &str, purpose: Purpose) -> io::Result<Line> {
    let connect = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(MAGIC).await?;
        stream.write_all(&[purpose.byte()]).await?;
        Ok(Line::over(Box::new(stream)))
    };
    timeout(DIAL_TIMEOUT, connect).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

impl Line {
    /// Reads the preamble of a connection that somebody opened to us.
    ///
    /// # Errors
    /// When the other side does not speak our frames, or is slow to say so.
    pub async fn accept(mut stream: TcpStream) -> io::Result<(Self, Purpose)> {
        stream.set_nodelay(true)?;
        let mut preamble = [0u8; 5];
        timeout(DIAL_TIMEOUT, stream.read_exact(&mut preamble))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let [a, b, c, d, purpose] = preamble;
        let purpose = Purpose::of(purpose).filter(|_| [a, b, c, d] == *MAGIC);
        let purpose = purpose.ok_or_else(|| invalid("not a platformd connection"))?;
        Ok((Self::over(Box::new(stream)), purpose))
    }

    fn over(io: Box<dyn Io>) -> Self {
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
        Self { frames: Framed::new(io, codec) }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// What the network answers.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.frames.send(encode(message)?).await
    }

    /// Waits for one message; nothing when the other side closed the connection.
    ///
    /// # Errors
    /// What the network answers, or that the bytes are no such message.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        decode_next(self.frames.next().await)
    }

    /// Both halves, to be used by two tasks.
    pub fn split(self) -> (LineSender, LineReceiver) {
        let (sink, stream) = self.frames.split();
        (LineSender(sink), LineReceiver(stream))
    }
}

impl LineSender {
    /// Sends one message.
    ///
    /// # Errors
    /// What the network answers.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.0.send(encode(message)?).await
    }

    /// Queues one message; it leaves with the next [`LineSender::flush`] or [`LineSender::send`].
    ///
    /// # Errors
    /// What the network answers.
    pub async fn feed<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.0.feed(encode(message)?).await
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// What the network answers.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// What the network answers.
    pub async fn close(&mut self) -> io::Result<()> {
        self.0.close().await
    }
}

impl LineReceiver {
    /// Waits for one message; nothing when the other side closed the connection.
    ///
    /// # Errors
    /// What the network answers, or that the bytes are no such message.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        decode_next(self.0.next().await)
    }
}

fn encode<T: Serialize>(message: &T) -> io::Result<Bytes> {
    let bytes = rmp_serde::to_vec_named(message).map_err(|error| invalid(error.to_string()))?;
    Ok(bytes.into())
}

fn decode_next<T: DeserializeOwned>(frame: Option<io::Result<BytesMut>>) -> io::Result<Option<T>> {
    let Some(frame) = frame else { return Ok(None) };
    rmp_serde::from_slice(&frame?).map(Some).map_err(|error| invalid(error.to_string()))
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
