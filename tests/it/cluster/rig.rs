//! Real processes of the one binary, and a small HTTP client to speak with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::spawned::free_addresses;

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

/// A process of ours, killed at the end of the test, with what it has printed.
pub struct Process {
    pub child: Child,
    pub printed: Arc<Mutex<Vec<String>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn start(arguments: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_platformd"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let printed: Arc<Mutex<Vec<String>>> = Arc::default();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        collect(out, Arc::clone(&printed));
        collect(err, Arc::clone(&printed));
        Self { child, printed }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
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

/// Free port ranges for tasks, away from those that the kernel hands out and from other tests.
pub fn task_ports() -> String {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let from = 20_000
        + 100 * (NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 90)
        + u16::try_from(std::process::id() % 3).unwrap() * 3;
    format!("ports:[{from}-{}]", from + 60)
}

/// Masters and agents as separate processes.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub http: Vec<String>,
    cluster: Vec<String>,
    pub masters: Vec<Option<Process>>,
    pub agents: Vec<Option<Process>>,
    resources: Vec<String>,
    runtime: &'static str,
    flags: &'static [&'static str],
}

impl Cluster {
    pub fn start(masters: usize, agents: usize, runtime: &'static str) -> Self {
        Self::start_with(masters, agents, runtime, &[])
    }

    /// With more flags for the masters.
    pub fn start_with(
        masters: usize,
        agents: usize,
        runtime: &'static str,
        flags: &'static [&'static str],
    ) -> Self {
        let mut addresses = free_addresses(2 * masters);
        let cluster_addresses = addresses.split_off(masters);
        let mut cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            http: addresses,
            cluster: cluster_addresses,
            masters: (0..masters).map(|_| None).collect(),
            agents: (0..agents).map(|_| None).collect(),
            resources: (0..agents).map(|_| format!("cpus:4;mem:2048;disk:1000;{}", task_ports())).collect(),
            runtime,
            flags,
        };
        (0..masters).for_each(|n| cluster.start_master(n));
        (0..agents).for_each(|n| cluster.start_agent(n));
        eventually("every agent registers", || {
            let listed = cluster.ask("/v1/agents")?.json();
            (listed["agents"].as_array()?.len() == agents).then_some(())
        });
        cluster
    }

    pub fn start_master(&mut self, n: usize) {
        let words = [
            "master",
            "--data-dir",
            &self.data_dir(&format!("master{n}")),
            "--http",
            &self.http[n],
            "--cluster",
            &self.cluster[n],
            "--masters",
            &self.cluster.join(","),
        ];
        let words: Vec<String> = words.iter().chain(self.flags).map(|word| (*word).to_owned()).collect();
        self.masters[n] = Some(Process::start(&words));
    }

    /// Takes a killed master's data directory away, as a broken disk would.
    pub fn wipe_master(&mut self, n: usize) {
        self.masters[n] = None;
        std::fs::remove_dir_all(self.data_dir(&format!("master{n}"))).unwrap();
    }

    /// Cluster address of a master.
    pub fn cluster_address(&self, n: usize) -> &str {
        &self.cluster[n]
    }

    /// Gives a master new addresses, as a new machine has them.
    pub fn move_master(&mut self, n: usize) {
        let mut addresses = free_addresses(2);
        self.http[n] = addresses.remove(0);
        self.cluster[n] = addresses.remove(0);
    }

    pub fn start_agent(&mut self, n: usize) {
        let words = [
            "agent",
            "--data-dir",
            &self.data_dir(&format!("agent{n}")),
            "--http",
            "127.0.0.1:0",
            "--masters",
            &self.cluster.join(","),
            "--hostname",
            "localhost",
            "--resources",
            &self.resources[n],
            "--runtime",
            self.runtime,
        ];
        self.agents[n] = Some(Process::start(&words.map(str::to_owned)));
    }

    pub fn data_dir(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    /// Asks masters in turn until one answers 200.
    pub fn ask(&self, path: &str) -> Option<Answer> {
        self.http.iter().filter_map(|http| get(http, path)).find(|answer| answer.status == 200)
    }

    /// Position of the master that leads.
    pub fn leader(&self) -> usize {
        eventually("a leader", || {
            let leader = self.ask("/v2/leader")?.json()["leader"].as_str()?.to_owned();
            self.http.iter().position(|http| *http == leader)
        })
    }

    /// Waits until an app has so many running tasks and no deployment; gives its tasks.
    pub fn running(&self, app: &str, instances: u64) -> Vec<Value> {
        running(&self.http, app, instances)
    }
}

/// Waits until an app has so many running tasks and no deployment; gives its tasks.
pub fn running(masters: &[String], app: &str, instances: u64) -> Vec<Value> {
    let mut last = String::new();
    let until = Instant::now() + DEADLINE;
    while Instant::now() < until {
        for http in masters {
            let Some(answer) = get(http, &format!("/v2/apps{app}")).filter(|answer| answer.status == 200)
            else {
                continue;
            };
            let found = answer.json();
            let tasks = found["app"]["tasks"].as_array().cloned().unwrap_or_default();
            let is_settled = found["app"]["tasksRunning"] == instances
                && tasks.len() as u64 == instances
                && found["app"]["deployments"].as_array().is_some_and(Vec::is_empty);
            if is_settled {
                return tasks;
            }
            last = answer.body;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{app} does not have {instances} running tasks: {last}");
}

impl Drop for Cluster {
    /// Tasks outlive agents on purpose, so the test ends them itself.
    fn drop(&mut self) {
        self.agents.iter_mut().for_each(|agent| drop(agent.take()));
        self.masters.iter_mut().for_each(|master| drop(master.take()));
        kill_tasks_below(self.dir.path());
    }
}

/// Ends every shim, and so every process task, whose directory lies below `dir`.
pub fn kill_tasks_below(dir: &Path) {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned()).to_string_lossy().into_owned();
    let lives_below = |path: &Path| {
        let read = |name: &str| std::fs::read(path.join(name)).unwrap_or_default();
        let link = std::fs::read_link(path.join("cwd")).unwrap_or_else(|_| PathBuf::new());
        String::from_utf8_lossy(&read("cmdline")).contains(&dir) || link.to_string_lossy().starts_with(&dir)
    };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid != rustix::process::getpid().as_raw_nonzero().get()
            && lives_below(&entry.path())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
