//! Reads what several flags share: addresses, durations, logging.

use std::path::Path;
use std::time::Duration;

use super::{Address, BadSetting};
use crate::telemetry::LogFormat;

/// How the process writes its log, which goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Directives as of `tracing`'s `EnvFilter`.
    pub filter: String,
    /// Text for people or JSON for machines.
    pub format: LogFormat,
}

/// What is logged unless told otherwise: ours, and of openraft only what is wrong.
const DEFAULT_FILTER: &str = "info,openraft=warn";

pub(super) fn log(filter: Option<String>, format: Option<&str>) -> Result<LogSettings, BadSetting> {
    let filter = filter.unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    if let Err(reason) = crate::telemetry::check_filter(&filter) {
        let expected = format!("{reason}; expected directives such as 'info,openraft=warn'");
        return Err(BadSetting::new("--log", filter, expected));
    }
    let format = match format {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => return Err(BadSetting::new("--log-format", other, "expected 'text' or 'json'")),
    };
    Ok(LogSettings { filter, format })
}

pub(super) fn address(
    flag: &'static str,
    given: Option<String>,
    default: &str,
) -> Result<Address, BadSetting> {
    let raw = given.unwrap_or_else(|| default.to_owned());
    Address::parse(&raw)
        .ok_or_else(|| BadSetting::new(flag, raw, "expected host:port, such as 127.0.0.1:8080 or [::1]:8080"))
}

/// Reads `--masters`: one, three or five distinct addresses that can be dialled.
pub(super) fn masters(raw: &str) -> Result<Vec<Address>, BadSetting> {
    let bad = |expected: String| BadSetting::new("--masters", raw, expected);
    let mut masters = Vec::new();
    for part in raw.split(',').map(str::trim) {
        let Some(address) = Address::parse(part) else {
            return Err(bad(format!("{part:?} is not host:port; expected a:5050,b:5050,c:5050")));
        };
        if address.port() == 0 || address.is_wildcard() {
            return Err(bad(format!(
                "{part} cannot be dialled; name the host and port the others reach it by"
            )));
        }
        if masters.contains(&address) {
            return Err(bad(format!("{part} is named twice; expected distinct addresses")));
        }
        masters.push(address);
    }
    match masters.len() {
        1 | 3 | 5 => Ok(masters),
        other => Err(bad(format!(
            "expected one, three or five addresses, got {other}; an even number survives no more failures \
             than one less"
        ))),
    }
}

/// Reads `500ms`, `10s`, `2m` or `1h` within `least..=most`.
pub(super) fn duration(
    flag: &'static str,
    given: Option<String>,
    default: Duration,
    (least, most): (Duration, Duration),
) -> Result<Duration, BadSetting> {
    let Some(raw) = given else { return Ok(default) };
    let Some(value) = parse_duration(&raw) else {
        return Err(BadSetting::new(flag, raw, "expected a number with ms, s, m or h, such as 10s"));
    };
    if value < least || value > most {
        let expected = format!("expected between {} s and {} s", least.as_secs(), most.as_secs());
        return Err(BadSetting::new(flag, raw, expected));
    }
    Ok(value)
}

fn parse_duration(raw: &str) -> Option<Duration> {
    let digits = raw.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = raw.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

/// What allows a process to be reached from, or to speak to, other machines.
pub(super) struct Exposure {
    has_secret: bool,
    has_credentials: bool,
    insecure: bool,
}

impl Exposure {
    /// As `--cluster-secret-file`, `--http-credentials` and `--insecure` were given.
    pub(super) fn of(secret: Option<&Path>, credentials: Option<&Path>, insecure: Option<bool>) -> Self {
        Self {
            has_secret: secret.is_some(),
            has_credentials: credentials.is_some(),
            insecure: insecure.unwrap_or(false),
        }
    }

    /// Refuses an API that every other machine could use.
    pub(super) fn check_http(&self, address: &Address) -> Result<(), BadSetting> {
        if address.is_loopback() || self.has_credentials || self.insecure {
            return Ok(());
        }
        let expected = "is beyond loopback, and who reaches it can run anything anywhere in the cluster; give \
                        names and passwords with --http-credentials FILE, use a loopback address, or say \
                        --insecure on a network you trust";
        Err(BadSetting::new("--http", address.as_str(), expected))
    }

    /// Refuses a cluster port in the clear.
    pub(super) fn check_cluster<'a>(
        &self,
        flag: &'static str,
        mut addresses: impl Iterator<Item = &'a Address>,
    ) -> Result<(), BadSetting> {
        if self.has_secret || self.insecure {
            return Ok(());
        }
        let Some(address) = addresses.find(|address| !address.is_loopback()) else { return Ok(()) };
        let expected = "is beyond loopback, and who speaks there commands every machine of the cluster; give \
                        --cluster-secret-file FILE (see 'platformd secret --help'), use a loopback address, or \
                        say --insecure on a network you trust";
        Err(BadSetting::new(flag, address.as_str(), expected))
    }
}
