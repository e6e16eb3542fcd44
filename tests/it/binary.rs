//! The binary as a supervisor and a newcomer meet it: exit codes with a sentence each, and
//! the README's first command.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far more than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn platformd(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platformd"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PLATFORMD_")) {
        command.env_remove(name);
    }
    command
}

#[track_caller]
fn check_refused(words: &[&str], code: i32, parts: &[&str]) {
    let Output { status, stderr, .. } = platformd(words).output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(code), "{words:?}: {said}");
    let last = said.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    for part in parts {
        assert!(last.contains(part), "{words:?}: {last:?} lacks {part:?}");
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn start(words: &[&str]) -> Self {
        Self(platformd(words).spawn().unwrap())
    }

    /// The rest of the first line of standard output that begins with `label`.
    fn line(&mut self, label: &str) -> String {
        let stdout = self.0.stdout.as_mut().unwrap();
        for line in BufReader::with_capacity(1, stdout).lines() {
            if let Some(rest) = line.unwrap().strip_prefix(label) {
                return rest.trim().to_owned();
            }
        }
        panic!("ended without a line {label:?}");
    }

    fn stop(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
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

fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks until the answer has `wanted`.
#[track_caller]
fn await_answer(address: &str, path: &str, wanted: &str) -> String {
    let until = Instant::now() + DEADLINE;
    loop {
        let answer = get(address, path).unwrap_or_default();
        if answer.contains(wanted) {
            return answer;
        }
        assert!(Instant::now() < until, "{address}{path} does not say {wanted:?}: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_bad_flag_ends_with_2_and_names_it() {
    check_refused(&["master", "--masters", "a:1,b:2"], 2, &["--masters", "one, three or five"]);
    check_refused(&["agent", "--resources", "cpus:-1"], 2, &["--resources", "\"-1\""]);
    check_refused(&["master", "--http", "0.0.0.0:8080", "--advertise-http", "a:1"], 2, &["--insecure"]);
    check_refused(&["dev", "--nonsense"], 2, &["--nonsense"]);
    check_refused(&["--config", "/nonexistent.toml", "master"], 2, &["--config", "/nonexistent.toml"]);
}

#[test]
fn a_taken_port_ends_with_4_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let words = ["master", "--data-dir", data_dir, "--cluster", "127.0.0.1:0", "--http", &address];
    check_refused(&words, 4, &["--http", &address]);
    let words = ["agent", "--data-dir", data_dir, "--runtime", "process", "--http", &address];
    check_refused(&words, 4, &["--http", &address]);
}

#[test]
fn a_data_directory_in_use_or_corrupt_ends_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let any = ["--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--data-dir", data_dir];
    let words = [&["dev"], any.as_slice()].concat();
    let mut first = Running::start(&words);
    first.line("API");
    check_refused(&words, 3, &[data_dir, "in use"]);
    assert_eq!(first.stop(Signal::INT), Some(0));

    overwrite_files(&dir.path().join("masters"));
    check_refused(&words, 3, &[data_dir]);
}

/// Makes every file below a directory into something else of the same size.
fn overwrite_files(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            overwrite_files(&path);
        } else {
            let size = usize::try_from(path.metadata().unwrap().len()).unwrap();
            std::fs::write(&path, vec![0x5a; size]).unwrap();
        }
    }
}

#[test]
fn the_first_command_runs_an_app_and_a_second_start_resumes_it() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.json");
    let any = ["--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--runtime", "process"];
    let words = [&["dev", "--data-dir", data_dir], any.as_slice()].concat();

    let mut first = Running::start(&[words.as_slice(), &[hello]].concat());
    let api = first.line("API");
    let api = api.trim_start_matches("http://").split_whitespace().next().unwrap().to_owned();
    let app = first.line("App");
    let at = app.rsplit_once("http://").unwrap().1.replace("localhost", "127.0.0.1");
    await_answer(&at, "/", "hello from /hello version ");
    await_answer(&api, "/ping", "200 OK");
    let json = await_answer(&api, "/v2/apps//hello?embed=app.tasks", "TASK_RUNNING");
    assert!(json.contains("\"cmd\":\"exec /proc/$PPID/exe hello\""), "{json}");
    await_answer(&api, "/metrics", "platformd_tasks{state=\"running\"} 1");
    assert_eq!(first.stop(Signal::INT), Some(0));
    assert!(get(&at, "/").is_err(), "the task outlived dev");

    let mut second = Running::start(&words);
    let api = second.line("API");
    let api = api.trim_start_matches("http://").split_whitespace().next().unwrap().to_owned();
    await_answer(&api, "/v2/apps//hello?embed=app.tasks", "TASK_RUNNING");
    assert_eq!(second.stop(Signal::TERM), Some(0));

    let mut third = Running::start(&[words.as_slice(), &["--fresh"]].concat());
    let api = third.line("API");
    let api = api.trim_start_matches("http://").split_whitespace().next().unwrap().to_owned();
    let none = await_answer(&api, "/v2/apps", "200 OK");
    assert!(none.contains("{\"apps\":[]}"), "{none}");
    assert_eq!(third.stop(Signal::INT), Some(0));
}
