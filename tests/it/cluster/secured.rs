//! A cluster with a secret and passwords: who knows them comes in, in its role; nobody else.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use serde_json::json;

use super::rig::{Answer, Process, eventually, http, kill_tasks_below, task_ports};
use crate::spawned::free_addresses;

const PEOPLE: &str = "# name:password\nann:pass-of-ann\nprometheus:pass-of-prometheus\n";

/// Three masters that know the secret, and its agents.
struct Secured {
    dir: tempfile::TempDir,
    http: Vec<String>,
    cluster: Vec<String>,
    masters: Vec<Option<Process>>,
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_platformd")).args(words).output().unwrap()
}

fn write_private(path: &Path, text: &[u8]) -> String {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, text).unwrap();
    path.to_string_lossy().into_owned()
}

impl Secured {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut http = free_addresses(6);
        let cluster = http.split_off(3);
        let mut secured = Self { dir, http, cluster, masters: Vec::new() };
        let secret = run(&["secret", "create"]);
        assert!(secret.status.success());
        let cluster_secret = write_private(&secured.path("cluster.secret"), &secret.stdout);
        let agents = run(&["secret", "agent", "--cluster-secret-file", &cluster_secret]);
        assert!(agents.status.success(), "{agents:?}");
        write_private(&secured.path("agent.secret"), &agents.stdout);
        write_private(&secured.path("people"), PEOPLE.as_bytes());
        secured.masters = (0..3).map(|n| Some(secured.master(n))).collect();
        secured
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn master(&self, n: usize) -> Process {
        self.process(
            "master",
            &format!("master{n}"),
            &["--http", &self.http[n], "--cluster", &self.cluster[n]],
            Some("cluster.secret"),
        )
    }

    fn agent(&self, name: &str, http: &str, secret: Option<&str>) -> Process {
        let resources = format!("cpus:4;mem:2048;disk:1000;{}", task_ports());
        let words =
            ["--http", http, "--hostname", "localhost", "--runtime", "process", "--resources", &resources];
        self.process("agent", name, &words, secret)
    }

    fn process(&self, role: &str, name: &str, words: &[&str], secret: Option<&str>) -> Process {
        let (dir, masters, people) = (self.file(name), self.cluster.join(","), self.file("people"));
        let secret = secret.map(|secret| self.file(secret));
        let mut all = vec![role, "--data-dir", &dir, "--masters", &masters, "--http-credentials", &people];
        all.extend(words);
        if let Some(secret) = &secret {
            all.extend(["--cluster-secret-file", secret]);
        }
        Process::start(&all.into_iter().map(str::to_owned).collect::<Vec<_>>())
    }

    fn ask_as_ann(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let shown = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ann:pass-of-ann"));
        self.http.iter().find_map(|master| {
            let answer = http(master, method, path, &[("Authorization", &shown)], body)?;
            assert_ne!(answer.status, 401, "the leader asks again for what its standby was shown");
            (answer.status < 300).then_some(answer)
        })
    }

    fn agents(&self) -> usize {
        let listed = eventually("agents are listed", || self.ask_as_ann("GET", "/v1/agents", ""));
        listed.json()["agents"].as_array().unwrap().len()
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.masters.clear();
        kill_tasks_below(self.dir.path());
    }
}

