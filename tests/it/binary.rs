//! The binary as a supervisor and a newcomer meet it: exit codes with a sentence each, and
//! the README's first command.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use serde_json::json;

use super::spawned::{Process, eventually, get, platformd, put};

/// Stands before the address of the API.
const API: &str = "API      http://";

/// The body of the first answer 200 that has `part`.
#[track_caller]
fn answer_with(address: &str, path: &str, part: &str) -> String {
    let found = || get(address, path).filter(|answer| answer.status == 200 && answer.body.contains(part));
    eventually(&format!("{path} says {part:?}"), found).body
}

#[track_caller]
fn check_refused(words: &[&str], code: i32, parts: &[&str]) {
    let Output { status, stderr, .. } = platformd(words).output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(code), "{words:?}: {said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: "), "{words:?}: {said}");
    for part in parts {
        assert!(last.contains(part), "{words:?}: {last:?} lacks {part:?}");
    }
}

#[test]
fn a_bad_flag_ends_with_2_and_names_it() {
    check_refused(&["master", "--masters", "a:1,b:2"], 2, &["--masters", "one, three or five"]);
    check_refused(&["agent", "--resources", "cpus:-1"], 2, &["--resources", "\"-1\""]);
    check_refused(&["master", "--http", "0.0.0.0:8080", "--advertise-http", "a:1"], 2, &["--insecure"]);
    check_refused(&["dev", "--nonsense"], 2, &["--nonsense"]);
    check_refused(&["dev", "--agents", "-1"], 2, &["-1"]);
    check_refused(&["--config", "/nonexistent.toml", "master"], 2, &["--config", "/nonexistent.toml"]);
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    std::fs::write(of("p.toml"), "[master]\nnonsense = 1\n").unwrap();
    check_refused(&["--config", &of("p.toml"), "master"], 2, &["--config", "line 2", "`nonsense`"]);
    let agent = ["agent", "--http", "127.0.0.1:0", "--runtime", "process", "--data-dir", &of("agent")];
    let with = |more: &[&'static str]| [agent.as_slice(), more].concat();
    check_refused(&with(&["--docker-config", "/nope"]), 2, &["--docker-config", "/nope"]);
    check_refused(&with(&["--resources", "cpus:2000000000;mem:1"]), 2, &["--resources", "at most"]);
    // Each is fine, and together they are too much.
    let too_much = with(&["--resources", "cpus:1000000000;cpus(db):1"]);
    check_refused(&too_much, 2, &["error: this agent has 1000000001 cpus"]);
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
    let mut first = Process::start(&words);
    first.word_after(API);
    check_refused(&words, 3, &[data_dir, "in use"]);
    assert_eq!(first.stop(Signal::INT), Some(0));

    overwrite_files(&dir.path().join("masters"));
    check_refused(&words, 3, &[data_dir]);
}

#[test]
fn a_master_that_cannot_write_ends_with_1_and_names_its_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let words = ["master", "--data-dir", data_dir, "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0"];
    let mut master = Process::that_outlives_limits(&words);
    let http = master.word_after("http=").trim_matches('"').to_owned();
    eventually("it leads", || get(&http, "/v2/leader").filter(|answer| answer.status == 200));
    master.limit_files(Some(1));
    put(&http, "/a", &json!({"cmd": "true", "instances": 0}));
    assert_eq!(master.wait().code(), Some(1));
    let last = eventually("its last line", || {
        master.text().lines().rfind(|line| line.starts_with("error: ")).map(str::to_owned)
    });
    assert!(last.contains(data_dir), "{last}");
}

#[test]
fn a_wish_to_stop_counts_from_the_first_moment() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let any = |role: &str| {
        let words = [role, "--data-dir", &of(role), "--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
        let more: &[&str] = match role {
            "master" => &["--cluster", "127.0.0.1:0"],
            "agent" => &["--runtime", "process"],
            _ => &["--cluster", "127.0.0.1:0", "--runtime", "process"],
        };
        [words, more.iter().map(|word| (*word).to_owned()).collect()].concat()
    };
    for role in ["master", "agent", "dev"] {
        // Not even its settings are read as long as nobody writes into this.
        let settings = dir.path().join(format!("{role}.toml"));
        mkfifoat(CWD, &settings, Mode::RUSR | Mode::WUSR).unwrap();
        let words =
            [vec!["--config".to_owned(), settings.to_string_lossy().into_owned()], any(role)].concat();
        let mut process = Process::start(&words);
        process.hears_term();
        process.signal(Signal::TERM);
        drop(std::fs::File::options().write(true).open(&settings).unwrap());
        assert_eq!(process.wait().code(), Some(0), "{role}: {}", process.text());
        for _ in 0..10 {
            let process = Process::start(&any(role));
            process.hears_term();
            assert_eq!(process.stop(Signal::TERM), Some(0), "{role}");
        }
    }
}

