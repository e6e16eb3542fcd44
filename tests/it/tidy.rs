//! The repository is under test: who may name whom, what pure rooms must not say, sizes,
//! links, examples. Depends on nothing but the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may name, bottom floor first. A new room gets its row the day it appears.
/// `top` is every file directly in `src/`, and `cli`, `settings` and `daemon`.
const FLOORS: &[(&str, &[&str])] = &[
    ("world", &[]),
    ("domain", &[]),
    ("state", &["domain"]),
    ("protocol", &["domain"]),
    ("scheduler", &["domain", "state"]),
    ("planner", &["domain", "state"]),
    ("forecast", &["domain", "state", "scheduler", "planner"]),
    ("store", &["domain", "state", "world"]),
    ("line", &["world"]),
    ("telemetry", &[]),
    ("raft", &["domain", "state", "store", "line", "telemetry", "world"]),
    ("dispatcher", &["domain", "state", "protocol", "store", "line", "telemetry", "world"]),
    ("agent", &["domain", "protocol", "line", "telemetry", "world"]),
    ("control", &["domain", "state", "planner", "scheduler", "forecast", "store", "telemetry", "world"]),
    (
        "leader",
        &["domain", "state", "planner", "scheduler", "forecast", "store", "dispatcher", "telemetry", "world"],
    ),
    ("api", &["domain", "state", "scheduler", "forecast", "control", "store", "telemetry", "world"]),
    ("testkit", EVERYTHING),
    ("top", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "world",
    "domain",
    "state",
    "protocol",
    "scheduler",
    "planner",
    "forecast",
    "store",
    "line",
    "telemetry",
    "raft",
    "dispatcher",
    "agent",
    "control",
    "leader",
    "api",
    "testkit",
    "top",
    "cli",
    "settings",
    "daemon",
    "hello",
];

/// Rooms that give the same answer for the same question, on every machine and in every run.
const PURE: &[&str] = &["domain", "state", "protocol", "scheduler", "planner", "forecast"];

/// What a pure room must not say, and why.
const IMPURE: &[(&str, &str)] = &[
    ("SystemTime", "time comes in as an argument"),
    ("Instant", "time comes in as an argument"),
    ("HashMap", "its order differs from run to run"),
    ("HashSet", "its order differs from run to run"),
    ("rand", "chance comes in as a seed"),
    ("async", "waiting is for rooms above"),
    ("tokio", "waiting is for rooms above"),
    ("std::env", "settings are for the top"),
    ("std::fs", "files are for rooms above"),
];

/// What only `world` may say, and why. Drivers and shims deal with real processes and may.
const OF_THE_WORLD: &[(&str, &str)] = &[
    ("SystemTime::now", "use world::Clock, which the simulator drives"),
    ("std::time::Instant", "use tokio::time::Instant, which the simulator drives"),
    ("tokio::spawn", "use world::spawn, which seeds chance in the simulator"),
    ("tokio::net", "use world::net, which the simulator replaces"),
];

/// Upstream crates that stay behind one door.
const BEHIND_DOORS: &[(&str, &[&str])] = &[
    ("openraft", &["src/raft/", "src/world/"]),
    ("turmoil", &["src/world/", "src/agent/driver/fake.rs", "src/raft/sim_tests.rs"]),
    ("bollard", &["src/agent/driver/"]),
    ("axum", &["src/api/", "src/agent/routes.rs", "src/daemon", "src/testkit/"]),
    ("prometheus_client", &["src/telemetry/"]),
    ("rustls", &["src/line/security.rs"]),
    ("clap", &["src/cli/", "src/settings/"]),
];

/// A file over this wants a second noun.
const LINES_MAX: usize = 600;

/// Files that may be longer: path, lines with some headroom, why.
const LONG_FILES: &[(&str, usize, &str)] = &[];

/// What may lie beside `src`. Dotfiles as tools need them.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "tests",
    "docs",
    "examples",
    "benches",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "target",
    ".git",
    ".gitignore",
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".deny.toml",
    ".rustfmt.toml",
    ".platformd",
];

