//! From rows of the state to what an agent needs to run one task. Pure.

use std::time::Duration;

use super::task_env;
use crate::domain::{
    Container, HealthCheck, HealthProtocol, LaunchCheck, LaunchContainer, PortBinding, Process, RunSpec,
    TaskLaunch,
};
use crate::state::{ClusterState, InstanceRow, TaskRow};

/// From TERM to KILL where the app does not say. Source: spec 3.5.
const KILL_GRACE_DEFAULT: Duration = Duration::from_secs(3);

/// Everything the agent needs; nothing when the content is not kept, which is a bug
/// that `state::invariants` shows.
pub(super) fn launch_of(state: &ClusterState, row: &InstanceRow, task: &TaskRow) -> Option<TaskLaunch> {
    let content = state.content_of(row)?;
    let spec = &content.spec;
    Some(TaskLaunch {
        task: task.id.clone(),
        app: row.app.to_string(),
        process: process(spec),
        container: spec.container.as_ref().and_then(|container| launch_container(spec, container)),
        env: task_env::environment(row, task, spec),
        user: spec.user.clone(),
        resources: task.resources.clone(),
        ports: bindings(spec, &task.ports),
        health_checks: checks(spec, &task.ports),
        kill_grace: spec.kill_grace.unwrap_or(KILL_GRACE_DEFAULT),
    })
}

fn process(spec: &RunSpec) -> Process {
    match &spec.cmd {
        Some(cmd) => Process::Shell(cmd.clone()),
        None if spec.args.is_empty() => Process::Image,
        None => Process::Args(spec.args.clone()),
    }
}

fn launch_container(spec: &RunSpec, container: &Container) -> Option<LaunchContainer> {
    let docker = container.docker.as_ref()?;
    Some(LaunchContainer {
        image: docker.image.clone(),
        force_pull: docker.force_pull,
        privileged: docker.privileged,
        parameters: docker.parameters.clone(),
        host_network: spec.is_host_network(),
        volumes: container.volumes.clone(),
        tty: spec.tty,
    })
}

/// Host ports and where they lead, in the order of the spec's port demands.
fn bindings(spec: &RunSpec, ports: &[u16]) -> Vec<PortBinding> {
    if spec.is_host_network() {
        let pairs = ports.iter().zip(&spec.port_definitions);
        return pairs
            .map(|(host, definition)| PortBinding {
                host: *host,
                container: *host,
                transport: definition.transport,
            })
            .collect();
    }
    let mappings = spec.container.iter().flat_map(|container| &container.port_mappings);
    let published = mappings.filter(|mapping| mapping.host_port.is_some());
    let pairs = ports.iter().zip(published);
    pairs
        .map(|(host, mapping)| {
            // Port 0 inside means the same number as outside. Source: spec 3.4.
            let container = if mapping.container_port == 0 { *host } else { mapping.container_port };
            PortBinding { host: *host, container, transport: mapping.transport }
        })
        .collect()
}

fn checks(spec: &RunSpec, ports: &[u16]) -> Vec<LaunchCheck> {
    let numbered = (0u32..).zip(&spec.health_checks);
    numbered
        .map(|(index, check)| LaunchCheck { index, check: check.clone(), host_port: port_of(check, ports) })
        .collect()
}

fn port_of(check: &HealthCheck, ports: &[u16]) -> Option<u16> {
    if check.protocol == HealthProtocol::Command {
        return None;
    }
    let by_index = || ports.get(usize::try_from(check.port_index.unwrap_or(0)).ok()?).copied();
    check.port.or_else(by_index)
}
