//! Sockets: tokio's, or the simulated network's.

#[cfg(not(feature = "sim"))]
pub use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "sim")]
pub use turmoil::net::{TcpListener, TcpStream};

/// Looks at the first byte that the other side says, without taking it; nothing when it
/// closes without a word.
///
/// # Errors
/// What the network answers.
pub async fn first_byte(stream: &mut TcpStream) -> std::io::Result<Option<u8>> {
    let mut first = [0u8; 1];
    let read = stream.peek(&mut first).await?;
    Ok(first.first().copied().filter(|_| read > 0))
}
