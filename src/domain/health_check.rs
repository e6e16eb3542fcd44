//! How an app says that it is well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One health check of a run spec. Source: spec 6.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked, by which of Marathon's names.
    pub protocol: HealthProtocol,
    /// Path of HTTP kinds; absent means `/`.
    pub path: Option<String>,
    /// Which port of the app, counted from 0.
    pub port_index: Option<u32>,
    /// A fixed port instead of an index.
    pub port: Option<u16>,
    /// Shell command of the COMMAND kind; exit 0 is healthy.
    pub command: Option<String>,
    /// Failures this long after the start count only once it was healthy.
    pub grace_period: Duration,
    /// Pause between probes.
    pub interval: Duration,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Failures in a row after which the task is replaced.
    pub max_consecutive_failures: u32,
    /// Wait before the first probe of the MESOS and COMMAND kinds.
    pub delay: Duration,
    /// HTTP kinds: an answer 1xx says nothing.
    pub ignore_http_1xx: bool,
    /// Address family, as the user wrote it.
    pub ipv6: bool,
}

/// Marathon's names of check kinds. All run on the agent beside the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthProtocol {
    /// `HTTP`
    Http,
    /// `HTTPS`
    Https,
    /// `TCP`
    Tcp,
    /// `COMMAND`
    Command,
    /// `MESOS_HTTP`
    MesosHttp,
    /// `MESOS_HTTPS`
    MesosHttps,
    /// `MESOS_TCP`
    MesosTcp,
}

impl HealthProtocol {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Http,
        Self::Https,
        Self::Tcp,
        Self::Command,
        Self::MesosHttp,
        Self::MesosHttps,
        Self::MesosTcp,
    ];

    /// Marathon's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
            Self::Command => "COMMAND",
            Self::MesosHttp => "MESOS_HTTP",
            Self::MesosHttps => "MESOS_HTTPS",
            Self::MesosTcp => "MESOS_TCP",
        }
    }
}
