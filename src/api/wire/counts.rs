//! How many instances of an app are where, and for how long. Source: spec 2.6.

use serde_json::{Value, json};

use crate::domain::{AppVersion, SpecVersion, TaskState, Timestamp};
use crate::state::{InstanceRow, TaskRow};

/// `tasksStaged`, `tasksRunning`, `tasksHealthy` and `tasksUnhealthy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Placed and not heard of, or being prepared.
    pub staged: u32,
    /// Running and reachable.
    pub running: u32,
    /// With results of checks, all good.
    pub healthy: u32,
    /// With a bad result.
    pub unhealthy: u32,
}

impl Counts {
    /// Over the instances of one app; those hidden from people count nowhere.
    pub fn of<'a>(instances: impl IntoIterator<Item = &'a InstanceRow>) -> Self {
        let mut counts = Self::default();
        for task in instances.into_iter().filter_map(shown_task) {
            counts.add(task);
        }
        counts
    }

    fn add(&mut self, task: &TaskRow) {
        if task.unreachable_since.is_none() {
            self.staged += u32::from(task.status.state == TaskState::Staging);
            self.running += u32::from(task.status.state == TaskState::Running);
        }
        self.healthy += u32::from(task.is_healthy() == Some(true));
        self.unhealthy += u32::from(task.is_healthy() == Some(false));
    }
}

/// The live task of an instance that people see.
fn shown_task(instance: &InstanceRow) -> Option<&TaskRow> {
    instance.task.as_ref().filter(|task| !instance.expunged && task.is_live())
}

/// `taskStats`: counts and ages by how current a task's version is; empty groups are left out.
pub fn task_stats(instances: &[&InstanceRow], app: &AppVersion, now: Timestamp) -> Value {
    let groups: [(&str, &dyn Fn(SpecVersion) -> bool); 4] = [
        ("startedAfterLastScaling", &|version| version >= app.last_scaling),
        ("withLatestConfig", &|version| version >= app.last_config_change),
        ("withOutdatedConfig", &|version| version < app.last_config_change),
        ("totalSummary", &|_| true),
    ];
    let mut stats = serde_json::Map::new();
    for (name, belongs) in groups {
        let tasks: Vec<&TaskRow> = instances
            .iter()
            .filter(|instance| belongs(instance.version))
            .filter_map(|instance| shown_task(instance))
            .collect();
        if !tasks.is_empty() {
            stats.insert(name.to_owned(), json!({"stats": group_stats(&tasks, now)}));
        }
    }
    Value::Object(stats)
}

fn group_stats(tasks: &[&TaskRow], now: Timestamp) -> Value {
    let mut counts = Counts::default();
    for task in tasks {
        counts.add(task);
    }
    let mut stats = json!({"counts": {
        "staged": counts.staged,
        "running": counts.running,
        "healthy": counts.healthy,
        "unhealthy": counts.unhealthy,
    }});
    let mut ages: Vec<f64> =
        tasks.iter().filter_map(|task| task.started_at).map(|at| now.since(at).as_secs_f64()).collect();
    ages.sort_unstable_by(f64::total_cmp);
    if let (Some(map), Some(median)) = (stats.as_object_mut(), ages.get(ages.len() / 2)) {
        #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
        let average = ages.iter().sum::<f64>() / ages.len() as f64;
        map.insert("lifeTime".to_owned(), json!({"averageSeconds": average, "medianSeconds": median}));
    }
    stats
}
