//! Floor 3: frames on the cluster port, for the rooms that talk there.
//!
//! A connection opens with a preamble that says which version of the frames follows and
//! what for. Then both sides send length-delimited MessagePack messages. Way in:
//! [`Security::dial`] and [`Security::accept`]; with a secret the connection is TLS, and each
//! side has proved its role before the preamble. Knows no message and no room.

mod secret;
mod security;

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

pub use secret::{AgentSecret, ClusterSecret, SecretError};
pub use security::Security;

/// Largest frame: one batch of log entries or one chunk of a snapshot, with room to spare.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Room that is made for a message before it is encoded; most fit.
const MESSAGE_BYTES_USUAL: usize = 1 << 10;

/// Longest wait for a connection and its preamble.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// First bytes of every connection: name and version of the framing.
const MAGIC: &[u8; 4] = b"PDL1";

/// First byte of a connection that speaks TLS. Source: RFC 8446, section 5.1.
const TLS_HANDSHAKE: u8 = 22;

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

    /// What each direction's buffer begins with; larger messages make it grow. A leader has ten
    /// thousand agents, which mostly say that they live.
    fn buffer_bytes(self) -> usize {
        match self {
            Self::Masters => 16 << 10,
            Self::Agent => 1 << 10,
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

impl Line {
    /// Says over an open connection what follows.
    async fn begin(mut io: impl Io + 'static, purpose: Purpose) -> io::Result<Self> {
        io.write_all(MAGIC).await?;
        io.write_all(&[purpose.byte()]).await?;
        io.flush().await?;
        Ok(Self::over(Box::new(io), purpose))
    }

    /// Hears what follows.
    async fn greet(mut io: impl Io + 'static) -> io::Result<(Self, Purpose)> {
        let mut preamble = [0u8; 5];
        io.read_exact(&mut preamble).await?;
        let [a, b, c, d, purpose] = preamble;
        if a == TLS_HANDSHAKE {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it speaks with a cluster secret"));
        }
        let purpose = Purpose::of(purpose).filter(|_| [a, b, c, d] == *MAGIC);
        let purpose = purpose.ok_or_else(|| invalid("not a platformd connection"))?;
        Ok((Self::over(Box::new(io), purpose), purpose))
    }

    fn over(io: Box<dyn Io>, purpose: Purpose) -> Self {
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
        Self { frames: Framed::with_capacity(io, codec, purpose.buffer_bytes()) }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// What the network answers.
    pub async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.frames.send(encode(message)?).await
    }

    /// Queues one message; it leaves with the next [`Line::flush`] or [`Line::send`].
    ///
    /// # Errors
    /// What the network answers.
    pub async fn feed<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.frames.feed(encode(message)?).await
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// What the network answers.
    pub async fn flush(&mut self) -> io::Result<()> {
        SinkExt::<Bytes>::flush(&mut self.frames).await
    }

    /// Says that nothing more will come.
    ///
    /// # Errors
    /// What the network answers.
    pub async fn close(&mut self) -> io::Result<()> {
        SinkExt::<Bytes>::close(&mut self.frames).await
    }

    /// Waits for one message; nothing when the other side closed the connection. Nothing is lost when
    /// the wait is given up.
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
    let mut bytes = Vec::with_capacity(MESSAGE_BYTES_USUAL);
    rmp_serde::encode::write_named(&mut bytes, message).map_err(|error| invalid(error.to_string()))?;
    Ok(bytes.into())
}

fn decode_next<T: DeserializeOwned>(frame: Option<io::Result<BytesMut>>) -> io::Result<Option<T>> {
    let Some(frame) = frame else { return Ok(None) };
    rmp_serde::from_slice(&frame?).map(Some).map_err(|error| invalid(error.to_string()))
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
