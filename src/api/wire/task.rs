//! Tasks as JSON and as the text that old bridges read. Source: spec 9.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::decode::into_map;
use crate::domain::{AppId, HealthResult, RunSpec, TaskState, Timestamp};
use crate::state::{InstanceRow, TaskRow};

/// What the place of a task in an answer asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskContext {
    /// `GET /v2/tasks` fills `servicePorts`; elsewhere the list stays empty.
    pub service_ports: bool,
}

/// State as people see it: unreachable goes before what the agent last said.
pub fn state_name(task: &TaskRow) -> &'static str {
    if task.is_live() && task.unreachable_since.is_some() {
        return "TASK_UNREACHABLE";
    }
    task.status.state.as_str()
}

/// One task; `spec` is the content it runs, where that is still known.
pub fn task_json(
    instance: &InstanceRow,
    task: &TaskRow,
    spec: Option<&RunSpec>,
    context: TaskContext,
) -> Value {
    let service_ports = spec.filter(|_| context.service_ports).map(RunSpec::service_ports);
    let health = &task.status.health;
    let mut map = into_map(json!({
        "id": task.id.as_str(),
        "appId": instance.app.as_str(),
        "host": task.hostname,
        "slaveId": task.agent.as_str(),
        "state": state_name(task),
        "role": spec.map_or("*", |spec| spec.role.as_str()),
        "healthCheckResults": health.iter().map(|result| health_json(instance, task, result)).collect::<Vec<_>>(),
        "ipAddresses": ip_addresses(&task.status.ip_addresses),
        "ports": [],
        "servicePorts": service_ports.unwrap_or_default(),
        "localVolumes": [],
    }));
    if task.is_live() && !task.inactive {
        put_live(&mut map, instance, task);
    }
    Value::Object(map)
}

/// What only a task shows that is placed and has not ended.
fn put_live(map: &mut Map<String, Value>, instance: &InstanceRow, task: &TaskRow) {
    map.insert("ports".to_owned(), json!(task.ports));
    map.insert("stagedAt".to_owned(), json!(task.staged_at.to_string()));
    map.insert("version".to_owned(), json!(instance.version.to_string()));
    if let Some(at) = task.started_at {
        map.insert("startedAt".to_owned(), json!(at.to_string()));
    }
}

/// Addresses with their family.
pub fn ip_addresses(addresses: &[String]) -> Vec<Value> {
    let family = |address: &str| if address.contains(':') { "IPv6" } else { "IPv4" };
    addresses.iter().map(|ip| json!({"ipAddress": ip, "protocol": family(ip)})).collect()
}

/// Both ids: clients of before 1.5 read `taskId`. Source: spec 6.4.
fn health_json(instance: &InstanceRow, task: &TaskRow, result: &HealthResult) -> Value {
    let mut map = into_map(json!({
        "alive": result.alive,
        "consecutiveFailures": result.consecutive_failures,
        "instanceId": instance.id.as_str(),
        "taskId": task.id.as_str(),
    }));
    let mut put_time = |name: &str, at: Option<Timestamp>| {
        if let Some(at) = at {
            map.insert(name.to_owned(), json!(at.to_string()));
        }
    };
    put_time("firstSuccess", result.first_success);
    put_time("lastSuccess", result.last_success);
    put_time("lastFailure", result.last_failure);
    if let Some(cause) = &result.last_failure_cause {
        map.insert("lastFailureCause".to_owned(), json!(cause));
    }
    Value::Object(map)
}

/// One app of the text answer.
#[derive(Clone, Debug)]
pub struct AppTasks<'a> {
    /// Its path.
    pub id: &'a AppId,
    /// Its current content.
    pub spec: &'a RunSpec,
    /// Its instances, in any order.
    pub instances: Vec<&'a InstanceRow>,
}

/// `text/plain`: one line per service port, or one per app without any; a tab before
/// each line's end. Source: spec 9.1.
pub fn tasks_text(apps: &[AppTasks]) -> String {
    let mut text = String::new();
    for app in apps {
        app_text(app, &mut text);
    }
    text
}

fn app_text(app: &AppTasks, text: &mut String) {
    let name = app.id.safe();
    let running = running_tasks(app);
    let service_ports = app.spec.service_ports();
    if service_ports.is_empty() {
        let hosts: String = running.iter().map(|task| format!("{}\t", task.hostname)).collect();
        let _ = writeln!(text, "{name}\t \t{hosts}");
    }
    for (service_port, at) in service_ports.into_iter().zip(host_port_places(app.spec)) {
        let _ = write!(text, "{name}\t{service_port}\t");
        for task in &running {
            if let Some(port) = at.and_then(|at| task.ports.get(at)) {
                let _ = write!(text, "{}:{port}\t", task.hostname);
            }
        }
        text.push('\n');
    }
}

fn running_tasks<'a>(app: &AppTasks<'a>) -> Vec<&'a TaskRow> {
    let mut running: Vec<&TaskRow> = app
        .instances
        .iter()
        .filter(|instance| !instance.expunged)
        .filter_map(|instance| instance.task.as_ref())
        .filter(|task| task.status.state == TaskState::Running && task.unreachable_since.is_none())
        .collect();
    running.sort_by(|a, b| (&a.hostname, &a.ports).cmp(&(&b.hostname, &b.ports)));
    running
}

/// For each service port the place of its host port among a task's ports; nothing where
/// a mapping has none.
fn host_port_places(spec: &RunSpec) -> Vec<Option<usize>> {
    if spec.is_host_network() {
        return (0..spec.port_definitions.len()).map(Some).collect();
    }
    let mappings = spec.container.iter().flat_map(|container| &container.port_mappings);
    let mut next = 0;
    mappings
        .map(|mapping| {
            mapping.host_port?;
            next += 1;
            Some(next - 1)
        })
        .collect()
}
