//! Health checks of a definition. Source: spec 6.1.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::decode::into_map;
use super::super::reader::{Fields, Item, Problems};
use super::container::port;
use super::definition::{INT_MAX, seconds};
use crate::domain::{HealthCheck, HealthProtocol};

/// Defaults in seconds. Source: spec 6.1.
const GRACE_PERIOD: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(20);
const DELAY: Duration = Duration::from_secs(15);
const FAILURES: u32 = 3;

/// Reads `healthChecks`, a set: repeats count once.
pub(super) fn read_all(fields: &mut Fields) -> Vec<HealthCheck> {
    let mut checks: Vec<HealthCheck> = Vec::new();
    for item in fields.list("healthChecks").unwrap_or_default() {
        if let Some(check) = read(&item, fields.problems())
            && !checks.contains(&check)
        {
            checks.push(check);
        }
    }
    checks
}

fn read(item: &Item, problems: &Problems) -> Option<HealthCheck> {
    let mut inner = Fields::open(item.value, item.path.clone(), problems)?;
    let protocol = inner
        .choice("protocol", |word| {
            HealthProtocol::ALL.into_iter().find(|protocol| protocol.as_str().eq_ignore_ascii_case(word))
        })
        .unwrap_or(HealthProtocol::Http);
    let fixed = port(&mut inner, "port");
    let index = inner.whole("portIndex", 0, INT_MAX);
    // Marathon adds the index only where ports were spelled out, and always in an update;
    // always adding it keeps a definition the same when it is sent back.
    let needs_index = protocol != HealthProtocol::Command && fixed.is_none();
    let ignores = inner.flag("ignoreHttp1xx").unwrap_or_default();
    let check = HealthCheck {
        protocol,
        path: inner.text("path"),
        port_index: if needs_index { Some(index.unwrap_or(0)) } else { index },
        port: fixed,
        command: read_command(&mut inner),
        grace_period: seconds(&mut inner, "gracePeriodSeconds").unwrap_or(GRACE_PERIOD),
        interval: seconds(&mut inner, "intervalSeconds").unwrap_or(INTERVAL),
        timeout: seconds(&mut inner, "timeoutSeconds").unwrap_or(TIMEOUT),
        max_consecutive_failures: inner.whole("maxConsecutiveFailures", 0, INT_MAX).unwrap_or(FAILURES),
        delay: seconds(&mut inner, "delaySeconds").unwrap_or(DELAY),
        ignore_http_1xx: ignores && shows_1xx(protocol),
        ipv6: read_ipv6(&mut inner),
    };
    inner.finish();
    Some(check)
}

fn read_command(fields: &mut Fields) -> Option<String> {
    let mut inner = fields.object("command")?;
    let value = inner.filled_text("value");
    let value = inner.required("value", value);
    inner.finish();
    value
}

fn read_ipv6(fields: &mut Fields) -> bool {
    fields
        .choice("ipProtocol", |word| match word.to_ascii_lowercase().as_str() {
            "ipv4" => Some(false),
            "ipv6" => Some(true),
            _ => None,
        })
        .unwrap_or_default()
}

fn shows_1xx(protocol: HealthProtocol) -> bool {
    matches!(protocol, HealthProtocol::Http | HealthProtocol::Https)
}

/// One health check as JSON.
pub(super) fn write(check: &HealthCheck) -> Value {
    let mut map: Map<String, Value> = into_map(json!({
        "gracePeriodSeconds": check.grace_period.as_secs(),
        "intervalSeconds": check.interval.as_secs(),
        "maxConsecutiveFailures": check.max_consecutive_failures,
        "protocol": check.protocol.as_str(),
        "ipProtocol": if check.ipv6 { "IPv6" } else { "IPv4" },
        "timeoutSeconds": check.timeout.as_secs(),
        "delaySeconds": check.delay.as_secs(),
    }));
    if let Some(path) = &check.path {
        map.insert("path".to_owned(), json!(path));
    }
    if let Some(port) = check.port {
        map.insert("port".to_owned(), json!(port));
    }
    if let Some(index) = check.port_index {
        map.insert("portIndex".to_owned(), json!(index));
    }
    if let Some(command) = &check.command {
        map.insert("command".to_owned(), json!({"value": command}));
    }
    if shows_1xx(check.protocol) {
        map.insert("ignoreHttp1xx".to_owned(), json!(check.ignore_http_1xx));
    }
    Value::Object(map)
}
