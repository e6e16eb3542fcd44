//! A group file flattened into its apps. Source: spec 8.

use serde_json::Value;

use super::app::read_app;
use super::decode::AppError;
use super::reader::{Fields, Problems};
use crate::domain::{AppId, RunSpec};

/// Deepest nesting of groups; the parser stops at 128 levels of JSON anyway.
const DEPTH_MAX: u32 = 32;
/// Most apps of one group file.
const APPS_MAX: usize = 10_000;

/// Reads a group with everything below it; relative ids are resolved against the
/// enclosing group, and each app must be a direct child of its group.
///
/// # Errors
/// [`AppError`] with everything that is wrong, paths counted from the whole file.
pub fn decode_group(body: &Value) -> Result<Vec<(AppId, RunSpec)>, AppError> {
    let problems = Problems::default();
    let mut apps = Vec::new();
    let read = read_group(body, "", "/", DEPTH_MAX, &mut apps, &problems);
    refuse_repeats(&apps, &problems);
    problems.settle(read.map(|()| apps)).map(|(apps, _)| apps)
}

fn read_group(
    value: &Value,
    path: &str,
    parent: &str,
    depth_left: u32,
    apps: &mut Vec<(AppId, RunSpec)>,
    problems: &Problems,
) -> Option<()> {
    let mut fields = Fields::open(value, path, problems)?;
    fields.skip(&["version", "pods", "enforceRole"]);
    let group = match fields.text("id").as_deref() {
        None | Some("" | "/") => parent.to_owned(),
        Some(raw) => group_id(raw, parent, &fields)?,
    };
    fields.unsupported("dependencies", "dependencies between groups are");
    if fields.value("pods").and_then(Value::as_array).is_some_and(|pods| !pods.is_empty()) {
        fields.refuse("pods", "pods are not supported by this version yet; remove 'pods'");
    }
    for item in fields.list("apps").unwrap_or_default() {
        read_member(&item.path, item.value, &group, apps, problems);
    }
    for item in fields.list("groups").unwrap_or_default() {
        if depth_left == 0 {
            problems.semantic(&item.path, format!("groups must not nest deeper than {DEPTH_MAX}"));
        } else {
            read_group(item.value, &item.path, &group, depth_left - 1, apps, problems);
        }
    }
    fields.finish();
    Some(())
}

/// Groups follow the rules of app ids.
fn group_id(raw: &str, parent: &str, fields: &Fields) -> Option<String> {
    let id = AppId::resolve(raw, parent);
    if let Err(error) = &id {
        fields.refuse("id", error.to_string());
    }
    let id = id.ok()?;
    if id.parent() != parent && parent != "/" {
        fields.refuse("id", format!("Identifier is not child of '{parent}'"));
    }
    Some(id.to_string())
}

fn read_member(
    path: &str,
    value: &Value,
    group: &str,
    apps: &mut Vec<(AppId, RunSpec)>,
    problems: &Problems,
) {
    if apps.len() >= APPS_MAX {
        problems.semantic(path, format!("a group must not have more than {APPS_MAX} apps"));
        return;
    }
    let Some((id, spec)) = read_app(value, path, group, problems) else { return };
    match id {
        Some(id) if id.parent() == group => apps.push((id, spec)),
        Some(_) => problems.semantic(&format!("{path}/id"), format!("Identifier is not child of '{group}'")),
        None if value.get("id").is_none_or(Value::is_null) => {
            problems.json(&format!("{path}/id"), "error.path.missing");
        }
        None => {} // A broken id was noted.
    }
}

fn refuse_repeats(apps: &[(AppId, RunSpec)], problems: &Problems) {
    let mut seen = std::collections::BTreeSet::new();
    for (id, _) in apps {
        if !seen.insert(id) {
            problems.semantic("/", format!("app '{id}' is defined more than once; keep one"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(body: Value, wanted: Result<&[&str], &str>) {
        let got = decode_group(&body);
        let ids = got.as_ref().map(|apps| apps.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>());
        match (ids, wanted) {
            (Ok(ids), Ok(wanted)) => assert_eq!(ids, wanted),
            (Err(error), Err(wanted)) => assert_eq!(error.violations()[0].to_string(), wanted),
            (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
        }
    }

    #[test]
    fn nested_groups_flatten_and_relative_ids_resolve() {
        check(
            json!({"id": "/shop", "apps": [{"id": "db", "cmd": "x"}],
                   "groups": [{"id": "front", "apps": [{"id": "web", "cmd": "x"}, {"id": "/shop/front/api", "cmd": "x"}]}]}),
            Ok(&["/shop/db", "/shop/front/web", "/shop/front/api"]),
        );
        check(json!({"apps": [{"id": "a", "cmd": "x"}]}), Ok(&["/a"]));
        check(json!({"id": "/", "groups": []}), Ok(&[]));
    }

    #[test]
    fn mistakes_are_named_by_their_path_in_the_file() {
        check(
            json!({"id": "/a", "groups": [{"id": "b", "apps": [{"id": "c", "cmd": 3}]}]}),
            Err("/groups(0)/apps(0)/cmd: error.expected.jsstring"),
        );
        check(json!({"id": "/a", "apps": [{"cmd": "x"}]}), Err("/apps(0)/id: error.path.missing"));
        check(
            json!({"id": "/a", "apps": [{"id": "/b/c", "cmd": "x"}]}),
            Err("/apps(0)/id: Identifier is not child of '/a'"),
        );
        check(json!({"id": "/a", "apps": {}}), Err("/apps: error.expected.jsarray"));
        check(
            json!({"apps": [{"id": "a", "cmd": "x"}, {"id": "/a", "cmd": "y"}]}),
            Err("/: app '/a' is defined more than once; keep one"),
        );
    }
}
