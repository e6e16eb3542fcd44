//! The one table of metrics: name, kind, unit, labels, meaning. `docs/metrics.md` holds the
//! same table; a test keeps them equal. Labels take few values, none of which people choose.

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// As Prometheus shows it.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What one of it is.
    pub unit: Unit,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Who has it.
    pub on: On,
    /// What it tells, without a full stop.
    pub meaning: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from zero at start.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts per bucket, a sum and a count.
    Histogram,
}

/// What one of a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// Which processes have a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Masters.
    Master,
    /// Agents.
    Agent,
    /// Both.
    Both,
}

impl Kind {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Unit {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

impl On {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Agent => "agent",
            Self::Both => "both",
        }
    }

    /// Whether a process of kind `role` has what is on `self`.
    pub fn includes(self, role: Self) -> bool {
        self == Self::Both || self == role
    }
}

impl Metric {
    /// The name without the endings that a registry adds: the unit, and `_total` of counters.
    pub(super) fn stem(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        match self.unit {
            Unit::Count => name,
            Unit::Seconds => name.strip_suffix("_seconds").unwrap_or(name),
            Unit::Bytes => name.strip_suffix("_bytes").unwrap_or(name),
        }
    }
}

/// Writes one constant per line and the table of them all.
macro_rules! metrics {
    ($($constant:ident = $name:literal $kind:ident $unit:ident $on:ident [$($label:literal),*] $meaning:literal;)+) => {
        $(
            #[doc = $meaning]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                on: On::$on,
                meaning: $meaning,
            };
        )+

        /// Every metric, in the order in which documents show them.
        pub const TABLE: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    BUILD_INFO = "platformd_build_info" Gauge Count Both ["version", "role"]
        "Always 1; the labels name the build and what the process is";

    LEADER = "platformd_leader" Gauge Count Master [] "1 while this master leads, else 0";
    LEADER_KNOWN = "platformd_leader_known" Gauge Count Master [] "1 while this master knows a leader, else 0";
    LEADERSHIP = "platformd_leadership_duration_seconds" Gauge Seconds Master []
        "How long this master has been leading; 0 while it does not";
    TERM = "platformd_raft_term" Gauge Count Master [] "Term of the quorum as this master knows it";
    APPLIED_INDEX = "platformd_applied_index" Gauge Count Master [] "Index of the last log entry in the state";
    LAST_INDEX = "platformd_log_last_index" Gauge Count Master [] "Index of the last entry in the log";
    LOG_SIZE = "platformd_log_size_bytes" Gauge Bytes Master [] "Size of the log on disk";
    SNAPSHOT_SIZE = "platformd_snapshot_size_bytes" Gauge Bytes Master [] "Size of the newest snapshot on disk";
    LOG_FLUSH = "platformd_log_flush_duration_seconds" Histogram Seconds Master []
        "Time to flush what was appended to the log";
    SNAPSHOTS = "platformd_snapshots_total" Counter Count Master [] "Snapshots written to disk";
    SNAPSHOT_WRITE = "platformd_snapshot_last_write_seconds" Gauge Seconds Master []
        "Time that the newest snapshot took to write";
    TERMS_LED = "platformd_terms_led_total" Counter Count Master [] "Times that this master became leader";
    STALLS = "platformd_leader_stalls_total" Counter Count Master []
        "Times that the leader itself had stalled, and judged no agent for a while";
    AGENTS_LOST = "platformd_agents_lost_total" Counter Count Master [] "Agents that this master found unreachable";

    API_REQUESTS = "platformd_api_requests_total" Counter Count Master ["method", "route", "code"]
        "Requests answered, by template of the path";
    API_DURATION = "platformd_api_request_duration_seconds" Histogram Seconds Master ["method", "route"]
        "Time from a request's head to its answer's head";
    API_ACTIVE = "platformd_api_requests_active" Gauge Count Master [] "Requests being answered now";

    AGENTS = "platformd_agents" Gauge Count Master ["presence"]
        "Agents by presence: connected, disconnected, suspect, unreachable";
    AGENTS_DISPENSABLE = "platformd_agents_dispensable" Gauge Count Master []
        "Agents that could each be lost alone with everything still placed; on the leader, once it has looked";
    AGENTS_INDISPENSABLE = "platformd_agents_indispensable" Gauge Count Master []
        "Agents whose loss would leave instances without a place; GET /v1/resilience names them";
    RESILIENCE_LOOK = "platformd_resilience_look_duration_seconds" Gauge Seconds Master []
        "Time that the latest look for such agents took";
    CAPACITY = "platformd_resource_capacity" Gauge Count Master ["resource"]
        "What all agents have: cpus, mem and disk in MiB, gpus, ports";
    USED = "platformd_resource_used" Gauge Count Master ["resource"]
        "What tasks take: cpus, mem and disk in MiB, gpus, ports";
    APPS = "platformd_apps" Gauge Count Master [] "Apps";
    GROUPS = "platformd_groups" Gauge Count Master [] "Groups, the root not counted";
    DEPLOYMENTS = "platformd_deployments" Gauge Count Master [] "Deployments under way";
    TASKS = "platformd_tasks" Gauge Count Both ["state"]
        "Tasks by state; on a master all it knows, on an agent its own";
    QUEUE_INSTANCES = "platformd_queue_instances" Gauge Count Master [] "Instances that wait to be placed";
    QUEUE_APPS = "platformd_queue_apps" Gauge Count Master [] "Apps with an instance that waits to be placed";
    CYCLES = "platformd_scheduling_cycles_total" Counter Count Master [] "Scheduling cycles run";
    PLACEMENTS = "platformd_placements_total" Counter Count Master [] "Instances that cycles placed";
    CYCLE_DURATION = "platformd_scheduling_cycle_duration_seconds" Histogram Seconds Master []
        "Time that one scheduling cycle took to decide";

    CONNECTED = "platformd_agent_connected" Gauge Count Agent [] "1 while this agent speaks with the leader, else 0";
    LEADER_TERM = "platformd_agent_leader_term" Gauge Count Agent []
        "Term of the leader that this agent obeyed last; 0 before the first word of one";
    UNACKNOWLEDGED = "platformd_agent_updates_unacknowledged" Gauge Count Agent []
        "Status updates that the leader has not acknowledged yet";
    HELD_PORTS = "platformd_agent_held_ports" Gauge Count Agent [] "Ports of this agent that strangers hold";
    DISK_FULL = "platformd_agent_disk_full" Gauge Count Agent []
        "1 while this agent's disk takes no records, and so no tasks, else 0";
    WITHHELD = "platformd_agent_withheld" Gauge Count Agent []
        "Records and starts that wait until the agent's disk takes records again";
    RUNTIME_OPERATIONS = "platformd_runtime_operations_total" Counter Count Agent ["driver", "operation"]
        "Calls to a runtime";
    RUNTIME_ERRORS = "platformd_runtime_errors_total" Counter Count Agent ["driver", "operation"]
        "Calls to a runtime that failed";
    RUNTIME_DURATION = "platformd_runtime_operation_duration_seconds" Histogram Seconds Agent ["driver", "operation"]
        "Time that a call to a runtime took";

    PROCESS_CPU = "process_cpu_seconds_total" Counter Seconds Both [] "Processor time used by this process";
    PROCESS_RESIDENT = "process_resident_memory_bytes" Gauge Bytes Both [] "Memory of this process in RAM";
    PROCESS_VIRTUAL = "process_virtual_memory_bytes" Gauge Bytes Both [] "Address space of this process";
    PROCESS_OPEN_FDS = "process_open_fds" Gauge Count Both [] "File descriptors open";
    PROCESS_MAX_FDS = "process_max_fds" Gauge Count Both [] "File descriptors that may be open";
    PROCESS_THREADS = "process_threads" Gauge Count Both [] "Threads";
    PROCESS_START = "process_start_time_seconds" Gauge Seconds Both []
        "When this process started, in seconds since the Unix epoch";
}

/// The table as `docs/metrics.md` shows it.
pub fn table_as_markdown() -> String {
    let mut text = "| Metric | Kind | Unit | Labels | On | Meaning |\n|---|---|---|---|---|---|\n".to_owned();
    for metric in TABLE {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} |\n",
            metric.name,
            metric.kind.as_str(),
            metric.unit.as_str(),
            labels.join(", "),
            metric.on.as_str(),
            metric.meaning,
        ));
    }
    text
}
