//! Real processes of the binary, and a small HTTP client to speak with them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use serde_json::Value;

/// Generous: two busy cores, debug builds.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again until there is something, at most until [`DEADLINE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An answer of an HTTP server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One request on a connection of its own; nothing when the server is not there.
pub fn http(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let to: SocketAddr = address.to_socket_addrs().ok()?.find(SocketAddr::is_ipv4)?;
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !body.is_empty() {
        head.push_str("Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    write!(stream, "{head}\r\n{body}").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let is_chunked = headers.iter().any(|(key, value)| key == "transfer-encoding" && value == "chunked");
    let body = if is_chunked { unchunk(body) } else { body.to_owned() };
    Some(Answer { status, headers, body })
}

fn unchunk(text: &str) -> String {
    let mut rest = text;
    let mut whole = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { break };
        let Some((chunk, more)) = more.split_at_checked(size) else { break };
        whole.push_str(chunk);
        rest = more.trim_start_matches("\r\n");
    }
    whole
}

pub fn get(address: &str, path: &str) -> Option<Answer> {
    http(address, "GET", path, &[], "")
}

pub fn put(address: &str, app: &str, body: &Value) -> Option<Answer> {
    http(address, "PUT", &format!("/v2/apps{app}"), &[], &body.to_string())
}

/// The binary with these words and nothing from the environment.
pub fn platformd<W: AsRef<OsStr>>(words: &[W]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platformd"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PLATFORMD_")) {
        command.env_remove(name);
    }
    command
}

/// A process of ours, killed at the end of the test, with what it has printed.
pub struct Process {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn start<W: AsRef<OsStr>>(words: &[W]) -> Self {
        Self::of(platformd(words))
    }

    /// A process for which a write beyond a limit fails as one on a full disk does.
    pub fn that_outlives_limits<W: AsRef<OsStr>>(words: &[W]) -> Self {
        let binary = platformd(words);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(binary.get_program());
        command.args(binary.get_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in binary.get_envs() {
            command.env_remove(name);
        }
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let printed: Arc<Mutex<Vec<String>>> = Arc::default();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        collect(out, Arc::clone(&printed));
        collect(err, Arc::clone(&printed));
        Self { child, printed }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Fills the disk for this process: no file grows beyond so many bytes. Nothing: room again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// Waits for the first moment in which TERM does not end the process by itself.
    pub fn hears_term(&self) {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        eventually("TERM is heard", || {
            let text = std::fs::read_to_string(&status).unwrap();
            let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            (caught & (1 << (Signal::TERM.as_raw() - 1)) != 0).then_some(())
        });
    }

    /// Sends a signal and waits for the end; gives the exit code, if there is one.
    pub fn stop(mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.wait().code()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().unwrap())
    }

    pub fn text(&self) -> String {
        self.printed.lock().unwrap().join("\n")
    }

    /// Waits for a line with `mark` and gives the word after it.
    pub fn word_after(&mut self, mark: &str) -> String {
        eventually(&format!("a line with {mark:?}"), || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status}: {}", self.text());
            }
            let lines = self.printed.lock().unwrap();
            let line =
                lines.iter().find_map(|line| line.split_once(mark).map(|(_, rest)| rest.to_owned()))?;
            line.split_whitespace().next().map(str::to_owned)
        })
    }
}

fn collect(stream: impl Read + Send + 'static, printed: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            printed.lock().unwrap().push(line);
        }
    });
}

/// Addresses on loopback that are free now, none given twice. They lie below the ports that
/// connections and tasks get by themselves, so that nobody takes one while a process is
/// restarted.
pub fn free_addresses(count: usize) -> Vec<String> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id();
    let next = || 12_000 + (start + GIVEN.fetch_add(1, Ordering::SeqCst)) % 18_000;
    let addresses = std::iter::repeat_with(next).map(|port| format!("127.0.0.1:{port}"));
    addresses.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}
