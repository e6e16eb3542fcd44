//! The registry as Marathon 1.7 showed its own: `gauges["marathon.apps.active.gauge"].value`.
//!
//! Marathon's names for what both have, then every series of ours under its own name.
//! Source: Marathon 1.7, "Metrics"; the shape is Dropwizard's.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Name and value that a series must have, if any.
type Label = Option<(&'static str, &'static str)>;

/// What Marathon calls things, and the series whose sum it is: name and one label, if any.
const GAUGES: [(&str, &str, Label); 9] = [
    ("marathon.apps.active.gauge", "platformd_apps", None),
    ("marathon.groups.active.gauge", "platformd_groups", None),
    ("marathon.deployments.active.gauge", "platformd_deployments", None),
    ("marathon.tasks.running.gauge", "platformd_tasks", Some(("state", "running"))),
    ("marathon.tasks.staged.gauge", "platformd_tasks", Some(("state", "staging"))),
    ("marathon.instances.running.gauge", "platformd_tasks", Some(("state", "running"))),
    ("marathon.instances.staged.gauge", "platformd_tasks", Some(("state", "staging"))),
    ("marathon.leadership.duration.gauge.seconds", "platformd_leadership_duration_seconds", None),
    ("marathon.http.requests.active.gauge", "platformd_api_requests_active", None),
];

const COUNTERS: [(&str, &str); 1] = [("marathon.tasks.launched.counter", "platformd_placements_total")];

/// Version of the shape, as Dropwizard wrote it.
const SHAPE_VERSION: &str = "4.0.0";

pub(super) fn render(openmetrics: &str, uptime: Duration) -> String {
    let series: Vec<Series<'_>> = openmetrics.lines().filter_map(Series::parse).collect();
    let kinds = kinds(openmetrics);
    let is = |name: &str, kind: &str| kinds.iter().any(|(of, is)| *of == name && *is == kind);
    let is_master = series.iter().any(|one| one.name == "platformd_api_requests_active");

    let mut gauges = Map::new();
    let mut counters = Map::new();
    let mut timers = Map::new();
    gauges.insert("marathon.uptime.gauge.seconds".into(), json!({ "value": uptime.as_secs_f64() }));
    if is_master {
        for (marathon, ours, label) in GAUGES {
            gauges.insert(marathon.into(), json!({ "value": number(sum(&series, ours, label)) }));
        }
        for (marathon, ours) in COUNTERS {
            counters.insert(marathon.into(), json!({ "count": number(sum(&series, ours, None)) }));
        }
        let name = "platformd_api_request_duration_seconds";
        timers.insert("marathon.http.requests.duration.timer.seconds".into(), timer(&series, name));
    }
    for one in &series {
        if is(one.name, "gauge") {
            gauges.insert(one.key.into(), json!({ "value": number(one.value) }));
        } else if one.name.strip_suffix("_total").is_some_and(|stem| is(stem, "counter")) {
            counters.insert(one.key.into(), json!({ "count": number(one.value) }));
        }
    }
    let mut histograms = Map::new();
    for (name, kind) in &kinds {
        if *kind == "histogram" {
            histograms.insert((*name).into(), timer(&series, name));
        }
    }
    json!({
        "version": SHAPE_VERSION,
        "counters": counters,
        "gauges": gauges,
        "histograms": histograms,
        "meters": {},
        "timers": timers,
    })
    .to_string()
}

/// One line with a value.
struct Series<'a> {
    key: &'a str,
    name: &'a str,
    value: f64,
}

impl<'a> Series<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (key, value) = line.rsplit_once(' ')?;
        let name = key.split_once('{').map_or(key, |(name, _)| name);
        Some(Self { key, name, value: value.parse().ok()? })
    }

    fn has(&self, label: Option<(&str, &str)>) -> bool {
        label.is_none_or(|(name, value)| self.key.contains(&format!("{name}=\"{value}\"")))
    }
}

fn kinds(openmetrics: &str) -> Vec<(&str, &str)> {
    let types = openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|rest| rest.split_once(' ')).collect()
}

fn sum(series: &[Series<'_>], name: &str, label: Option<(&str, &str)>) -> f64 {
    series
        .iter()
        .filter(|one| one.name == name && one.has(label))
        .map(|one| one.value)
        .fold(0.0, |a, b| a + b)
}

/// Count and mean over all labels; we keep buckets instead of Marathon's percentiles.
fn timer(series: &[Series<'_>], name: &str) -> Value {
    let count = sum(series, &format!("{name}_count"), None);
    let total = sum(series, &format!("{name}_sum"), None);
    let mean = if count > 0.0 { total / count } else { 0.0 };
    json!({ "count": number(count), "mean": mean })
}

/// Whole numbers without a point, as Marathon wrote them.
#[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, checked before")]
fn number(value: f64) -> Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX { json!(value as i64) } else { json!(value) }
}