#[test]
fn every_room_names_only_lower_rooms() {
    let floors: BTreeMap<&str, &[&str]> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in sources("src") {
        let room = file.room();
        let Some(allowed) = floors.get(room) else {
            wrong.push(format!("{}: room `{room}` has no row in FLOORS", file.path));
            continue;
        };
        for named in rooms_named(&file.code) {
            let is_known = EVERYTHING.contains(&named.as_str());
            let is_support = named == "testkit";
            if is_known && named != room && !is_support && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: `{room}` must not name `{named}`", file.path));
            }
        }
    }
    expect_none(&wrong);
}

#[test]
fn pure_rooms_say_nothing_impure() {
    let mut wrong = Vec::new();
    for file in sources("src").into_iter().filter(|file| PURE.contains(&file.room())) {
        for (word, why) in IMPURE {
            wrong.extend(file.lines_with(word).map(|at| format!("{at}: `{word}`: {why}")));
        }
    }
    expect_none(&wrong);
}

#[test]
fn the_outside_comes_only_from_world() {
    let is_exempt = |path: &str| {
        ["src/world/", "src/agent/driver/", "src/agent/shim", "src/hello.rs"]
            .iter()
            .any(|door| path.starts_with(door))
    };
    let mut wrong = Vec::new();
    for file in sources("src").into_iter().filter(|file| !is_exempt(&file.path)) {
        for (word, why) in OF_THE_WORLD {
            wrong.extend(file.lines_with(word).map(|at| format!("{at}: `{word}`: {why}")));
        }
    }
    expect_none(&wrong);
}

#[test]
fn upstream_types_stay_behind_their_doors() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        for (name, doors) in BEHIND_DOORS {
            if !doors.iter().any(|door| file.path.starts_with(door)) {
                let uses = [format!("{name}::"), format!("use {name}")];
                wrong.extend(
                    uses.iter()
                        .flat_map(|word| file.lines_with(word))
                        .map(|at| format!("{at}: `{name}` stays in {}", doors.join(", "))),
                );
            }
        }
    }
    expect_none(&wrong);
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = sources("src").into_iter().chain(sources("tests"));
    let silent = files.filter(|file| !file.is_tests() && !file.text.trim_start().starts_with("//!"));
    expect_none(&silent.map(|file| format!("{}: begins without //!", file.path)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ];
    let mut wrong = Vec::new();
    for file in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in file.text.lines().enumerate() {
            wrong.extend(
                marks
                    .iter()
                    .filter(|mark| line.contains(**mark))
                    .map(|mark| format!("{}:{}: {mark}", file.path, number + 1)),
            );
        }
    }
    expect_none(&wrong);
}

#[test]
fn files_stay_short_or_say_why() {
    let mut wrong = Vec::new();
    for file in sources("src").into_iter().chain(sources("tests")) {
        let lines = file.text.lines().count();
        match LONG_FILES.iter().find(|(path, _, _)| *path == file.path) {
            Some((_, most, why)) if lines > *most => {
                wrong.push(format!("{}: {lines} lines, allowed {most} because {why}", file.path));
            }
            Some((_, _, _)) if lines <= LINES_MAX => {
                wrong.push(format!("{}: short again, take it off LONG_FILES", file.path));
            }
            None if lines > LINES_MAX => {
                wrong.push(format!("{}: {lines} lines want a second noun (at most {LINES_MAX})", file.path));
            }
            _ => {}
        }
    }
    for (path, _, _) in LONG_FILES {
        if !root().join(path).exists() {
            wrong.push(format!("{path}: gone, take it off LONG_FILES"));
        }
    }
    expect_none(&wrong);
}

#[test]
fn every_example_is_named_in_the_documents() {
    let documents: String = documents().into_iter().map(|(_, text)| text).collect();
    let names = files_below(&root().join("examples"));
    let unnamed =
        names.iter().filter_map(|path| path.file_name()?.to_str()).filter(|name| !documents.contains(name));
    expect_none(&unnamed.map(|name| format!("examples/{name}: named nowhere")).collect::<Vec<_>>());
}

#[test]
fn links_between_documents_are_alive() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if !path.parent().unwrap().join(file).exists() {
                wrong.push(format!("{}: {target} leads nowhere", path.display()));
            }
        }
    }
    expect_none(&wrong);
}

