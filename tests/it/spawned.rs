//! Real processes of the binary, for tests that must not share one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far more than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The binary with these words and nothing from the environment.
pub(crate) fn platformd(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platformd"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PLATFORMD_")) {
        command.env_remove(name);
    }
    command
}

/// A process that ends with the test.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it, with its output for [`Running::line`].
    pub(crate) fn start(words: &[&str]) -> Self {
        Self(platformd(words).spawn().unwrap())
    }

    /// The rest of the first line of standard output that begins with `label`.
    pub(crate) fn line(&mut self, label: &str) -> String {
        let stdout = self.0.stdout.as_mut().unwrap();
        for line in BufReader::with_capacity(1, stdout).lines() {
            if let Some(rest) = line.unwrap().strip_prefix(label) {
                return rest.trim().to_owned();
            }
        }
        panic!("ended without a line {label:?}");
    }

    /// Sends a signal and waits for the end; gives the exit code, if there is one.
    pub(crate) fn stop(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(PAUSE);
        }
        panic!("did not stop on {signal:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends one request; gives the whole answer, head and body.
pub(crate) fn ask(method: &str, address: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// [`ask`] with GET.
pub(crate) fn get(address: &str, path: &str) -> std::io::Result<String> {
    ask("GET", address, path, "")
}

/// Asks until the answer has `wanted`.
#[track_caller]
pub(crate) fn await_answer(address: &str, path: &str, wanted: &str) -> String {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = get(address, path).unwrap_or_default();
        if answer.contains(wanted) {
            return answer;
        }
        assert!(Instant::now() < until, "{address}{path} does not say {wanted:?}: {answer}");
        std::thread::sleep(PAUSE);
    }
}

/// Addresses on loopback that are free now, none given twice. They lie below the ports that
/// connections and tasks get by themselves, so that nobody takes one while a process is
/// restarted.
pub(crate) fn free_addresses(count: usize) -> Vec<String> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id();
    let next = || 12_000 + (start + GIVEN.fetch_add(1, Ordering::SeqCst)) % 18_000;
    let addresses = std::iter::repeat_with(next).map(|port| format!("127.0.0.1:{port}"));
    addresses.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}