#[test]
fn a_fresh_start_that_fails_destroys_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let words = ["dev", "--cluster", "127.0.0.1:0", "--runtime", "process", "--data-dir", data_dir, "--http"];
    let mut first = Process::start(&[words.as_slice(), &["127.0.0.1:0"]].concat());
    let api = first.word_after(API);
    put(&api, "/kept", &json!({"cmd": "true", "instances": 0}));
    answer_with(&api, "/v2/apps/kept", "kept");
    assert_eq!(first.stop(Signal::INT), Some(0));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let fresh = [words.as_slice(), &[&address, "--fresh"]].concat();
    check_refused(&fresh, 4, &["--http", &address]);
    drop(taken);
    let mut second = Process::start(&[words.as_slice(), &["127.0.0.1:0"]].concat());
    let api = second.word_after(API);
    answer_with(&api, "/v2/apps/kept", "kept");
    assert_eq!(second.stop(Signal::INT), Some(0));
}

#[test]
fn what_an_app_is_given_and_says_is_read_by_its_owner_alone() {
    const SECRET: &str = "correct-horse-battery-staple";
    let dir = tempfile::tempdir().unwrap();
    let words = ["dev", "--http", "127.0.0.1:0", "--cluster", "127.0.0.1:0", "--runtime", "process"];
    let data_dir = ["--data-dir", dir.path().to_str().unwrap()];
    let mut dev = Process::start(&[words.as_slice(), &data_dir].concat());
    let api = dev.word_after(API);
    let app = json!({"cmd": "echo $PASSWORD; exec sleep 1000", "env": {"PASSWORD": SECRET}, "cpus": 0.1,
        "mem": 16, "portDefinitions": []});
    eventually("it is taken", || put(&api, "/a", &app).filter(|answer| answer.status == 201));
    answer_with(&api, "/v2/apps//a?embed=app.tasks", "TASK_RUNNING");
    eventually("it has spoken", || {
        let found = files_with(dir.path(), SECRET.as_bytes());
        let has = |name: &str| found.iter().any(|path| path.contains(name));
        (has("/log/") && has("/checkpoints/") && has("/launch") && has("/stdout")).then_some(())
    });
    let open: Vec<String> = files_with(dir.path(), SECRET.as_bytes())
        .into_iter()
        .filter(|path| is_open_to_others(dir.path(), Path::new(path)))
        .collect();
    assert_eq!(open, [""; 0]);
    assert_eq!(dev.stop(Signal::INT), Some(0));
}

/// Whether others may read a file, and come to it from `root`.
fn is_open_to_others(root: &Path, file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let grants = |path: &Path, bit: u32| path.metadata().unwrap().permissions().mode() & bit != 0;
    let mut above = file.ancestors().skip(1).take_while(|dir| *dir != root);
    grants(file, 0o044) && above.all(|dir| grants(dir, 0o011))
}

/// Files below a directory that hold these bytes.
fn files_with(dir: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if std::fs::read(&path).is_ok_and(|all| all.windows(bytes.len()).any(|part| part == bytes)) {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn two_signals_at_once_are_one_wish_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let mut dev = Process::start(&[
        "dev",
        "--http",
        "127.0.0.1:0",
        "--cluster",
        "127.0.0.1:0",
        "--runtime",
        "process",
        "--data-dir",
        data_dir,
    ]);
    dev.word_after("Cluster  127.0.0.1:");
    dev.signal(Signal::TERM);
    assert_eq!(dev.stop(Signal::INT), Some(0));
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

    let mut first = Process::start(&[words.as_slice(), &[hello]].concat());
    let api = first.word_after(API);
    let at = first.word_after("App      /hello answers at http://");
    answer_with(&at, "/", "hello from /hello version ");
    answer_with(&api, "/ping", "pong");
    let json = answer_with(&api, "/v2/apps//hello?embed=app.tasks", "TASK_RUNNING");
    assert!(json.contains("\"cmd\":\"exec /proc/$PPID/exe hello\""), "{json}");
    answer_with(&api, "/metrics", "platformd_tasks{state=\"running\"} 1");
    assert_eq!(first.stop(Signal::INT), Some(0));
    assert!(get(&at, "/").is_none(), "the task outlived dev");

    let mut second = Process::start(&words);
    let api = second.word_after(API);
    second.word_after("App      /hello answers at http://");
    answer_with(&api, "/v2/apps//hello?embed=app.tasks", "TASK_RUNNING");
    assert_eq!(second.stop(Signal::TERM), Some(0));

    let mut third = Process::start(&[words.as_slice(), &["--fresh"]].concat());
    let api = third.word_after(API);
    answer_with(&api, "/v2/apps", "{\"apps\":[]}");
    assert_eq!(third.stop(Signal::INT), Some(0));
}
