//! Every file in `examples/` is what it claims to be.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use platformd::api::wire::app::decode_app;
use platformd::cli::{Command, parse_from};
use platformd::domain::validate;
use platformd::settings::{AgentSettingsFlags, MasterSettings, SettingsFile};
use serde_json::Value;

fn examples(ending: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|is| is == ending) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no *.{ending} in examples/");
    found
}

/// Decodes an app, or every app of a group.
fn check_app_or_group(name: &str, json: &Value, group: &str) -> usize {
    let (Some(apps), groups) = (json.get("apps").and_then(Value::as_array), json.get("groups")) else {
        let app = decode_app(json, group).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let id = json.get("id").and_then(Value::as_str).unwrap();
        let found = app.id.unwrap();
        assert_eq!(found.as_str(), id, "{name}");
        assert_eq!(validate::run_spec(&found, &app.spec), [], "{name}");
        return 1;
    };
    let id = json.get("id").and_then(Value::as_str).unwrap();
    let below = groups.and_then(Value::as_array).into_iter().flatten();
    apps.iter().chain(below).map(|json| check_app_or_group(name, json, id)).sum()
}

#[test]
fn json_examples_are_apps_or_groups() {
    for (name, text) in examples("json") {
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(check_app_or_group(&name, &json, "/") > 0, "{name} defines no app");
    }
}

#[test]
fn settings_examples_are_settings() {
    for (name, text) in examples("toml") {
        let file = SettingsFile::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        MasterSettings::from_flags(file.master).unwrap_or_else(|error| panic!("{name}: {error}"));
        AgentSettingsFlags::from_flags(file.agent).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn units_start_what_exists_and_spare_tasks() {
    let settings = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/platformd.toml");
    for (name, text) in examples("service") {
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let words = line.split_whitespace().map(|word| match word {
            "/etc/platformd.toml" => settings.clone().into_os_string(),
            word => OsString::from(word),
        });
        let command = parse_from(words).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.contains("Restart=always"), "{name}");
        if matches!(command, Command::Agent(_)) {
            assert!(text.contains("KillMode=process") && text.contains("Delegate=yes"), "{name}");
        }
    }
}
