//! From a launch to what the engine is asked to create. Pure but for the sandbox's volumes.
//!
//! Way in: [`body_of`]. Source: spec 3.3 and 3.4.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding as EngineBinding,
    PortMap,
};

use super::{DockerSettings, LABEL_AGENT, LABEL_APP, LABEL_TASK, name_of, parameters};
use crate::agent::driver::DriverError;
use crate::agent::driver::limits::Limits;
use crate::domain::{LaunchContainer, PortBinding, Process, TaskLaunch, Transport};

/// Where a container sees its sandbox.
pub(super) const SANDBOX_INSIDE: &str = "/mnt/mesos/sandbox";
/// Marathon's own label.
const LABEL_MESOS: &str = "MESOS_TASK_ID";
/// Output kept per container: this much, this often. Without a cap one chatty app fills the disk.
const LOG_SIZE_MAX: &str = "10m";
const LOG_FILES_MAX: &str = "2";

/// What to create for a launch in a container.
///
/// # Errors
/// [`DriverError::Refused`] when the agent does not allow what it asks for.
pub(super) fn body_of(
    launch: &TaskLaunch,
    container: &LaunchContainer,
    sandbox: &Path,
    settings: &DockerSettings,
) -> Result<ContainerCreateBody, DriverError> {
    settings.allow.check(container)?;
    let (entrypoint, cmd) = match &launch.process {
        Process::Shell(line) => (Some(vec!["/bin/sh".to_owned()]), Some(vec!["-c".to_owned(), line.clone()])),
        Process::Args(args) => (None, Some(args.clone())),
        Process::Image => (None, None),
    };
    let mut host = host_config(launch, container, settings);
    host.mounts = Some(mounts(container, sandbox, settings)?);
    let mut body = ContainerCreateBody {
        image: Some(container.image.clone()),
        entrypoint,
        cmd,
        env: Some(environment(launch)),
        labels: Some(labels(launch, settings)),
        tty: Some(container.tty),
        ..ContainerCreateBody::default()
    };
    if !container.host_network {
        let map = port_map(&launch.ports, settings);
        body.exposed_ports = Some(map.keys().cloned().collect());
        host.port_bindings = Some(map);
    }
    parameters::apply(&container.parameters, &mut body, &mut host)?;
    body.host_config = Some(host);
    Ok(body)
}

fn host_config(launch: &TaskLaunch, container: &LaunchContainer, settings: &DockerSettings) -> HostConfig {
    let limits = Limits::of(&launch.resources);
    let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let log_options = [("max-size", LOG_SIZE_MAX), ("max-file", LOG_FILES_MAX)];
    let log_options = log_options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    HostConfig {
        network_mode: Some(if container.host_network { "host" } else { settings.bridge.as_str() }.to_owned()),
        cpu_shares: Some(signed(limits.cpu_shares)),
        memory: limits.memory_bytes.map(signed),
        pids_limit: Some(signed(limits.pids)),
        privileged: Some(container.privileged),
        // Reaps orphans and passes TERM on to programs that are not made to be the first process.
        init: Some(true),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from(log_options)),
        }),
        ..HostConfig::default()
    }
}

fn environment(launch: &TaskLaunch) -> Vec<String> {
    let mut env = launch.env.clone();
    env.insert("MESOS_SANDBOX".to_owned(), SANDBOX_INSIDE.to_owned());
    env.insert("MESOS_CONTAINER_NAME".to_owned(), name_of(&launch.task));
    env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn labels(launch: &TaskLaunch, settings: &DockerSettings) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_AGENT.to_owned(), settings.agent.to_string()),
        (LABEL_TASK.to_owned(), launch.task.to_string()),
        (LABEL_APP.to_owned(), launch.app.clone()),
        (LABEL_MESOS.to_owned(), launch.task.to_string()),
    ])
}

fn mounts(
    container: &LaunchContainer,
    sandbox: &Path,
    settings: &DockerSettings,
) -> Result<Vec<Mount>, DriverError> {
    let bind = |source: &Path, target: String, read_only: bool| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let mut mounts = vec![bind(sandbox, SANDBOX_INSIDE.to_owned(), false)];
    for volume in &container.volumes {
        let source = settings.allow.host_path(&volume.host_path, sandbox)?;
        let target = match volume.container_path.as_str() {
            path if path.starts_with('/') => path.to_owned(),
            path => format!("{SANDBOX_INSIDE}/{path}"),
        };
        mounts.push(bind(&source, target, volume.read_only));
    }
    Ok(mounts)
}

