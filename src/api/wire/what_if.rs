//! `/v1/what-if`: what to suppose, and what would become of it. Ours.

use serde_json::{Value, json};

use super::decode::AppError;
use super::explain::summary_json;
use super::reader::{Fields, Item, Problems, text_at, whole_at};
use crate::control::{ADDED_MAX, Addition};
use crate::domain::validate::INSTANCES_MAX;
use crate::domain::{AppId, AttributeValue, Attributes, PortRanges, Resources, Scalar};
use crate::forecast::{AppOutcome, Free, Outcome, Rest, Spot, Wait};

/// Entries of each list in an answer; what is beyond is counted.
pub const LISTED_MAX: usize = 1_000;

/// Apps that wait whose every obstacle is told; the others are counted.
pub const EXPLAINED_MAX: usize = 20;

/// Host ports of an agent to be added, where the question names none: as agents have them.
const PORTS: (u16, u16) = (31_000, 32_000);

/// A question, its apps not yet read.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Ids or host names of agents that are lost.
    pub lose: Vec<String>,
    /// Ids or host names of agents that are emptied.
    pub drain: Vec<String>,
    /// Agents that join.
    pub add: Vec<Addition>,
    /// Apps with the number of their instances.
    pub scale: Vec<(AppId, u32)>,
    /// Definitions as PUT takes them.
    pub put: Vec<Value>,
    /// Apps that go.
    pub delete: Vec<AppId>,
}

/// Reads a question.
///
/// # Errors
/// [`AppError`] with the JSON path of everything that is wrong.
pub fn decode_what_if(body: &Value) -> Result<Asked, AppError> {
    let problems = Problems::default();
    let read = Fields::open(body, "", &problems).map(|mut fields| {
        let asked = Asked {
            lose: fields.texts("lose").unwrap_or_default(),
            drain: fields.texts("drain").unwrap_or_default(),
            add: each(&mut fields, "add", |item| addition(&item, &problems)),
            scale: scaled(&mut fields, &problems),
            put: each(&mut fields, "put", |item| Some(item.value.clone())),
            delete: each(&mut fields, "delete", |item| {
                app_id(&text_at(item.value, &item.path, &problems)?, &item.path, &problems)
            }),
        };
        refuse_others(body, "", &["lose", "drain", "add", "scale", "put", "delete"], &problems);
        asked
    });
    problems.settle(read).map(|(asked, _)| asked)
}

fn each<'v, T>(
    fields: &mut Fields<'v, '_>,
    name: &'static str,
    read: impl FnMut(Item<'v>) -> Option<T>,
) -> Vec<T> {
    fields.list(name).unwrap_or_default().into_iter().filter_map(read).collect()
}

/// A typo in a question must not pass for an answer to another one.
pub(super) fn refuse_others(value: &Value, path: &str, known: &[&str], problems: &Problems) {
    for name in value.as_object().into_iter().flat_map(|map| map.keys()) {
        if !known.contains(&name.as_str()) {
            problems
                .semantic(&format!("{path}/{name}"), format!("is not known; expected {}", known.join(", ")));
        }
    }
}

fn app_id(text: &str, path: &str, problems: &Problems) -> Option<AppId> {
    AppId::parse(text).map_err(|error| problems.semantic(path, error.to_string())).ok()
}

fn scaled(fields: &mut Fields<'_, '_>, problems: &Problems) -> Vec<(AppId, u32)> {
    let path = fields.path_of("scale");
    let Some(value) = fields.value("scale") else { return Vec::new() };
    let Some(map) = value.as_object() else {
        problems.json(&path, "error.expected.jsobject");
        return Vec::new();
    };
    let one = |(name, count): (&String, &Value)| {
        let path = format!("{path}/{name}");
        let count = whole_at(count, &path, (0, INSTANCES_MAX), problems);
        Some((app_id(name, &path, problems)?, count?))
    };
    map.iter().filter_map(one).collect()
}

