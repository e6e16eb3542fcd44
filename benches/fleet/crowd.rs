//! The agents' own process: this benchmark once more, told by its first word.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use platformd::domain::TaskId;
use platformd::testkit::crowd::{Crowd, CrowdSettings, Seen};
use serde_json::{Value, json};

use crate::Flags;
use crate::cluster::{Process, ask};

/// Says that this process plays agents; what follows is their settings.
const WORD: &str = "--simulate";

/// The settings, when this process is to play agents.
pub fn asked() -> Option<Value> {
    let mut words = std::env::args().skip(1);
    words.find(|word| word == WORD)?;
    serde_json::from_str(&words.next()?).ok()
}

/// Plays agents until the other process is gone; answers one line for each that it reads.
pub fn simulate(config: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let masters = config["masters"].as_array().cloned().unwrap_or_default();
    let number = |name: &str| config[name].as_f64().unwrap_or(0.0);
    let mut settings = CrowdSettings::new(
        masters.iter().map(text).collect(),
        config["agents"].as_u64().unwrap_or(0) as usize,
        number("cpus"),
        1_000_000.0,
    );
    settings.tells_starting = config["starting"] == true;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (questions, mut asked) = tokio::sync::mpsc::channel::<String>(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if questions.blocking_send(line).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    runtime.block_on(async move {
        let crowd = Crowd::start(settings);
        while let Some(question) = asked.recv().await {
            let mut out = std::io::stdout().lock();
            if question == "running" {
                let running = crowd.running();
                let list: Vec<[&str; 2]> =
                    running.iter().map(|(task, agent)| [task.as_str(), agent.as_str()]).collect();
                serde_json::to_writer(&mut out, &list).expect("write");
                writeln!(out).expect("write");
                continue;
            }
            let Seen { registered, launched, told, doubles, lost } = crowd.seen();
            let seen = json!([registered, launched, told, doubles, lost]);
            writeln!(out, "{seen}").expect("write");
        }
    });
}

/// The process, as seen from outside.
pub struct CrowdProcess {
    process: Process,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl CrowdProcess {
    pub fn start(masters: &[String], flags: &Flags) -> Self {
        let config = json!({"masters": masters, "agents": flags.agents, "cpus": flags.agent_cpus,
            "starting": flags.starting});
        let mut command = Command::new(std::env::current_exe().expect("own name"));
        let command = command.args([WORD, &config.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start agents");
        let questions = child.stdin.take().expect("stdin");
        let answers = BufReader::new(child.stdout.take().expect("stdout"));
        Self { process: Process(child), questions, answers }
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    fn ask(&mut self, question: &str) -> Value {
        writeln!(self.questions, "{question}").expect("ask the agents");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("hear the agents");
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }

    pub fn seen(&mut self) -> Seen {
        let seen = self.ask("seen");
        let at = |at: usize| seen[at].as_u64().unwrap_or(0);
        Seen { registered: at(0), launched: at(1), told: at(2), doubles: at(3), lost: at(4) }
    }

    /// Compares what agents run with what the API says: the same tasks on the same agents, each
    /// instance once.
    pub fn check(&mut self, http: &str, total: u64) {
        let seen = self.seen();
        assert_eq!(seen.doubles, 0, "doubles");
        if seen.lost > 0 {
            println!("  {} connections of agents were lost and opened again", seen.lost);
        }
        let listed = self.ask("running");
        let pair = |task: &Value, agent: &Value| {
            (task.as_str().unwrap_or_default().to_owned(), agent.as_str().unwrap_or_default().to_owned())
        };
        let rows = listed.as_array().into_iter().flatten();
        let running: BTreeSet<(String, String)> = rows.map(|row| pair(&row[0], &row[1])).collect();
        assert_eq!(running.len() as u64, total, "tasks that agents run");
        let mut instances: BTreeMap<String, usize> = BTreeMap::new();
        for (task, _) in &running {
            let parts = TaskId::new(task.as_str()).parts().expect("a task id of ours");
            *instances.entry(parts.0.to_string()).or_default() += 1;
        }
        assert!(instances.values().all(|copies| *copies == 1), "an instance runs twice");
        if total > 200_000 {
            println!("  agents run {total} tasks, each instance once");
            return;
        }
        let answer = ask(http, "GET", "/v2/tasks", "").expect("tasks").json();
        let tasks = answer["tasks"].as_array().into_iter().flatten();
        let own = tasks.filter(|task| task["appId"].as_str().is_some_and(|app| app.starts_with("/fleet")));
        let known: BTreeSet<(String, String)> = own.map(|task| pair(&task["id"], &task["slaveId"])).collect();
        assert!(known == running, "masters know {} tasks, agents run {}", known.len(), running.len());
        println!("  agents run exactly the {total} tasks that the API shows, each instance once");
    }
}
