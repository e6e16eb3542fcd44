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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::counts::{Counts, task_stats};
    use crate::domain::{
        AgentId, AppVersion, Goal, InstanceId, PortDefinition, Resources, SpecVersion, TaskId, TaskStatus,
    };

    const NOW: Timestamp = Timestamp::from_millis(1_577_836_800_000);

    fn instance(state: TaskState, hostname: &str, ports: &[u16]) -> InstanceRow {
        let app = AppId::parse("/shop/web").unwrap();
        let id = InstanceId::mint(&app, uuid::Uuid::nil());
        let version = SpecVersion(NOW);
        let started_at = (state >= TaskState::Running).then_some(NOW);
        let task = TaskRow {
            id: TaskId::of(&id, 1),
            attempt: 1,
            agent: AgentId::new("a1"),
            hostname: hostname.to_owned(),
            ports: ports.to_vec(),
            resources: Resources::default(),
            drawn: Default::default(),
            staged_at: NOW,
            started_at,
            status: TaskStatus::new(state, NOW, ""),
            stop: None,
            unreachable_since: None,
            inactive: false,
        };
        InstanceRow {
            id,
            app,
            version,
            goal: Goal::Running,
            created_at: NOW,
            waiting_since: NOW,
            task: Some(task),
            expunged: false,
            shall_move: None,
        }
    }

    fn edit(mut row: InstanceRow, change: impl FnOnce(&mut TaskRow)) -> InstanceRow {
        change(row.task.as_mut().unwrap());
        row
    }

    fn json_of(row: &InstanceRow, context: TaskContext) -> Value {
        let port_definitions = vec![PortDefinition { port: 10_000, ..PortDefinition::default() }];
        let spec = RunSpec { port_definitions, ..RunSpec::default() };
        task_json(row, row.task.as_ref().unwrap(), Some(&spec), context)
    }

    #[test]
    fn a_running_task_is_written_as_marathon_does() {
        let result = HealthResult {
            alive: true,
            first_success: Some(NOW),
            last_success: Some(NOW),
            ..HealthResult::default()
        };
        let row = edit(instance(TaskState::Running, "agent-1", &[31000]), |task| {
            task.status.ip_addresses = vec!["172.17.0.2".to_owned(), "fe80::1".to_owned()];
            task.status.health = vec![result];
        });
        let id = "shop_web.instance-00000000-0000-0000-0000-000000000000";
        let now = "2020-01-01T00:00:00.000Z";
        let wanted = json!({
            "appId": "/shop/web", "host": "agent-1", "id": format!("{id}._app.1"), "slaveId": "a1",
            "healthCheckResults": [{"alive": true, "consecutiveFailures": 0, "firstSuccess": now, "lastSuccess": now,
                                    "instanceId": id, "taskId": format!("{id}._app.1")}],
            "ipAddresses": [{"ipAddress": "172.17.0.2", "protocol": "IPv4"}, {"ipAddress": "fe80::1", "protocol": "IPv6"}],
            "ports": [31000], "servicePorts": [], "state": "TASK_RUNNING", "stagedAt": now, "startedAt": now,
            "version": now, "localVolumes": [], "role": "*",
        });
        assert_eq!(json_of(&row, TaskContext::default()), wanted);
        assert_eq!(json_of(&row, TaskContext { service_ports: true })["servicePorts"], json!([10_000]));
    }

    #[test]
    fn an_ended_task_shows_neither_times_nor_ports() {
        let ended = json_of(&instance(TaskState::Failed, "a", &[31000]), TaskContext::default());
        assert_eq!((&ended["state"], &ended["ports"]), (&json!("TASK_FAILED"), &json!([])));
        assert!(["stagedAt", "startedAt", "version"].iter().all(|name| ended.get(name).is_none()));
    }

    #[test]
    fn an_unreachable_task_says_so_until_it_ends() {
        let away =
            edit(instance(TaskState::Running, "a", &[31000]), |task| task.unreachable_since = Some(NOW));
        assert_eq!(json_of(&away, TaskContext::default())["state"], "TASK_UNREACHABLE");
        assert_eq!(json_of(&away, TaskContext::default())["ports"], json!([31000]));
        let inactive = edit(away, |task| task.inactive = true);
        assert_eq!(json_of(&inactive, TaskContext::default())["ports"], json!([]));
        let gone = edit(inactive, |task| task.status.state = TaskState::Gone);
        assert_eq!(json_of(&gone, TaskContext::default())["state"], "TASK_GONE");
    }

    #[test]
    fn counts_follow_what_people_see() {
        let well = |alive| {
            move |task: &mut TaskRow| {
                task.status.health = vec![HealthResult { alive, ..HealthResult::default() }];
            }
        };
        let mut hidden = instance(TaskState::Running, "a", &[]);
        hidden.expunged = true;
        let rows = [
            instance(TaskState::Staging, "a", &[]),
            instance(TaskState::Starting, "a", &[]),
            instance(TaskState::Running, "a", &[]),
            edit(instance(TaskState::Running, "a", &[]), well(true)),
            edit(instance(TaskState::Running, "a", &[]), well(false)),
            edit(instance(TaskState::Running, "a", &[]), |task| task.unreachable_since = Some(NOW)),
            edit(instance(TaskState::Failed, "a", &[]), well(false)),
            hidden,
        ];
        assert_eq!(Counts::of(&rows), Counts { staged: 1, running: 3, healthy: 1, unhealthy: 1 });
    }

    #[test]
    fn stats_group_by_version_and_leave_empty_groups_out() {
        let mut old = instance(TaskState::Running, "a", &[]);
        old.version = SpecVersion(Timestamp::from_millis(0));
        let new = instance(TaskState::Running, "a", &[]);
        let app = AppVersion {
            app: old.app.clone(),
            spec: RunSpec::default(),
            last_scaling: SpecVersion(NOW.plus(std::time::Duration::from_secs(1))),
            last_config_change: SpecVersion(NOW),
        };
        let stats = task_stats(&[&old, &new], &app, NOW.plus(std::time::Duration::from_secs(3)));
        let group = |running: u32| {
            json!({"stats": {
                "counts": {"staged": 0, "running": running, "healthy": 0, "unhealthy": 0},
                "lifeTime": {"averageSeconds": 3.0, "medianSeconds": 3.0},
            }})
        };
        assert_eq!(
            stats,
            json!({"withLatestConfig": group(1), "withOutdatedConfig": group(1), "totalSummary": group(2)})
        );
    }

    #[test]
    fn text_has_a_line_per_service_port_with_hosts_sorted() {
        let rows = [
            instance(TaskState::Running, "agent2", &[1010, 1011]),
            instance(TaskState::Running, "agent1", &[1020, 1021]),
            instance(TaskState::Staging, "agent3", &[1030, 1031]),
        ];
        let id = AppId::parse("/foo/bar").unwrap();
        let text = |ports: &[u16], instances: &[InstanceRow]| {
            let definition = |port: &u16| PortDefinition { port: *port, ..PortDefinition::default() };
            let spec =
                RunSpec { port_definitions: ports.iter().map(definition).collect(), ..RunSpec::default() };
            tasks_text(&[AppTasks { id: &id, spec: &spec, instances: instances.iter().collect() }])
        };
        assert_eq!(text(&[], &rows), "foo_bar\t \tagent1\tagent2\t\n");
        assert_eq!(
            text(&[80, 443], &rows),
            "foo_bar\t80\tagent1:1020\tagent2:1010\t\nfoo_bar\t443\tagent1:1021\tagent2:1011\t\n"
        );
        assert_eq!(text(&[80], &[]), "foo_bar\t80\t\n");
    }
}
