//! Killing tasks on request: to be launched again, replaced, or scaled away. Source: spec 1.5.

use std::collections::BTreeMap;

use super::edits::Sentenced;
use super::{Control, ControlError, Edit, Merge, Started, WriteOptions};
use crate::domain::{AppId, Goal, InstanceId, TaskId};
use crate::state::{ClusterState, Command};

/// What happens to the instances of killed tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// They are launched again.
    Relaunch,
    /// They go, and new instances take their place.
    Wipe,
    /// They go, and their apps shrink.
    Scale,
}

impl Control {
    /// Kills tasks; unknown ones are passed over. Gives a deployment for [`Kill::Scale`].
    ///
    /// # Errors
    /// For [`Kill::Scale`] every error of a change; otherwise those of a proposal.
    pub async fn kill_tasks(
        &self,
        tasks: Vec<TaskId>,
        kill: Kill,
        options: WriteOptions,
    ) -> Result<Option<Started>, ControlError> {
        let view = self.store.snapshot();
        let known: Vec<TaskId> = tasks.into_iter().filter(|task| view.task(task).is_some()).collect();
        match kill {
            Kill::Relaunch => {
                let reason = "killed by request".to_owned();
                self.propose(vec![Command::StopTasks { tasks: known, reason }]).await?;
                Ok(None)
            }
            Kill::Wipe => {
                let instances = instances_of(&view, &known).into_values().flatten().collect();
                let reason = "killed and wiped by request".to_owned();
                self.propose(vec![Command::SetGoal { instances, goal: Goal::Decommissioned, reason }])
                    .await?;
                Ok(None)
            }
            Kill::Scale => {
                let sentenced = instances_of(&view, &known);
                let edits = sentenced.iter().map(|(app, ids)| (app.clone(), shrink(ids.len()))).collect();
                self.edit_with_sentenced(edits, sentenced, options).await.map(Some)
            }
        }
    }
}

/// Instances with a live attempt among `tasks`, by app.
fn instances_of(state: &ClusterState, tasks: &[TaskId]) -> Sentenced {
    let mut by_app: BTreeMap<AppId, Vec<InstanceId>> = BTreeMap::new();
    for (row, task) in tasks.iter().filter_map(|id| state.task(id)) {
        if task.is_live() && row.goal == Goal::Running {
            by_app.entry(row.app.clone()).or_default().push(row.id.clone());
        }
    }
    by_app
}

fn shrink(by: usize) -> Edit {
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    let merge: Merge = Box::new(move |current| {
        let mut spec = current.cloned().unwrap_or_default();
        spec.instances = spec.instances.saturating_sub(by);
        Ok(spec)
    });
    Edit::Patch(merge)
}
