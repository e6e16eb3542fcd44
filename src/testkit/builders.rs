//! Builders. Each yields a valid value when nothing else is said.

use std::time::Duration;

use crate::domain::{
    Affinity, AgentId, AgentInfo, AppId, AppVersion, AttributeValue, Backoff, Constraint, Container,
    DeploymentId, DockerImage, HealthCheck, HealthProtocol, Incarnation, KillSelection, LaunchContainer,
    Millionths, Network, Operator, PortDefinition, PortMapping, PortRanges, Preference, Resources, RunSpec,
    Scalar, SpecChange, SpecVersion, Spread, Target, Timestamp, UnreachableStrategy, UpgradeStrategy, Wanted,
    Wishes,
};
use crate::planner::plan_deployment;
use crate::state::{AppChange, ClusterState, Command, StartDeployment};

/// An app that sleeps: 0.1 cpus, 32 MiB, one instance, no ports, no checks.
pub fn an_app(id: &str) -> AppBuilder {
    let spec = RunSpec {
        cmd: Some("sleep 1000".to_owned()),
        cpus: Scalar::from_thousandths(100),
        mem: Scalar::from_thousandths(32_000),
        ..RunSpec::default()
    };
    AppBuilder { id: AppId::parse(id).unwrap(), spec }
}

/// Makes a run spec.
#[derive(Clone, Debug)]
pub struct AppBuilder {
    id: AppId,
    spec: RunSpec,
}

