//! Everything that defines one version of an app.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::constraint::Constraint;
use super::container::{Container, Network, PortDefinition};
use super::health_check::HealthCheck;
use super::policy::{Backoff, KillSelection, UnreachableStrategy, UpgradeStrategy};
use super::resources::Scalar;
use super::role::{ANY_ROLE, Accepted};
use super::wish::{Strategy, Wanted, Wishes};
use super::{AppId, ContainerKind};

/// Immutable content of one version of an app; defaults filled in, legacy forms translated.
/// Source: spec 2.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSpec {
    /// Shell command; excludes `args`.
    pub cmd: Option<String>,
    /// Argument vector; excludes `cmd`.
    pub args: Vec<String>,
    /// Who runs it; absent means the agent's own user.
    pub user: Option<String>,
    /// Environment set by the user.
    pub env: BTreeMap<String, String>,
    /// How many copies.
    pub instances: u32,
    /// Processors per instance.
    pub cpus: Scalar,
    /// Memory per instance in MiB.
    pub mem: Scalar,
    /// Disk per instance in MiB.
    pub disk: Scalar,
    /// Graphics processors per instance.
    pub gpus: Scalar,
    /// Kept and given back; has no effect here.
    pub executor: String,
    /// Placement rules.
    pub constraints: Vec<Constraint>,
    /// Soft wishes; nothing where the user wrote none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Wishes>,
    /// Roles whose resources may be used; empty means `*` and the app's own.
    pub accepted_resource_roles: Vec<String>,
    /// Role the app runs for.
    pub role: String,
    /// Container, if any.
    pub container: Option<Container>,
    /// Networks; host networking when only [`Network::Host`].
    pub networks: Vec<Network>,
    /// Ports with host networking.
    pub port_definitions: Vec<PortDefinition>,
    /// Host ports must equal the port definitions.
    pub require_ports: bool,
    /// Pause after failures.
    pub backoff: Backoff,
    /// How it says it is well.
    pub health_checks: Vec<HealthCheck>,
    /// Ids of apps and groups to be up before this one.
    pub dependencies: BTreeSet<String>,
    /// Bounds during upgrades.
    pub upgrade: UpgradeStrategy,
    /// Free text by name.
    pub labels: BTreeMap<String, String>,
    /// From TERM to KILL; absent means the agent's own choice (3 s).
    pub kill_grace: Option<Duration>,
    /// Which instances go first.
    pub kill_selection: KillSelection,
    /// What happens when an agent is lost.
    pub unreachable: UnreachableStrategy,
    /// Allocates a terminal.
    pub tty: bool,
}

impl Default for RunSpec {
    fn default() -> Self {
        Self {
            cmd: None,
            args: Vec::new(),
            user: None,
            env: BTreeMap::new(),
            instances: 1,
            cpus: Scalar::from_thousandths(1000),
            mem: Scalar::from_thousandths(128_000),
            disk: Scalar::ZERO,
            gpus: Scalar::ZERO,
            executor: String::new(),
            constraints: Vec::new(),
            placement: None,
            accepted_resource_roles: Vec::new(),
            role: "*".to_owned(),
            container: None,
            networks: vec![Network::Host],
            port_definitions: Vec::new(),
            require_ports: false,
            backoff: Backoff::default(),
            health_checks: Vec::new(),
            dependencies: BTreeSet::new(),
            upgrade: UpgradeStrategy::default(),
            labels: BTreeMap::new(),
            kill_grace: None,
            kill_selection: KillSelection::default(),
            unreachable: UnreachableStrategy::default(),
            tty: false,
        }
    }
}

/// What lies between two specs of one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecChange {
    /// The same content.
    Nothing,
    /// Only the number of instances.
    Scale,
    /// Anything else: all instances are replaced.
    Replace,
}

/// How one host port of a task is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortDemand {
    /// Any port of the agent's offer.
    Any,
    /// Exactly this one.
    Exactly(u16),
}

