use std::time::Duration;

use super::metrics::{Kind, On, TABLE, Unit, table_as_markdown};
use super::*;

fn busy_master() -> Registry {
    let registry = Registry::master();
    registry.add_source(Box::new(|samples| {
        samples.set_count(&metrics::APPS, &[], 2);
        samples.set_count(&metrics::GROUPS, &[], 1);
        samples.set_count(&metrics::DEPLOYMENTS, &[], 0);
        samples.set_count(&metrics::TASKS, &["running"], 3);
        samples.set_count(&metrics::TASKS, &["staging"], 1);
        samples.set(&metrics::USED, &["cpus"], 0.5);
        samples.set_count(&metrics::LOG_SIZE, &[], 4096);
        let flushes = SampledHistogram { buckets: vec![(0.001, 5), (0.01, 2)], beyond: 1, sum: 0.5 };
        samples.set_histogram(&metrics::LOG_FLUSH, flushes);
    }));
    drop(registry.api().begin());
    registry.api().answered("PUT", Some("/v2/apps/{*id}"), 200, Duration::from_millis(3));
    registry.api().answered("BREW", None, 405, Duration::from_millis(1));
    registry.scheduling().cycle(2, Duration::from_micros(200));
    registry
}

fn busy_agent() -> Registry {
    let registry = Registry::agent();
    registry.runtime().called("docker", "start", true, Duration::from_millis(30));
    registry
}

#[track_caller]
fn check_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "no {line:?} in\n{text}");
    }
}

#[test]
fn older_text_is_the_default() {
    let rendered = busy_master().render(Some("*/*"));
    assert_eq!(rendered.content_type, "text/plain; version=0.0.4; charset=utf-8");
    check_lines(
        &rendered.body,
        &[
            "# TYPE platformd_api_requests_total counter",
            "platformd_api_requests_total{method=\"PUT\",route=\"/v2/apps/{*id}\",code=\"200\"} 1",
            "platformd_api_requests_total{method=\"other\",route=\"other\",code=\"405\"} 1",
            "# TYPE platformd_scheduling_cycle_duration_seconds histogram",
            "platformd_scheduling_cycle_duration_seconds_bucket{le=\"+Inf\"} 1",
            "# TYPE process_cpu_seconds_total counter",
            "platformd_tasks{state=\"running\"} 3.0",
            "platformd_resource_used{resource=\"cpus\"} 0.5",
            "platformd_log_size_bytes 4096.0",
            "platformd_log_flush_duration_seconds_bucket{le=\"0.01\"} 7",
            "platformd_log_flush_duration_seconds_bucket{le=\"+Inf\"} 8",
            "platformd_log_flush_duration_seconds_count 8",
        ],
    );
    assert!(!rendered.body.contains("# EOF") && !rendered.body.contains("# UNIT"));
}

#[test]
fn openmetrics_ends_with_its_mark() {
    let rendered = busy_master().render(Some("application/openmetrics-text; version=1.0.0"));
    assert!(rendered.content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(rendered.body.ends_with("# EOF\n"));
    check_lines(
        &rendered.body,
        &["# TYPE platformd_api_requests counter", "# UNIT platformd_log_size_bytes bytes"],
    );
}

#[test]
fn json_reads_as_marathons() {
    let rendered = busy_master().render(Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(&rendered.body).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["counters", "gauges", "histograms", "meters", "timers", "version"]);
    for (gauge, value) in [
        ("marathon.apps.active.gauge", 2),
        ("marathon.groups.active.gauge", 1),
        ("marathon.deployments.active.gauge", 0),
        ("marathon.tasks.running.gauge", 3),
        ("marathon.tasks.staged.gauge", 1),
        ("marathon.instances.running.gauge", 3),
        ("platformd_tasks{state=\"running\"}", 3),
    ] {
        assert_eq!(json["gauges"][gauge]["value"], value, "{gauge}");
    }
    assert_eq!(json["counters"]["marathon.tasks.launched.counter"]["count"], 2);
    assert_eq!(json["timers"]["marathon.http.requests.duration.timer.seconds"]["count"], 2);
}

#[test]
fn every_shown_family_is_in_the_table_with_its_labels() {
    for (role, registry) in [(On::Master, busy_master()), (On::Agent, busy_agent())] {
        let text = registry.render(None).body;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let key = line.rsplit_once(' ').unwrap().0;
            let (name, labels) = key.split_once('{').unwrap_or((key, ""));
            let metric = TABLE
                .iter()
                .find(|metric| match metric.kind {
                    Kind::Histogram => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|ending| name.strip_suffix(ending) == Some(metric.name)),
                    _ => metric.name == name,
                })
                .unwrap_or_else(|| panic!("{name} is not in the table"));
            assert!(metric.on.includes(role), "{name} on {role:?}");
            for label in metric.labels {
                assert!(labels.contains(&format!("{label}=\"")), "{key} lacks {label}");
            }
        }
    }
}

#[test]
fn names_follow_prometheus_rules() {
    for metric in TABLE {
        let name = metric.name;
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
        let stem = name.trim_end_matches("_total");
        assert_eq!(stem.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
        assert_eq!(stem.ends_with("_bytes"), metric.unit == Unit::Bytes, "{name}");
        assert!(!metric.meaning.ends_with('.') && !metric.meaning.contains(['\\', '\n', '|', '"']), "{name}");
    }
    let mut names: Vec<&str> = TABLE.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len());
}

#[test]
fn the_document_holds_the_same_table() {
    let document = include_str!("../../docs/metrics.md");
    let table = table_as_markdown();
    assert!(document.contains(&table), "docs/metrics.md should hold:\n{table}");
}

#[test]
fn process_figures_are_sane() {
    let text = busy_agent().render(None).body;
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_threads") >= 1.0);
    assert!(value("process_start_time_seconds") > 1.6e9);
}

/// Prometheus' own judge, where it is installed; `tests/peers/prometheus.sh` demands it.
#[test]
fn promtool_finds_nothing_where_installed() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    for registry in [busy_master(), busy_agent()] {
        let Ok(mut promtool) = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            return;
        };
        let text = registry.render(None).body;
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
