//! Ending deployments: where they are, or by undoing them. Source: spec 5.10.

use super::{Control, ControlError, Edit, Started, WriteOptions};
use crate::domain::{AppId, DeploymentId};
use crate::state::{Command, DeploymentRow};

impl Control {
    /// With `force` ends the deployment where it is and gives nothing; otherwise starts a
    /// deployment that undoes it, and gives that one.
    ///
    /// # Errors
    /// `NotFound` when it does not run, and every error of a change.
    pub async fn cancel_deployment(
        &self,
        id: &DeploymentId,
        force: bool,
    ) -> Result<Option<Started>, ControlError> {
        let view = self.store.snapshot();
        let missing = || ControlError::NotFound(format!("DeploymentPlan {id} does not exist"));
        let row = view.deployments.get(id).ok_or_else(missing)?;
        if force {
            return self.end_deployment(id).await.map(|()| None);
        }
        let edits = undo(row);
        let options = WriteOptions { force: true, request: None };
        let started = self.edit_apps(edits, options).await?;
        // An undo without actions locks nothing, so it cancelled nothing either.
        if self.store.snapshot().deployments.contains(id) {
            self.end_deployment(id).await?;
        }
        Ok(Some(started))
    }

    async fn end_deployment(&self, id: &DeploymentId) -> Result<(), ControlError> {
        let applied = self.propose(vec![Command::CancelDeployment { deployment: id.clone() }]).await?;
        match applied.refusals.into_iter().next() {
            Some((_, refusal)) => Err(refusal.into()),
            None => Ok(()),
        }
    }
}

/// Apps that it changed get their old content back; apps that it added go.
fn undo(row: &DeploymentRow) -> Vec<(AppId, Edit)> {
    let back = |before: Option<_>| before.map_or(Edit::Remove, Edit::Rollback);
    row.changes.iter().map(|change| (change.app.clone(), back(change.before))).collect()
}