fn port_map(ports: &[PortBinding], settings: &DockerSettings) -> PortMap {
    let mut map = PortMap::new();
    for port in ports {
        let protocols: &[&str] = match port.transport {
            Transport::Tcp => &["tcp"],
            Transport::Udp => &["udp"],
            Transport::UdpTcp => &["udp", "tcp"],
        };
        for protocol in protocols {
            let bindings = map.entry(format!("{}/{protocol}", port.container)).or_default();
            bindings.get_or_insert_default().push(EngineBinding {
                host_ip: Some(settings.publish_on.to_string()),
                host_port: Some(port.host.to_string()),
            });
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::agent::driver::docker::Allow;
    use crate::domain::{AgentId, Resources, Scalar, TaskId};
    use crate::testkit::a_container;

    fn launch(process: Process) -> TaskLaunch {
        TaskLaunch {
            task: TaskId::new("web.instance-1._app.1"),
            app: "/web".to_owned(),
            process,
            container: None,
            env: BTreeMap::from([("PORT0".to_owned(), "31000".to_owned())]),
            user: None,
            resources: Resources {
                cpus: Scalar::from_thousandths(500),
                mem: Scalar::from_thousandths(64_000),
                ..Resources::default()
            },
            ports: vec![PortBinding { host: 31000, container: 80, transport: Transport::UdpTcp }],
            health_checks: Vec::new(),
            kill_grace: Duration::from_secs(3),
        }
    }

    fn body(
        process: Process,
        change: impl FnOnce(&mut LaunchContainer),
    ) -> Result<ContainerCreateBody, DriverError> {
        let mut container = a_container("web:1");
        change(&mut container);
        let settings = DockerSettings {
            allow: Allow { parameters: true, ..Allow::default() },
            ..DockerSettings::usual(AgentId::new("agent-1"), "/tasks".into())
        };
        body_of(&launch(process), &container, Path::new("/tasks/t/sandbox"), &settings)
    }

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn commands_take_the_three_forms() {
        let shell = body(Process::Shell("serve $PORT0".to_owned()), |_| {}).unwrap();
        assert_eq!((shell.entrypoint, shell.cmd), (words(&["/bin/sh"]), words(&["-c", "serve $PORT0"])));
        let args = body(Process::Args(vec!["-v".to_owned()]), |_| {}).unwrap();
        assert_eq!((args.entrypoint, args.cmd), (None, words(&["-v"])));
        let image = body(Process::Image, |_| {}).unwrap();
        assert_eq!((image.entrypoint, image.cmd), (None, None));
    }

    #[test]
    fn limits_labels_and_environment_are_those_of_the_task() {
        let made = body(Process::Image, |_| {}).unwrap();
        let host = made.host_config.unwrap();
        assert_eq!((host.cpu_shares, host.memory), (Some(512), Some(64 << 20)));
        assert_eq!((host.auto_remove, host.init), (None, Some(true)));
        let labels = made.labels.unwrap();
        assert_eq!(labels["platformd.agent"], "agent-1");
        assert_eq!(labels["MESOS_TASK_ID"], "web.instance-1._app.1");
        let env = [
            "MESOS_CONTAINER_NAME=pd-web.instance-1._app.1",
            "MESOS_SANDBOX=/mnt/mesos/sandbox",
            "PORT0=31000",
        ];
        assert_eq!(made.env, words(&env));
    }

    #[test]
    fn ports_are_published_on_a_bridge_only() {
        let bridge = body(Process::Image, |_| {}).unwrap().host_config.unwrap();
        let map = bridge.port_bindings.unwrap();
        for key in ["80/tcp", "80/udp"] {
            let binding = &map[key].as_ref().unwrap()[0];
            assert_eq!(
                (binding.host_ip.as_deref(), binding.host_port.as_deref()),
                (Some("0.0.0.0"), Some("31000"))
            );
        }
        let host = body(Process::Image, |c| c.host_network = true).unwrap().host_config.unwrap();
        assert_eq!((host.network_mode.as_deref(), host.port_bindings), (Some("host"), None));
    }

    #[test]
    fn parameters_have_the_last_word_and_privileges_need_leave() {
        let made =
            body(Process::Image, |c| c.parameters.push(("init".to_owned(), "false".to_owned()))).unwrap();
        assert_eq!(made.host_config.unwrap().init, Some(false));
        assert!(matches!(body(Process::Image, |c| c.privileged = true), Err(DriverError::Refused(_))));
    }
}