#[test]
fn those_who_know_the_secrets_work_together_and_nobody_else() {
    let mut secured = Secured::start();
    let agent_http = free_addresses(1).remove(0);
    let agent = secured.agent("agent", &agent_http, Some("agent.secret"));
    eventually("the agent registers", || (secured.agents() == 1).then_some(()));

    // An app runs, and a leader's death changes nothing.
    let app = json!({"id": "/a", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16}).to_string();
    eventually("the app is taken", || secured.ask_as_ann("PUT", "/v2/apps//a", &app));
    let runs = || secured.ask_as_ann("GET", "/v2/apps//a", "")?.json()["app"]["tasksRunning"].as_u64();
    eventually("it runs", || (runs() == Some(1)).then_some(()));
    let leader = secured.ask_as_ann("GET", "/v2/leader", "").unwrap().json();
    let leader = secured.http.iter().position(|http| *http == leader["leader"]).unwrap();
    secured.masters[leader].take().unwrap().kill();
    let other = json!({"id": "/b", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16}).to_string();
    eventually("the other two take writes", || secured.ask_as_ann("PUT", "/v2/apps//b", &other));
    secured.masters[leader] = Some(secured.master(leader));

    // People without a password see only whether the processes live.
    for address in secured.http.iter().chain([&agent_http]) {
        let answer = eventually("it answers", || http(address, "GET", "/metrics", &[], ""));
        assert_eq!(answer.status, 401, "{address}");
        assert!(answer.header("WWW-Authenticate").unwrap().starts_with("Basic"), "{answer:?}");
        assert!(!answer.body.contains("platformd_"), "{answer:?}");
        let ping = eventually("it answers", || http(address, "GET", "/ping", &[], ""));
        assert_ne!(ping.status, 401);
    }
    let guess = [("Authorization", "Basic YW5uOmd1ZXNz")];
    let put = http(&secured.http[0], "PUT", "/v2/apps//c", &guess, &app.replace("/a", "/c"));
    assert_eq!(put.unwrap().status, 401);

    // The command line shows the first name and password of its file.
    let url = format!("http://{}", secured.http[0]);
    let asked = run(&["agents", "list", "--url", &url, "--http-credentials", &secured.file("people")]);
    let shown = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success() && shown.contains("localhost"), "{asked:?}");
    assert_eq!(run(&["agents", "list", "--url", &url]).status.code(), Some(1));

    // Secrets and passwords are in no log.
    let printed: Vec<String> = secured.masters.iter().flatten().chain([&agent]).map(Process::text).collect();
    for file in ["cluster.secret", "agent.secret"] {
        let secret = std::fs::read_to_string(secured.path(file)).unwrap();
        assert!(printed.iter().all(|text| !text.contains(secret.trim())), "{file} is in a log");
    }
    assert!(printed.iter().all(|text| !text.contains("pass-of")), "a password is in a log");
}

#[test]
fn machines_without_the_secret_or_with_anothers_stay_outside() {
    let secured = Secured::start();
    let wrong = run(&["secret", "create"]);
    let wrong = write_private(&secured.path("other.secret"), &wrong.stdout);
    let agents = run(&["secret", "agent", "--cluster-secret-file", &wrong]);
    write_private(&secured.path("other-agent.secret"), &agents.stdout);

    let good = secured.agent("good", "127.0.0.1:0", Some("agent.secret"));
    let stranger = secured.agent("stranger", "127.0.0.1:0", Some("other-agent.secret"));
    let naked = secured.agent("naked", "127.0.0.1:0", None);
    let told = |process: &Process, part: &str| {
        eventually(part, || process.text().contains(part).then_some(()));
    };
    told(&stranger, "--cluster-secret-file");
    told(&naked, "cluster secret");
    told(&good, "registered with the leader");
    assert_eq!(secured.agents(), 1);
    let masters: Vec<&Process> = secured.masters.iter().flatten().collect();
    eventually("a master says whom it refused", || {
        masters.iter().any(|master| master.text().contains("refused a connection")).then_some(())
    });

    // The roles' files are not to be changed for one another.
    let mut thief = secured.agent("thief", "127.0.0.1:0", Some("cluster.secret"));
    assert_eq!(thief.wait().code(), Some(2));
    assert!(thief.text().contains("platformd secret agent"), "{}", thief.text());
    let words = ["--http", "127.0.0.1:0", "--cluster", &secured.cluster[0]];
    let mut usurper = secured.process("master", "usurper", &words, Some("agent.secret"));
    assert_eq!(usurper.wait().code(), Some(2));
    assert!(usurper.text().contains("agent's secret"), "{}", usurper.text());
}
