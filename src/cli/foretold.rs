//! `platformd what-if`: from flags to a question, and an answer as people read it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{ExitError, WhatIfFlags, exit_code};

/// Entries of a list that are printed; the answer tells how many there are.
const LINES_MAX: usize = 50;

/// Names of resources; every other name in `--add` is an attribute.
const AMOUNTS: [&str; 4] = ["cpus", "mem", "disk", "gpus"];

/// The body of `POST /v1/what-if`.
///
/// # Errors
/// With code 2 what cannot be read, and why.
pub(super) fn question(wish: &WhatIfFlags) -> Result<Value, ExitError> {
    let pairs = |flat: &[String]| -> Vec<(String, String)> {
        let (pairs, _) = flat.as_chunks::<2>();
        pairs.iter().map(|[a, b]| (a.clone(), b.clone())).collect()
    };
    let mut add = Vec::new();
    for (count, text) in pairs(&wish.add) {
        add.push(addition(&count, &text)?);
    }
    let mut scale = Map::new();
    for (app, instances) in pairs(&wish.scale) {
        scale.insert(app, json!(number("--scale", &instances)?));
    }
    let mut put = Vec::new();
    for file in &wish.app {
        put.extend(definitions(file)?);
    }
    Ok(json!({
        "lose": wish.lose, "drain": wish.drain, "add": add, "scale": scale, "put": put, "delete": wish.delete,
    }))
}

fn usage(text: String) -> ExitError {
    ExitError::new(exit_code::USAGE, text)
}

fn number(flag: &str, text: &str) -> Result<u32, ExitError> {
    text.parse().map_err(|_| usage(format!("{flag} {text:?}: expected a whole number")))
}

fn addition(count: &str, text: &str) -> Result<Value, ExitError> {
    let (mut resources, mut attributes) = (Map::new(), Map::new());
    for item in text.split(';').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((name, value)) = item.split_once(':') else {
            return Err(usage(format!("--add {text:?}: {item:?} has no colon; expected 'cpus:8;mem:16384'")));
        };
        if AMOUNTS.contains(&name) {
            let amount: f64 = value
                .parse()
                .map_err(|_| usage(format!("--add {text:?}: {value:?} is no amount of {name}")))?;
            resources.insert(name.to_owned(), json!(amount));
        } else if name == "ports" {
            resources.insert(name.to_owned(), json!(value));
        } else {
            attributes.insert(name.to_owned(), json!(value));
        }
    }
    Ok(json!({ "count": number("--add", count)?, "resources": resources, "attributes": attributes }))
}

/// One definition, or a list of them.
fn definitions(file: &Path) -> Result<Vec<Value>, ExitError> {
    let bad = |why: String| usage(format!("--app {}: {why}; expected the JSON of an app", file.display()));
    let bytes = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    match serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))? {
        Value::Array(all) => Ok(all),
        one => Ok(vec![one]),
    }
}

/// What `POST /v1/what-if` answered, in lines, and whether all would run.
pub(super) fn foretold(answer: &Value) -> (String, bool) {
    let all_would_run = answer.get("wouldAllRun").and_then(Value::as_bool).unwrap_or(false);
    let mut lines = vec![headline(answer, all_would_run)];
    for app in list(answer, "apps").take(LINES_MAX) {
        lines.push(format!("  {}", counts(app)));
    }
    section(&mut lines, answer, "moves", "Would move:", |it| {
        format!("{} from {} to {}", text(it, "instance"), host(it.get("from")), host(it.get("to")))
    });
    section(&mut lines, answer, "stops", "Would stop, with none in their place:", spot);
    section(&mut lines, answer, "stays", "Would stay, because nothing takes their place:", spot);
    let moved: BTreeSet<&str> = list(answer, "moves").map(|it| text(it, "replacement")).collect();
    // Their names are invented, so that only their number tells something.
    let mut placed: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for it in list(answer, "placements").filter(|it| !moved.contains(text(it, "instance"))) {
        *placed.entry((text(it, "app"), host(Some(it)))).or_default() += 1;
    }
    let placed: Vec<String> =
        placed.into_iter().map(|((app, host), count)| format!("{count} of {app} on {host}")).collect();
    told(&mut lines, "Would be placed:", &placed, number_of(answer, "placementsLeftOut"));
    for wait in list(answer, "waits") {
        lines.push(String::new());
        lines.push(super::explained::explained(wait).trim_end().to_owned());
    }
    let left_out = number_of(answer, "waitsLeftOut");
    if left_out > 0 {
        lines.push(format!("{left_out} more apps would wait."));
    }
    lines.push(String::new());
    lines.push(free("Free now: ", answer.pointer("/free/before")));
    lines.push(free("Free then:", answer.pointer("/free/after")));
    lines.push(String::new());
    (lines.join("\n"), all_would_run)
}

fn headline(answer: &Value, all_would_run: bool) -> String {
    let index = number_of(answer, "index");
    match (text(answer, "rest"), all_would_run) {
        ("reached", true) => format!("All would run (state index {index})."),
        ("reached", false) => format!("Not all would run (state index {index})."),
        ("time-spent", _) => {
            format!("Not played to its end: it takes too long (state index {index}). So far:")
        }
        _ => format!("Not played to its end: it does not come to rest (state index {index}). So far:"),
    }
}