fn addition(item: &Item<'_>, problems: &Problems) -> Option<Addition> {
    let mut fields = Fields::open(item.value, item.path.clone(), problems)?;
    let count = fields.whole("count", 1, ADDED_MAX);
    let has_docker = fields.flag("docker").unwrap_or(true);
    let attributes: Attributes = fields
        .text_map("attributes")
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, AttributeValue::parse(&value)))
        .collect();
    let resources = fields.value("resources");
    let resources = fields.required("resources", resources);
    refuse_others(item.value, &item.path, &["count", "resources", "attributes", "docker"], problems);
    let path = format!("{}/resources", item.path);
    let resources = resources_at(resources?, &path, problems)?;
    Some(Addition { count: count.unwrap_or(1), resources, attributes, has_docker })
}

fn resources_at(value: &Value, path: &str, problems: &Problems) -> Option<Resources> {
    const MOST: f64 = 1e9;
    let mut fields = Fields::open(value, path, problems)?;
    let mut amount = |name| fields.number(name, 0.0, MOST).and_then(Scalar::from_f64);
    let (cpus, mem) = (amount("cpus"), amount("mem"));
    let (disk, gpus) = (amount("disk").unwrap_or_default(), amount("gpus").unwrap_or_default());
    let (cpus, mem) = (fields.required("cpus", cpus), fields.required("mem", mem));
    let ports = fields
        .value("ports")
        .map_or(Some(PortRanges::new([PORTS])), |value| ports_at(value, &format!("{path}/ports"), problems));
    refuse_others(value, path, &["cpus", "mem", "disk", "gpus", "ports"], problems);
    Some(Resources { cpus: cpus?, mem: mem?, disk, gpus, ports: ports? })
}

/// Ranges as text, `[31000-32000]`, the way agents are shown.
fn ports_at(value: &Value, path: &str, problems: &Problems) -> Option<PortRanges> {
    let text = text_at(value, path, problems)?;
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.trim().parse::<u16>().ok()?, to.trim().parse::<u16>().ok()?))
    };
    let ranges: Option<Vec<(u16, u16)>> =
        if inner.is_empty() { Some(Vec::new()) } else { inner.split(',').map(range).collect() };
    if ranges.is_none() {
        problems.semantic(path, format!("{text:?} are no ports; expected ranges such as [31000-32000]"));
    }
    ranges.map(PortRanges::new)
}

/// Elements of a list that stands beside the count of those that are left out.
pub fn bounded<T>(all: &[T], most: usize, one: impl Fn(&T) -> Value) -> (Value, usize) {
    (all.iter().take(most).map(one).collect(), all.len().saturating_sub(most))
}

/// `POST /v1/what-if`.
pub fn outcome_json(outcome: &Outcome) -> Value {
    let (apps, apps_left_out) = bounded(&outcome.apps, LISTED_MAX, app_json);
    let (placements, placements_left_out) = bounded(&outcome.placements, LISTED_MAX, spot_json);
    let (moves, moves_left_out) = bounded(&outcome.moves, LISTED_MAX, |it| {
        json!({
            "app": it.from.app.as_str(),
            "instance": it.from.instance.as_str(),
            "replacement": it.to.instance.as_str(),
            "from": place_json(&it.from),
            "to": place_json(&it.to),
        })
    });
    let (stops, stops_left_out) = bounded(&outcome.stops, LISTED_MAX, spot_json);
    let (stays, stays_left_out) = bounded(&outcome.stays, LISTED_MAX, spot_json);
    let (waits, waits_left_out) = bounded(&outcome.waits, EXPLAINED_MAX, |it| wait_json(it, outcome.index));
    json!({
        "index": outcome.index,
        "rest": rest_word(outcome.rest),
        "wouldAllRun": outcome.is_well(),
        "apps": apps, "appsLeftOut": apps_left_out,
        "placements": placements, "placementsLeftOut": placements_left_out,
        "moves": moves, "movesLeftOut": moves_left_out,
        "stops": stops, "stopsLeftOut": stops_left_out,
        "stays": stays, "staysLeftOut": stays_left_out,
        "waits": waits, "waitsLeftOut": waits_left_out,
        "free": { "before": free_json(&outcome.free_before), "after": free_json(&outcome.free_after) },
    })
}