impl RunSpec {
    /// How its instances are spread, where apps that wish for none get the `cluster`'s.
    pub fn strategy(&self, cluster: Strategy) -> Strategy {
        self.placement.as_ref().and_then(|wishes| wishes.strategy).unwrap_or(cluster)
    }

    /// Whose resources it may use. Source: Marathon's
    /// `--accepted_resource_roles_default_behavior`, whose default is `any`.
    pub fn accepted(&self) -> Accepted {
        if self.accepted_resource_roles.is_empty() {
            return Accepted::of([ANY_ROLE, &self.role]);
        }
        Accepted::of(self.accepted_resource_roles.iter().map(String::as_str))
    }

    /// What changes from `old` to this. Source: spec 5.3, fields whose change restarts.
    pub fn change_from(&self, old: &Self) -> SpecChange {
        if self == old {
            return SpecChange::Nothing;
        }
        let scaled = Self { instances: self.instances, ..old.clone() };
        if *self == scaled { SpecChange::Scale } else { SpecChange::Replace }
    }

    /// Whether the task shares its host's network.
    pub fn is_host_network(&self) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| matches!(network, Network::Host))
    }

    /// The image, when the task runs in a container.
    pub fn image(&self) -> Option<&str> {
        self.container.as_ref()?.docker.as_ref().map(|docker| docker.image.as_str())
    }

    /// Image of a container of kind DOCKER, which is what Marathon tells the task.
    pub fn docker_image(&self) -> Option<&str> {
        let container = self.container.as_ref()?;
        (container.kind == ContainerKind::Docker).then(|| self.image()).flatten()
    }

    /// One entry per host port that a task needs, in the order of definitions or mappings.
    pub fn port_demands(&self) -> Vec<PortDemand> {
        if self.is_host_network() {
            let exactly = |port| {
                if self.require_ports && port != 0 { PortDemand::Exactly(port) } else { PortDemand::Any }
            };
            return self.port_definitions.iter().map(|definition| exactly(definition.port)).collect();
        }
        let mappings = self.container.iter().flat_map(|container| &container.port_mappings);
        mappings
            .filter_map(|mapping| mapping.host_port)
            .map(|port| if port == 0 { PortDemand::Any } else { PortDemand::Exactly(port) })
            .collect()
    }

    /// The regular expressions that its rules and wishes are written with.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        let rules = self.constraints.iter().filter(|rule| rule.operator.takes_pattern());
        let preferences = self.placement.iter().flat_map(|wishes| &wishes.preferences);
        let wished = preferences.filter_map(|wish| match &wish.wanted {
            Wanted::Pattern(pattern) => Some(pattern.as_str()),
            Wanted::Value(_) => None,
        });
        rules.filter_map(|rule| rule.operand.as_deref()).chain(wished)
    }

    /// Service ports in the order of definitions or mappings.
    pub fn service_ports(&self) -> Vec<u16> {
        if self.is_host_network() {
            return self.port_definitions.iter().map(|definition| definition.port).collect();
        }
        let mappings = self.container.iter().flat_map(|container| &container.port_mappings);
        mappings.map(|mapping| mapping.service_port).collect()
    }

    /// The service ports, to be written: same order as [`RunSpec::service_ports`].
    pub fn service_ports_mut(&mut self) -> Vec<&mut u16> {
        if self.is_host_network() {
            return self.port_definitions.iter_mut().map(|definition| &mut definition.port).collect();
        }
        let mappings = self.container.iter_mut().flat_map(|container| &mut container.port_mappings);
        mappings.map(|mapping| &mut mapping.service_port).collect()
    }
}

/// A spec and when its parts last changed; what `/v2/apps/{id}/versions/{version}` gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppVersion {
    /// Which app.
    pub app: AppId,
    /// The content.
    pub spec: RunSpec,
    /// When the number of instances last changed. Source: spec 5.2.
    pub last_scaling: super::SpecVersion,
    /// When anything else last changed; instances older than this are replaced.
    pub last_config_change: super::SpecVersion,
}