fn counts(app: &Value) -> String {
    let parts = [
        ("placed", "placed"),
        ("moved", "of them moved"),
        ("replaced", "of them replaced where they are"),
        ("stopped", "stopped"),
        ("waitingAfter", "waiting"),
    ];
    let told: Vec<String> = parts
        .into_iter()
        .map(|(key, word)| (number_of(app, key), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let (before, after) = (number_of(app, "runningBefore"), number_of(app, "runningAfter"));
    format!("{}: {before} running, then {after}; {}", text(app, "app"), told.join(", "))
}

fn section(lines: &mut Vec<String>, answer: &Value, key: &str, title: &str, line: impl Fn(&Value) -> String) {
    let all: Vec<String> = list(answer, key).map(line).collect();
    told(lines, title, &all, number_of(answer, &format!("{key}LeftOut")));
}

/// Some lines under a title; nothing when there is nothing to tell.
fn told(lines: &mut Vec<String>, title: &str, all: &[String], left_out: u64) {
    if all.is_empty() {
        return;
    }
    lines.push(title.to_owned());
    lines.extend(all.iter().take(LINES_MAX).map(|line| format!("  {line}")));
    let left_out = all.len().saturating_sub(LINES_MAX) as u64 + left_out;
    if left_out > 0 {
        lines.push(format!("  and {left_out} more"));
    }
}

fn spot(spot: &Value) -> String {
    format!("{} on {}", text(spot, "instance"), host(Some(spot)))
}

fn host(place: Option<&Value>) -> String {
    let place = place.unwrap_or(&Value::Null);
    let (hostname, agent) = (text(place, "hostname"), text(place, "agent"));
    if hostname == agent { agent.to_owned() } else { format!("{hostname} ({agent})") }
}

fn free(title: &str, free: Option<&Value>) -> String {
    let free = free.unwrap_or(&Value::Null);
    let amount =
        |of: &str, key: &str| free.pointer(&format!("/{of}/{key}")).and_then(Value::as_f64).unwrap_or(0.0);
    let agents = number_of(free, "agents");
    format!(
        "{title} {agents} {}, {} cpus and {} MiB of memory; at most {} cpus and {} MiB on one agent",
        if agents == 1 { "agent" } else { "agents" },
        amount("sum", "cpus"),
        amount("sum", "mem"),
        amount("mostOnOneAgent", "cpus"),
        amount("mostOnOneAgent", "mem"),
    )
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number_of(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_question() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let wish = WhatIfFlags {
            lose: words(&["a1"]),
            add: words(&["2", "cpus:8;mem:16384;ports:[1-9];rack:r9"]),
            scale: words(&["/web", "50"]),
            ..WhatIfFlags::default()
        };
        let body = question(&wish).unwrap();
        assert_eq!(body["add"][0]["resources"], json!({"cpus": 8.0, "mem": 16384.0, "ports": "[1-9]"}));
        assert_eq!(body["add"][0]["attributes"], json!({"rack": "r9"}));
        assert_eq!((&body["scale"], &body["lose"]), (&json!({"/web": 50}), &json!(["a1"])));
        for bad in [words(&["x", "cpus:1"]), words(&["1", "cpus"]), words(&["1", "cpus:many"])] {
            let wish = WhatIfFlags { add: bad, ..WhatIfFlags::default() };
            assert_eq!(question(&wish).unwrap_err().code, exit_code::USAGE);
        }
        let wish = WhatIfFlags { app: vec!["/nonexistent.json".into()], ..WhatIfFlags::default() };
        assert!(question(&wish).unwrap_err().message.contains("/nonexistent.json"));
    }

    #[test]
    fn an_answer_reads_from_top_to_bottom() {
        let answer = json!({
            "index": 7, "rest": "reached", "wouldAllRun": true,
            "apps": [{"app": "/web", "runningBefore": 2, "runningAfter": 2, "placed": 1, "moved": 1}],
            "moves": [{"app": "/web", "instance": "web.1", "replacement": "web.2", "from": {"agent": "a1", "hostname": "h1"},
                       "to": {"agent": "a2", "hostname": "a2"}}],
            "placements": [{"instance": "web.2", "agent": "a2", "hostname": "a2"},
                           {"app": "/db", "instance": "db.1", "agent": "a2", "hostname": "a2"}],
            "free": {"before": {"agents": 2, "sum": {"cpus": 4.0, "mem": 64.0}, "mostOnOneAgent": {"cpus": 3.0, "mem": 60.0}},
                     "after": {"agents": 1}},
        });
        let (text, all_would_run) = foretold(&answer);
        assert!(all_would_run);
        assert_eq!(
            text,
            "All would run (state index 7).\n\
             \u{20} /web: 2 running, then 2; 1 placed, 1 of them moved\n\
             Would move:\n\
             \u{20} web.1 from h1 (a1) to a2\n\
             Would be placed:\n\
             \u{20} 1 of /db on a2\n\
             \n\
             Free now:  2 agents, 4 cpus and 64 MiB of memory; at most 3 cpus and 60 MiB on one agent\n\
             Free then: 1 agent, 0 cpus and 0 MiB of memory; at most 0 cpus and 0 MiB on one agent\n"
        );
    }

    #[test]
    fn an_answer_of_another_shape_makes_nothing_panic() {
        for answer in [json!(null), json!({"moves": 3, "waits": [1], "apps": [null]}), json!([])] {
            assert!(!foretold(&answer).1);
        }
    }
}
