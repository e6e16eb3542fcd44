//! Top: the smallest app there is, so that the first example runs on a bare machine.
//!
//! Way in: [`serve`]. Answers every HTTP request with one line that names the app, its
//! version, task and port, as the task's environment tells them; `GREETING` replaces its
//! first word. Knows nothing of platformd but that environment.
//!
//! An app reaches it as `exec /proc/$PPID/exe hello`: the parent of a process task is the
//! shim, and the shim is this binary, wherever it lies.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A client that says nothing for so long is gone.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest request head that is read.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

/// Answers on `port` of every interface until the process is ended.
///
/// # Errors
/// The port cannot be listened on.
pub fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    let variable = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let body = format!(
        "{} from {} version {} task {} on port {port}, process {}\n",
        variable("GREETING", "hello"),
        variable("MARATHON_APP_ID", "?"),
        variable("MARATHON_APP_VERSION", "?"),
        variable("MESOS_TASK_ID", "?"),
        std::process::id(),
    );
    for stream in listener.incoming() {
        // One at a time is enough for an example; a client that leaves early is no failure.
        let _ = stream.and_then(|stream| answer(&stream, &body));
    }
    Ok(())
}

fn answer(stream: &TcpStream, body: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let head = BufReader::new(stream.take(HEAD_BYTES_MAX));
    for line in head.lines() {
        if line?.is_empty() {
            break;
        }
    }
    let mut writer = stream;
    write!(
        writer,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_the_given_line() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        answer(&server, "hello\n").unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nhello\n"), "{text}");
    }
}