impl AppBuilder {
    fn with(mut self, change: impl FnOnce(&mut RunSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Another shell command.
    pub fn cmd(self, cmd: &str) -> Self {
        self.with(|spec| spec.cmd = Some(cmd.to_owned()))
    }

    /// So many copies.
    pub fn instances(self, count: u32) -> Self {
        self.with(|spec| spec.instances = count)
    }

    /// Processors per instance.
    pub fn cpus(self, cpus: f64) -> Self {
        self.with(|spec| spec.cpus = Scalar::from_f64(cpus).unwrap())
    }

    /// MiB of memory per instance.
    pub fn mem(self, mem: f64) -> Self {
        self.with(|spec| spec.mem = Scalar::from_f64(mem).unwrap())
    }

    /// MiB of disk per instance.
    pub fn disk(self, disk: f64) -> Self {
        self.with(|spec| spec.disk = Scalar::from_f64(disk).unwrap())
    }

    /// Graphics processors per instance.
    pub fn gpus(self, gpus: f64) -> Self {
        self.with(|spec| spec.gpus = Scalar::from_f64(gpus).unwrap())
    }

    /// One placement rule more.
    pub fn constraint(self, field: &str, operator: &str, operand: Option<&str>) -> Self {
        let constraint = Constraint {
            field: field.to_owned(),
            operator: Operator::parse(operator).unwrap(),
            operand: operand.map(str::to_owned),
        };
        self.with(|spec| spec.constraints.push(constraint))
    }

    /// These soft wishes, and no others.
    pub fn wish(self, wishes: Wishes) -> Self {
        self.with(|spec| spec.placement = Some(wishes))
    }

    /// One preference more, for values like a regular expression.
    pub fn prefer(self, attribute: &str, pattern: &str, weight: i32) -> Self {
        let (attribute, wanted) = (attribute.to_owned(), Wanted::Pattern(pattern.to_owned()));
        let wish = Preference { attribute, wanted, weight };
        self.with(|spec| spec.placement.get_or_insert_default().preferences.push(wish))
    }

    /// One fact more to spread over, with shares in percent.
    pub fn spread(self, attribute: &str, weight: i32, targets: &[(&str, u32)]) -> Self {
        let target =
            |(value, percent): &(&str, u32)| Target { value: (*value).to_owned(), percent: *percent };
        let targets = targets.iter().map(target).collect();
        let wish = Spread { attribute: attribute.to_owned(), weight, targets };
        self.with(|spec| spec.placement.get_or_insert_default().spread.push(wish))
    }

    /// One app more to be near to, or far from.
    pub fn near(self, app: &str, attribute: &str, weight: i32) -> Self {
        let wish = Affinity { app: AppId::parse(app).unwrap(), attribute: attribute.to_owned(), weight };
        self.with(|spec| spec.placement.get_or_insert_default().affinity.push(wish))
    }

    /// Runs for a role.
    pub fn role(self, role: &str) -> Self {
        self.with(|spec| spec.role = role.to_owned())
    }

    /// Takes resources of these roles only.
    pub fn accepts(self, roles: &[&str]) -> Self {
        self.with(|spec| spec.accepted_resource_roles = roles.iter().map(|role| (*role).to_owned()).collect())
    }

    /// One TCP health check more.
    pub fn check(self) -> Self {
        let check = HealthCheck {
            protocol: HealthProtocol::Tcp,
            path: None,
            port_index: Some(0),
            port: None,
            command: None,
            grace_period: Duration::from_secs(300),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
            max_consecutive_failures: 3,
            delay: Duration::from_secs(15),
            ignore_http_1xx: false,
            ipv6: false,
        };
        self.with(|spec| spec.health_checks.push(check))
    }

    /// So many host ports, whichever.
    pub fn any_ports(self, count: usize) -> Self {
        self.with(|spec| spec.port_definitions.extend((0..count).map(|_| PortDefinition::default())))
    }

    /// Exactly these host ports.
    pub fn exact_ports(self, ports: &[u16]) -> Self {
        self.with(|spec| {
            spec.require_ports = true;
            let definition = |port: &u16| PortDefinition { port: *port, ..PortDefinition::default() };
            spec.port_definitions.extend(ports.iter().map(definition));
        })
    }

    /// Runs from an image on the bridge network, with these host ports (0: whichever).
    pub fn bridged(self, image: &str, host_ports: &[u16]) -> Self {
        let mapping =
            |port: &u16| PortMapping { container_port: 80, host_port: Some(*port), ..PortMapping::default() };
        self.with(|spec| {
            spec.networks = vec![Network::Bridge];
            spec.container = Some(Container {
                docker: Some(DockerImage { image: image.to_owned(), ..DockerImage::default() }),
                port_mappings: host_ports.iter().map(mapping).collect(),
                ..Container::default()
            });
        })
    }

    /// Depends on an app or group.
    pub fn after(self, id: &str) -> Self {
        self.with(|spec| {
            spec.dependencies.insert(id.to_owned());
        })
    }

    /// Bounds of an upgrade.
    pub fn upgrade(self, minimum_health: f64, over_capacity: f64) -> Self {
        self.with(|spec| {
            spec.upgrade = UpgradeStrategy {
                minimum_health_capacity: Millionths::from_f64(minimum_health).unwrap(),
                maximum_over_capacity: Millionths::from_f64(over_capacity).unwrap(),
            };
        })
    }

    /// When absent instances are given up and forgotten.
    pub fn absent(self, inactive: Duration, expunge: Duration) -> Self {
        self.with(|spec| spec.unreachable = UnreachableStrategy::After { inactive, expunge })
    }

    /// Absent instances are never replaced.
    pub fn absent_for_ever(self) -> Self {
        self.with(|spec| spec.unreachable = UnreachableStrategy::Disabled)
    }

    /// Pause after failures, doubling.
    pub fn backoff(self, initial: Duration) -> Self {
        self.with(|spec| {
            spec.backoff = Backoff { initial, factor: Millionths(2_000_000), max: Duration::from_secs(3600) };
        })
    }

    /// Who goes first.
    pub fn kill(self, selection: KillSelection) -> Self {
        self.with(|spec| spec.kill_selection = selection)
    }

    /// Its path.
    pub fn id(&self) -> AppId {
        self.id.clone()
    }

    /// The content.
    pub fn spec(self) -> RunSpec {
        self.spec
    }

    /// The command that makes this the app's content, by force.
    pub fn put(&self, state: &ClusterState, deployment: DeploymentId) -> Command {
        Self::put_together(state, deployment, std::slice::from_ref(self))
    }

    /// The command that removes the app, by force.
    pub fn remove(&self, state: &ClusterState, deployment: DeploymentId) -> Command {
        start(state, deployment, &[(self.id.clone(), None)])
    }

    /// The command of one deployment that makes these the contents of their apps, by force.
    pub fn put_together(state: &ClusterState, deployment: DeploymentId, apps: &[Self]) -> Command {
        let targets: Vec<_> = apps.iter().map(|app| (app.id.clone(), Some(app.spec.clone()))).collect();
        start(state, deployment, &targets)
    }
}

fn start(state: &ClusterState, id: DeploymentId, targets: &[(AppId, Option<RunSpec>)]) -> Command {
    let version = SpecVersion(state.now.max(state.last_version.0.plus(Duration::from_millis(1))));
    let target =
        |(app, spec): &(AppId, Option<RunSpec>)| (app.clone(), spec.clone().map(|spec| (spec, false)));
    let plan = plan_deployment(state, &targets.iter().map(target).collect::<Vec<_>>()).unwrap();
    let change = |(app, spec): &(AppId, Option<RunSpec>)| {
        let current = state.current(app);
        let content = spec.clone().map(|spec| {
            let replaces = current.is_none_or(|old| spec.change_from(&old.spec) == SpecChange::Replace);
            let last_config_change =
                if replaces { version } else { current.map_or(version, |old| old.last_config_change) };
            Box::new(AppVersion { app: app.clone(), spec, last_scaling: version, last_config_change })
        });
        let expected = state.apps.get(app).map(|row| row.version);
        AppChange { app: app.clone(), expected, content }
    };
    let changes = targets.iter().map(change).collect();
    let start = StartDeployment {
        id,
        version,
        plan,
        changes,
        assigned_ports: Vec::new(),
        force: true,
        request: None,
    };
    Command::StartDeployment(Box::new(start))
}

/// A container of an image on the bridge network, with nothing else asked for.
pub fn a_container(image: &str) -> LaunchContainer {
    LaunchContainer {
        image: image.to_owned(),
        force_pull: false,
        privileged: false,
        parameters: Vec::new(),
        host_network: false,
        volumes: Vec::new(),
        tty: false,
    }
}

/// A machine with 8 cpus, 16 GiB, 100 GB of disk, ports 31000 to 31999, and Docker.
pub fn an_agent(id: &str) -> AgentBuilder {
    let totals = Resources {
        cpus: Scalar::from_thousandths(8_000),
        mem: Scalar::from_thousandths(16_384_000),
        disk: Scalar::from_thousandths(100_000_000),
        gpus: Scalar::ZERO,
        ports: PortRanges::new([(31_000, 31_999)]),
    };
    let incarnation = Incarnation {
        boot_id: format!("boot-{id}"),
        started: Timestamp::from_millis(1),
        run: 1,
        place: String::new(),
    };
    AgentBuilder(AgentInfo {
        id: AgentId::new(id),
        hostname: format!("{id}.local"),
        http: String::new(),
        totals,
        reserved: Default::default(),
        attributes: crate::domain::Attributes::new(),
        incarnation,
        has_docker: true,
        version: String::new(),
    })
}

/// Makes an agent's description.
#[derive(Clone, Debug)]
pub struct AgentBuilder(AgentInfo);

impl AgentBuilder {
    /// On a machine of this name.
    pub fn hostname(mut self, name: &str) -> Self {
        name.clone_into(&mut self.0.hostname);
        self
    }

    /// So many processors.
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.0.totals.cpus = Scalar::from_f64(cpus).unwrap();
        self
    }

    /// So many MiB of memory.
    pub fn mem(mut self, mem: f64) -> Self {
        self.0.totals.mem = Scalar::from_f64(mem).unwrap();
        self
    }

    /// These ports.
    pub fn ports(mut self, from: u16, to: u16) -> Self {
        self.0.totals.ports = PortRanges::new([(from, to)]);
        self
    }

    /// Keeps so many of its processors, so many MiB of its memory and these of its ports for a role.
    pub fn keep(mut self, role: &str, cpus: f64, mem: f64, ports: Option<(u16, u16)>) -> Self {
        let part = Resources {
            cpus: Scalar::from_f64(cpus).unwrap(),
            mem: Scalar::from_f64(mem).unwrap(),
            ports: PortRanges::new(ports),
            ..Resources::default()
        };
        self.0.reserved.insert(role.to_owned(), part);
        self
    }

    /// Has a fact, written as in `--attributes`.
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.insert(name.to_owned(), AttributeValue::parse(value));
        self
    }

    /// Cannot run containers.
    pub fn without_docker(mut self) -> Self {
        self.0.has_docker = false;
        self
    }

    /// A later run of its process.
    pub fn run(mut self, run: u64) -> Self {
        self.0.incarnation.run = run;
        self
    }

    /// The description.
    pub fn info(self) -> AgentInfo {
        self.0
    }

    /// The command that admits it.
    pub fn register(self) -> Command {
        Command::RegisterAgent { info: Box::new(self.0), held_ports: PortRanges::default(), proof: None }
    }
}
