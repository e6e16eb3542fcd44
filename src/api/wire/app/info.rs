//! An app with what `embed` asks for. Source: spec 1.6, 2.6.

use serde_json::{Map, Value, json};

use super::super::counts::Counts;
use super::encode::app_json;
use crate::domain::{AppId, AppVersion, DeploymentId};
use crate::state::TaskFailure;

/// What goes beside the definition; nothing for what was not asked for.
#[derive(Clone, Debug, Default)]
pub struct Embeds {
    /// `tasksStaged` and its kin.
    pub counts: Option<Counts>,
    /// Running deployments that touch the app.
    pub deployments: Option<Vec<DeploymentId>>,
    /// From `wire::task::task_json`.
    pub tasks: Option<Vec<Value>>,
    /// `Some(None)` where it was asked for and nothing failed yet: the key stays away.
    pub last_task_failure: Option<Option<TaskFailure>>,
    /// From `wire::counts::task_stats`.
    pub task_stats: Option<Value>,
    /// Whether readiness results were asked for; there are none yet.
    pub readiness: bool,
}

/// An app and its standing.
#[derive(Clone, Copy, Debug)]
pub struct AppInfo<'a> {
    /// Its path.
    pub id: &'a AppId,
    /// Its current content.
    pub app: &'a AppVersion,
    /// What was asked for.
    pub embeds: &'a Embeds,
}

impl AppInfo<'_> {
    /// As JSON.
    pub fn json(&self) -> Value {
        let mut map = app_json(self.id, self.app);
        let embeds = self.embeds;
        if let Some(counts) = &embeds.counts {
            put_counts(&mut map, counts);
        }
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), value);
            }
        };
        let ids = |ids: &Vec<DeploymentId>| ids.iter().map(|id| json!({"id": id.as_str()})).collect();
        put("deployments", embeds.deployments.as_ref().map(ids));
        put("tasks", embeds.tasks.clone().map(Value::Array));
        let failure = embeds.last_task_failure.as_ref().and_then(Option::as_ref);
        put("lastTaskFailure", failure.map(|failure| failure_json(self.id, failure)));
        put("taskStats", embeds.task_stats.clone());
        put("readinessCheckResults", embeds.readiness.then(|| json!([])));
        Value::Object(map)
    }
}

fn put_counts(map: &mut Map<String, Value>, counts: &Counts) {
    map.insert("tasksStaged".to_owned(), json!(counts.staged));
    map.insert("tasksRunning".to_owned(), json!(counts.running));
    map.insert("tasksHealthy".to_owned(), json!(counts.healthy));
    map.insert("tasksUnhealthy".to_owned(), json!(counts.unhealthy));
}

/// The latest failure of an app.
pub(in crate::api::wire) fn failure_json(id: &AppId, failure: &TaskFailure) -> Value {
    json!({
        "appId": id.as_str(),
        "host": failure.hostname,
        "message": failure.message,
        "slaveId": failure.agent.as_str(),
        "state": failure.state.as_str(),
        "taskId": failure.task.as_str(),
        "timestamp": failure.at.to_string(),
        "version": failure.version.to_string(),
    })
}
