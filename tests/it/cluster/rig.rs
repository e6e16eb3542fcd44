//! Whole clusters, each master and agent a process of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::spawned::free_addresses;
pub use crate::spawned::{Answer, DEADLINE, Process, eventually, get, http, put};

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
    attributes: Vec<String>,
    runtime: &'static str,
    flags: &'static [&'static str],
    /// Where agents find the Docker engine, from their next start on; the usual place when absent.
    pub docker_socket: Option<std::path::PathBuf>,
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
            attributes: vec!["kind:test".to_owned(); agents],
            runtime,
            flags,
            docker_socket: None,
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
        self.masters[n] = Some(Process::start(&[words.as_slice(), self.flags].concat()));
    }

    /// Gives a master's place to a new machine; what the old one left can be started by what
    /// this gives.
    pub fn succeed_master(&mut self, n: usize) -> impl Fn() -> Process + use<> {
        let (dir, left) = (self.data_dir(&format!("master{n}")), self.data_dir(&format!("left{n}")));
        std::fs::rename(&dir, &left).unwrap();
        let (http, cluster, masters) =
            (self.http[n].clone(), self.cluster[n].clone(), self.cluster.join(","));
        self.move_master(n);
        move || {
            let addresses = ["--http", &http, "--cluster", &cluster, "--masters", &masters];
            Process::start(&[["master", "--data-dir", &left].as_slice(), &addresses].concat())
        }
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
        self.agents[n] = Some(self.agent_in(n, &format!("agent{n}")));
    }

    /// An agent with another one's settings, in a directory of its own.
    pub fn agent_in(&self, n: usize, dir: &str) -> Process {
        let (data_dir, masters) = (self.data_dir(dir), self.cluster.join(","));
        let socket = self.docker_socket.as_ref().map(|path| path.to_str().unwrap());
        let mut words = vec![
            "agent",
            "--data-dir",
            &data_dir,
            "--http",
            "127.0.0.1:0",
            "--masters",
            &masters,
            "--hostname",
            "localhost",
            "--resources",
            &self.resources[n],
            "--attributes",
            &self.attributes[n],
            "--runtime",
            self.runtime,
        ];
        words.extend(socket.iter().flat_map(|socket| ["--docker-socket", *socket]));
        Process::that_outlives_limits(&words)
    }

    /// Copies a data directory as `cp -a` does.
    pub fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.data_dir(from), self.data_dir(to));
        let copied = std::process::Command::new("cp").args(["-a", &from, &to]).status().unwrap();
        assert!(copied.success());
    }

    /// One agent more.
    pub fn add_agent(&mut self) {
        let n = self.agents.len();
        self.agents.push(None);
        self.resources.push(format!("cpus:4;mem:2048;disk:1000;{}", task_ports()));
        self.attributes.push("kind:test".to_owned());
        self.start_agent(n);
        eventually("the new agent registers", || {
            let listed = self.ask("/v1/agents")?.json();
            (listed["agents"].as_array()?.len() > n).then_some(())
        });
    }

    /// What an agent says of itself from its next start on. Its ports are free ones of its own.
    pub fn describe_agent(&mut self, n: usize, resources: &str, attributes: &str) {
        self.resources[n] = format!("{resources};{}", task_ports());
        attributes.clone_into(&mut self.attributes[n]);
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