fn rest_word(rest: Rest) -> &'static str {
    match rest {
        Rest::Reached => "reached",
        Rest::RoundsSpent => "rounds-spent",
        Rest::Stopped => "time-spent",
    }
}

fn app_json(app: &AppOutcome) -> Value {
    json!({
        "app": app.app.as_str(),
        "wanted": app.wanted,
        "runningBefore": app.running_before,
        "runningAfter": app.running_after,
        "placed": app.placed,
        "moved": app.moved,
        "replaced": app.replaced,
        "stopped": app.stopped,
        "waitingBefore": app.waiting_before,
        "waitingAfter": app.waiting_after,
    })
}

pub(super) fn spot_json(spot: &Spot) -> Value {
    json!({
        "app": spot.app.as_str(),
        "instance": spot.instance.as_str(),
        "agent": spot.agent.as_str(),
        "hostname": spot.hostname,
        "ports": spot.ports,
    })
}

pub(super) fn place_json(spot: &Spot) -> Value {
    json!({ "agent": spot.agent.as_str(), "hostname": spot.hostname })
}

/// As `explain` says it, without the agents one by one.
fn wait_json(wait: &Wait, index: u64) -> Value {
    let mut fields = summary_json(&wait.why);
    fields.insert("index".to_owned(), json!(index));
    fields.insert("waitingBefore".to_owned(), json!(wait.before));
    Value::Object(fields)
}

fn free_json(free: &Free) -> Value {
    let amounts = |of: &Resources| {
        json!({
            "cpus": of.cpus.to_f64(),
            "mem": of.mem.to_f64(),
            "disk": of.disk.to_f64(),
            "gpus": of.gpus.to_f64(),
        })
    };
    json!({
        "agents": free.agents,
        "sum": amounts(&free.sum),
        "ports": free.ports,
        "mostOnOneAgent": amounts(&free.most),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_whole() {
        let asked = decode_what_if(&json!({
            "lose": ["a1"], "drain": ["a2"],
            "add": [{"count": 2, "resources": {"cpus": 8, "mem": 16384, "ports": "[1-3,7]"},
                     "attributes": {"rack": "r1"}, "docker": false}],
            "scale": {"/web": 50}, "put": [{"id": "/x"}], "delete": ["/y"],
        }))
        .unwrap();
        let added = &asked.add[0];
        assert_eq!((added.count, added.has_docker, added.resources.ports.count()), (2, false, 4));
        assert_eq!(added.attributes["rack"].to_string(), "r1");
        assert_eq!(asked.scale[0].1, 50);
        assert_eq!((asked.put.len(), asked.delete[0].as_str()), (1, "/y"));
        assert_eq!(decode_what_if(&json!({})).unwrap().lose, Vec::<String>::new());
    }

    #[track_caller]
    fn check(body: &Value, path: &str, part: &str) {
        let error = decode_what_if(body).unwrap_err();
        let violation = &error.violations()[0];
        assert!(violation.path == path && violation.message.contains(part), "{violation}");
    }

    #[test]
    fn everything_wrong_is_named_by_its_path() {
        check(&json!([]), "/", "error.expected.jsobject");
        check(&json!({"loose": ["a"]}), "/loose", "is not known");
        check(&json!({"lose": [3]}), "/lose(0)", "error.expected.jsstring");
        check(&json!({"scale": {"/web": 1_000_000}}), "/scale//web", "error.max");
        check(&json!({"scale": {"/WEB": 1}}), "/scale//WEB", "must match");
        check(&json!({"add": [{"count": 1}]}), "/add(0)/resources", "error.path.missing");
        check(
            &json!({"add": [{"count": 0, "resources": {"cpus": 1, "mem": 1}}]}),
            "/add(0)/count",
            "error.min",
        );
        check(
            &json!({"add": [{"resources": {"cpus": -1, "mem": 1}}]}),
            "/add(0)/resources/cpus",
            "error.min",
        );
        check(
            &json!({"add": [{"resources": {"cpus": 1, "mem": 1, "ports": "x"}}]}),
            "/add(0)/resources/ports",
            "no ports",
        );
        check(&json!({"delete": [""]}), "/delete(0)", "must not be empty");
    }
}
