//! What people may say, on the command line, in the environment or in the file: one struct
//! per subcommand is all three. Nothing is checked here; absent means "the default".

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use serde::Deserialize;

/// Takes from `$file` what `$flags` leaves open.
macro_rules! fill {
    ($flags:ident from $file:ident: $($field:ident),+ $(,)?) => {
        $(if $flags.$field.is_none() { $flags.$field = $file.$field; })+
    };
}

/// Flags of `platformd master`; table `[master]` of the file.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MasterFlags {
    /// Directory for the log, snapshots and identity [default: /var/lib/platformd/master]
    #[arg(long, env = "PLATFORMD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:8080]
    #[arg(long, env = "PLATFORMD_HTTP", value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Where other masters and agents connect [default: 127.0.0.1:5050]
    #[arg(long, env = "PLATFORMD_CLUSTER", value_name = "HOST:PORT")]
    pub cluster: Option<String>,
    /// Cluster addresses of all masters, this one among them: one, three or five [default: this one alone]
    #[arg(long, env = "PLATFORMD_MASTERS", value_name = "HOST:PORT,...")]
    pub masters: Option<String>,
    /// Address of the API that others are told, where --http is a wildcard [default: --http]
    #[arg(long, env = "PLATFORMD_ADVERTISE_HTTP", value_name = "HOST:PORT")]
    pub advertise_http: Option<String>,
    /// Cluster address that others are told, where --cluster is a wildcard [default: --cluster]
    #[arg(long, env = "PLATFORMD_ADVERTISE_CLUSTER", value_name = "HOST:PORT")]
    pub advertise_cluster: Option<String>,
    /// The cluster's secret, from 'platformd secret create'; needed beyond loopback [default: none]
    #[arg(long, env = "PLATFORMD_CLUSTER_SECRET_FILE", value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Who may use the API, a line NAME:PASSWORD each; needed beyond loopback [default: everybody]
    #[arg(long, env = "PLATFORMD_HTTP_CREDENTIALS", value_name = "FILE")]
    pub http_credentials: Option<PathBuf>,
    /// Be reachable beyond this machine without encryption or passwords
    #[arg(long, env = "PLATFORMD_INSECURE", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub insecure: Option<bool>,
    /// Silence after which an agent counts as unreachable [default: 10s]
    #[arg(long, env = "PLATFORMD_AGENT_TIMEOUT", value_name = "DURATION")]
    pub agent_timeout: Option<String>,
    /// How long an agent whose connection was closed may take to come back [default: 60s]
    #[arg(long, env = "PLATFORMD_AGENT_RESTART_GRACE", value_name = "DURATION")]
    pub agent_restart_grace: Option<String>,
    /// Whether apps that say nothing else are spread or packed: spread or binpack [default: spread]
    #[arg(long, env = "PLATFORMD_PLACEMENT_STRATEGY", value_name = "STRATEGY")]
    pub placement_strategy: Option<String>,
    /// What is logged, as in RUST_LOG [default: info,openraft=warn]
    #[arg(long, env = "PLATFORMD_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log lines as text or json [default: text]
    #[arg(long, env = "PLATFORMD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl MasterFlags {
    /// These flags, and what they leave open from `file`.
    #[must_use]
    pub fn or(mut self, file: Self) -> Self {
        fill!(self from file: data_dir, http, cluster, masters, advertise_http, advertise_cluster,
              cluster_secret_file, http_credentials, insecure, agent_timeout, agent_restart_grace,
              placement_strategy, log, log_format);
        self
    }
}

