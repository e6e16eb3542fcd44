//! Shows a registry as OpenMetrics, as Prometheus' older text, or as Marathon's JSON.
//!
//! The registry itself speaks OpenMetrics; the others are made from that text, so that
//! all three always tell the same.

use std::time::Duration;

use prometheus_client::registry::Registry as Inner;

use super::marathon_json;

/// An answer to a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// A form that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    OpenMetrics,
    Prometheus,
}

pub(super) fn render(inner: &Inner, accept: Option<&str>, uptime: Duration) -> Rendered {
    let mut openmetrics = String::new();
    // Writing into a string cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut openmetrics, inner);
    match form(accept.unwrap_or_default()) {
        Form::OpenMetrics => Rendered { content_type: OPENMETRICS, body: openmetrics },
        Form::Prometheus => Rendered { content_type: PROMETHEUS, body: prometheus_text(&openmetrics) },
        Form::Json => Rendered { content_type: JSON, body: marathon_json::render(&openmetrics, uptime) },
    }
}

/// The form that the header likes best, the first among equals; Prometheus' text where it
/// names none of ours.
fn form(accept: &str) -> Form {
    let mut best = (Form::Prometheus, 0.0);
    for item in accept.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let form = match parts.next() {
            Some("application/json") => Form::Json,
            Some("application/openmetrics-text") => Form::OpenMetrics,
            Some("text/plain") => Form::Prometheus,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        if quality > best.1 {
            best = (form, quality);
        }
    }
    best.0
}

/// OpenMetrics as text 0.0.4: a counter's family is named like its samples, units have no
/// line, info is a gauge, and nothing marks the end.
fn prometheus_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { continue };
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, words)) = help.take() {
                text.push_str(&format!("# HELP {name}{ending} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
        } else if !line.starts_with("# ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Form) {
        assert_eq!(form(accept), expected, "{accept}");
    }

    #[test]
    fn the_best_liked_form_wins() {
        check("", Form::Prometheus);
        check("*/*", Form::Prometheus);
        check("text/html,*/*;q=0.8", Form::Prometheus);
        check("application/json", Form::Json);
        check("application/json;q=0.2, text/plain;q=0.4", Form::Prometheus);
        check(
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
            Form::OpenMetrics,
        );
    }

    #[test]
    fn older_text_names_counters_in_full() {
        let openmetrics = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                           a_seconds_total 1.5\n# HELP b It.\n# TYPE b gauge\nb{x=\"# y\"} 2\n# EOF\n";
        assert_eq!(
            prometheus_text(openmetrics),
            "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total 1.5\n\
             # HELP b It.\n# TYPE b gauge\nb{x=\"# y\"} 2\n"
        );
    }
}
