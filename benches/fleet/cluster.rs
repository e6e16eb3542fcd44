//! Masters as processes, what they cost, and a small HTTP client to ask them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A process that ends with its owner.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Masters on loopback, each with a directory of its own.
pub struct Cluster {
    dir: PathBuf,
    pub http: Vec<String>,
    pub cluster: Vec<String>,
    pub masters: Vec<Process>,
}

impl Cluster {
    pub fn start(dir: &Path, masters: usize) -> Self {
        let (http, cluster) = (free_addresses(masters), free_addresses(masters));
        let mut started = Self { dir: dir.to_owned(), http, cluster, masters: Vec::new() };
        started.masters = (0..masters).map(|n| started.launch(n)).collect();
        started
    }

    fn launch(&self, n: usize) -> Process {
        let data_dir = self.data_dir(n);
        let data_dir = data_dir.to_string_lossy();
        let listed = self.cluster.join(",");
        let words = [
            "master",
            "--http",
            &self.http[n],
            "--cluster",
            &self.cluster[n],
            "--masters",
            &listed,
            "--data-dir",
            &data_dir,
        ];
        let log = std::fs::File::options().create(true).append(true).open(self.dir.join(format!("m{n}.log")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_platformd"));
        let log = log.expect("a log file");
        let second = log.try_clone().expect("a log file");
        Process(command.args(words).stdout(log).stderr(second).spawn().expect("start a master"))
    }

    /// Starts every master again after its orderly end; gives the time until one leads.
    pub fn restart(&mut self) -> Duration {
        for master in &self.masters {
            signal("-TERM", master.0.id());
        }
        for master in &mut self.masters {
            let _ = master.0.wait();
        }
        let began = Instant::now();
        self.masters = (0..self.http.len()).map(|n| self.launch(n)).collect();
        until("a leader after the restart", Duration::from_secs(120), || self.leader().is_some());
        began.elapsed()
    }

    pub fn data_dir(&self, n: usize) -> PathBuf {
        self.dir.join(format!("master-{n}"))
    }

    /// Position of the master that leads.
    pub fn leader(&self) -> Option<usize> {
        let named = self.http.iter().find_map(|http| {
            ask(http, "GET", "/v2/leader", "").ok()?.json()["leader"].as_str().map(str::to_owned)
        })?;
        self.http.iter().position(|http| *http == named)
    }
}

pub fn signal(which: &str, pid: u32) {
    let _ = Command::new("kill").args([which, &pid.to_string()]).stderr(Stdio::null()).status();
}

pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// One request on a connection of its own.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: body.to_owned() })
}

pub fn until(what: &str, longest: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + longest;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Addresses below the ports that the kernel hands out by itself, so that no connection of an
/// agent takes one.
fn free_addresses(count: usize) -> Vec<String> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let start = std::process::id();
    let next = || 12_000 + (start + NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) % 18_000;
    let addresses = std::iter::repeat_with(next).map(|port| format!("127.0.0.1:{port}"));
    addresses.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}

/// Processor time that a process used, in microseconds.
pub fn cpu_us(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else { return 0.0 };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The kernel counts in hundredths of a second.
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) * 10_000.0
}

/// A line of `/proc/PID/status` in KiB: `VmRSS` or `VmHWM`.
pub fn memory_kib(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|it| it.starts_with(line)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// Processor time that everybody used since the machine started, in microseconds.
pub fn busy_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    // All but idle and waiting for the disk.
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().take(8).sum::<f64>() - idle) * 10_000.0
}

/// The value of a metric without labels.
pub fn metric(address: &str, name: &str) -> f64 {
    let page = ask(address, "GET", "/metrics", "").map(|answer| answer.body).unwrap_or_default();
    let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|text| text.parse().ok()).unwrap_or(0.0)
}