/// Flags of `platformd agent`; table `[agent]` of the file.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AgentFlags {
    /// Cluster addresses of the masters: one, three or five [default: 127.0.0.1:5050]
    #[arg(long, env = "PLATFORMD_MASTERS", value_name = "HOST:PORT,...")]
    pub masters: Option<String>,
    /// Directory for identity, checkpoints and sandboxes [default: /var/lib/platformd/agent]
    #[arg(long, env = "PLATFORMD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where logs of tasks and /metrics are served [default: 127.0.0.1:5051]
    #[arg(long, env = "PLATFORMD_HTTP", value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Name or address under which tasks here are reached [default: the machine's host name]
    #[arg(long, env = "PLATFORMD_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,
    /// What may be used here, measured where left out: 'cpus:4;cpus(db):2;mem:8192;ports:[31000-32000]'
    #[arg(long, env = "PLATFORMD_RESOURCES", value_name = "RESOURCES")]
    pub resources: Option<String>,
    /// Facts that constraints look at: 'rack:r1;zone:a'
    #[arg(long, env = "PLATFORMD_ATTRIBUTES", value_name = "ATTRIBUTES")]
    pub attributes: Option<String>,
    /// What containers may ask for: privileged,host-volumes=/srv,parameters [default: nothing]
    #[arg(long, env = "PLATFORMD_ALLOW", value_name = "LIST")]
    pub allow: Option<String>,
    /// Registry credentials, a file as written by 'docker login' [default: none]
    #[arg(long, env = "PLATFORMD_DOCKER_CONFIG", value_name = "FILE")]
    pub docker_config: Option<PathBuf>,
    /// Socket of the Docker engine [default: /var/run/docker.sock]
    #[arg(long, env = "PLATFORMD_DOCKER_SOCKET", value_name = "FILE")]
    pub docker_socket: Option<PathBuf>,
    /// What tasks run on: auto (docker where an engine answers), docker or process [default: auto]
    #[arg(long, env = "PLATFORMD_RUNTIME", value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// An agent's secret, from 'platformd secret agent'; needed for masters beyond loopback [default: none]
    #[arg(long, env = "PLATFORMD_CLUSTER_SECRET_FILE", value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// Who may see logs of tasks and /metrics, a line NAME:PASSWORD each; needed beyond loopback [default: everybody]
    #[arg(long, env = "PLATFORMD_HTTP_CREDENTIALS", value_name = "FILE")]
    pub http_credentials: Option<PathBuf>,
    /// Speak to masters on other machines, and be reachable, without encryption or passwords
    #[arg(long, env = "PLATFORMD_INSECURE", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub insecure: Option<bool>,
    /// What is logged, as in RUST_LOG [default: info,openraft=warn]
    #[arg(long, env = "PLATFORMD_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log lines as text or json [default: text]
    #[arg(long, env = "PLATFORMD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl AgentFlags {
    /// These flags, and what they leave open from `file`.
    #[must_use]
    pub fn or(mut self, file: Self) -> Self {
        fill!(self from file: masters, data_dir, http, hostname, resources, attributes, allow, docker_config,
              docker_socket, runtime, cluster_secret_file, http_credentials, insecure, log, log_format);
        self
    }
}

/// Flags of `platformd dev`; table `[dev]` of the file.
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DevFlags {
    /// JSON of an app or a group to deploy
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where the API listens; port 0 chooses one [default: 127.0.0.1:8080]
    #[arg(long, env = "PLATFORMD_HTTP", value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Where masters and agents meet; port 0 chooses one [default: 127.0.0.1:5050]
    #[arg(long, env = "PLATFORMD_CLUSTER", value_name = "HOST:PORT")]
    pub cluster: Option<String>,
    /// How many masters: 1 or 3 [default: as many as the data directory has, else 1]
    #[arg(long, env = "PLATFORMD_MASTERS", value_name = "COUNT")]
    pub masters: Option<u8>,
    /// How many agents [default: as many as an earlier start had, or 1]
    #[arg(long, env = "PLATFORMD_AGENTS", value_name = "COUNT")]
    pub agents: Option<u16>,
    /// What tasks run on: auto (docker where an engine answers), docker or process [default: auto]
    #[arg(long, env = "PLATFORMD_RUNTIME", value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// What each agent has, measured where left out: 'cpus:4;mem:8192'
    #[arg(long, env = "PLATFORMD_RESOURCES", value_name = "RESOURCES")]
    pub resources: Option<String>,
    /// Facts that constraints look at: 'rack:r1;zone:a'
    #[arg(long, env = "PLATFORMD_ATTRIBUTES", value_name = "ATTRIBUTES")]
    pub attributes: Option<String>,
    /// Where state is kept [default: ./.platformd]
    #[arg(long, env = "PLATFORMD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Forget what the data directory holds and begin anew
    #[arg(long, env = "PLATFORMD_FRESH", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub fresh: Option<bool>,
    /// What is logged, as in RUST_LOG [default: warn,openraft=error]
    #[arg(long, env = "PLATFORMD_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log lines as text or json [default: text]
    #[arg(long, env = "PLATFORMD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl DevFlags {
    /// These flags, and what they leave open from `file`.
    #[must_use]
    pub fn or(mut self, file: Self) -> Self {
        fill!(self from file: file, http, cluster, masters, agents, runtime, resources, attributes, data_dir,
              fresh, log, log_format);
        self
    }
}