#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let reasons = fs::read_to_string(root().join("docs/decisions/0005-dependencies.md")).unwrap();
    let named: BTreeSet<String> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|names| names.split(", ").map(str::to_owned))
        .collect();
    let mut is_dependency = false;
    let mut wrong = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_dependency = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (is_dependency, line.split_once(" = "))
            && !line.starts_with('#')
            && !named.contains(name)
            && name != "platformd"
        {
            wrong.push(format!("{name}: has no line in docs/decisions/0005-dependencies.md"));
        }
    }
    expect_none(&wrong);
}

#[test]
fn no_machine_is_named() {
    let marks = ["/root/", "/home/", "/Users/", concat!("/tmp/", "pd"), concat!("/wo", "rk/")];
    let mut wrong = Vec::new();
    let texts = sources("src").into_iter().chain(sources("tests")).map(|file| (file.path, file.text));
    let documents = documents().into_iter().map(|(path, text)| (path.display().to_string(), text));
    let examples = files_below(&root().join("examples")).into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (path.display().to_string(), text)
    });
    for (path, text) in texts.chain(documents).chain(examples) {
        if path.ends_with("tests/it/tidy.rs") {
            continue;
        }
        wrong.extend(marks.iter().filter(|mark| text.contains(**mark)).map(|mark| format!("{path}: {mark}")));
    }
    expect_none(&wrong);
}

#[test]
fn the_top_level_is_as_agreed() {
    let entries = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    let strange = names.iter().filter(|name| !TOP_LEVEL.contains(&name.as_str()));
    expect_none(&strange.map(|name| format!("{name}: does not belong beside src")).collect::<Vec<_>>());
    for wanted in ["README.md", "CHANGELOG.md", "LICENSE", "Cargo.lock", ".ci", "docs", "examples"] {
        assert!(names.contains(wanted), "{wanted} is missing");
    }
}

/// One source file: as it is, and its code without comments and unit tests.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        match inside.split_once('/') {
            None | Some(("cli" | "settings" | "daemon", _)) => "top",
            Some((room, _)) => room,
        }
    }

    fn is_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = String> + 'a {
        let found = self.code.lines().enumerate().filter(move |(_, line)| says(line, word));
        found.map(|(number, _)| format!("{}:{}", self.path, number + 1))
    }
}

/// Whether `line` has `word` as a word of its own.
fn says(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        let opens = before.is_none_or(|c| !is_part(c));
        let closes = word.ends_with(':') || after.is_none_or(|c| !is_part(c));
        opens && closes
    })
}

/// Rooms that code names by `crate::room` or `use crate::{room, ...}`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code.get(at + "crate::".len()..).unwrap_or_default();
        match rest.strip_prefix('{') {
            None => drop(named.insert(leading_word(rest))),
            Some(list) => named.extend(first_words(list)),
        }
    }
    named
}

/// The first word of each item of a brace list, up to the brace that closes it.
fn first_words(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut words) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                words.push(leading_word(list.get(start..at).unwrap_or_default()));
                return words;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                words.push(leading_word(list.get(start..at).unwrap_or_default()));
                start = at + 1;
            }
            _ => {}
        }
    }
    words
}

fn leading_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn sources(folder: &str) -> Vec<Source> {
    let paths = files_below(&root().join(folder)).into_iter();
    let paths = paths.filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    paths
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let is_tests = relative.ends_with("/tests.rs") || relative.contains("/tests/");
            let code = if is_tests { String::new() } else { code_of(&text) };
            Source { path: relative, text, code }
        })
        .collect()
}

/// Code without comments and without the test module at a file's foot; line numbers stay.
fn code_of(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let kept = text.get(..tests).unwrap_or_default().lines();
    let bare: Vec<&str> = kept.map(|line| line.split("//").next().unwrap_or_default()).collect();
    bare.join("\n")
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = files_below(&root().join("docs"));
    paths.extend([root().join("README.md"), root().join("CHANGELOG.md")]);
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_checks_themselves_see() {
    assert_eq!(
        rooms_named("use crate::{store::{View, X}, world};\nfn f(_: crate::api::Y) {}")
            .into_iter()
            .collect::<Vec<_>>(),
        ["api", "store", "world"]
    );
    assert!(says("let x: HashMap<u8, u8>;", "HashMap") && !says("MyHashMap", "HashMap"));
    assert!(says("use axum::Router;", "axum::") && !says("relaxum::x", "axum::"));
    assert_eq!(code_of("a // b\n#[cfg(test)]\nmod tests {\n}"), "a ");
}
