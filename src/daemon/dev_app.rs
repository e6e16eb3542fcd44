//! The file that `platformd dev` is given: read, and put.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::master::RunningMaster;
use crate::api::wire::app::decode_app;
use crate::api::wire::decode::{AppError, parse_body};
use crate::api::wire::group::decode_group;
use crate::cli::{ExitError, exit_code};
use crate::control::{ControlError, Edit, Merge, WriteOptions};
use crate::domain::{AppId, RunSpec, Violation};

/// Apps of a file.
pub(super) type Apps = Vec<(AppId, RunSpec)>;

/// Longest wait for a leader to take the app.
const PUT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two tries while masters elect.
const RETRY: Duration = Duration::from_millis(20);

/// Reads an app or a group.
pub(super) fn read(path: &Path) -> Result<Apps, ExitError> {
    let bad = |why: String| ExitError::new(exit_code::USAGE, format!("{}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let body = parse_body(&bytes).map_err(|error| bad(error.to_string()))?;
    let is_group = body.get("apps").is_some() || body.get("groups").is_some();
    let apps = if is_group {
        decode_group(&body)
    } else {
        decode_app(&body, "/").map(|decoded| decoded.id.map(|id| (id, decoded.spec)).into_iter().collect())
    };
    let apps: Apps = apps.map_err(|error| bad(sentence(&error)))?;
    if apps.is_empty() {
        return Err(bad("names no app; expected an \"id\", or \"apps\"".to_owned()));
    }
    Ok(apps)
}

fn sentence(error: &AppError) -> String {
    let (AppError::InvalidJson(violations) | AppError::NotValid(violations)) = error;
    join(violations)
}

fn join(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Makes the apps what the file says, through whichever master leads.
pub(super) async fn put(masters: &[RunningMaster], apps: Apps) -> Result<(), ExitError> {
    let putting = async {
        loop {
            for master in masters {
                match put_once(master, &apps).await {
                    Err(ControlError::NotLeader | ControlError::Unavailable(_)) => {}
                    Err(ControlError::Locked(_)) => {} // An earlier deployment is being resumed.
                    other => return other,
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    match timeout(PUT_TIMEOUT, putting).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(ControlError::Violations(violations))) => {
            Err(ExitError::new(exit_code::USAGE, join(&violations)))
        }
        Ok(Err(error)) => Err(ExitError::new(exit_code::FAILED, format!("the app was refused: {error}"))),
        Err(_) => Err(ExitError::new(exit_code::FAILED, "no master took the app in time; see the log")),
    }
}

async fn put_once(master: &RunningMaster, apps: &Apps) -> Result<(), ControlError> {
    let edits = apps
        .iter()
        .map(|(id, spec)| {
            let spec = spec.clone();
            let merge: Merge = Box::new(move |_| Ok(spec.clone()));
            (id.clone(), Edit::Put(merge))
        })
        .collect();
    master.control.edit_apps(edits, WriteOptions::default()).await.map(drop)
}

/// Apps that an earlier run left; asked once a master leads, and none when none does in time.
pub(super) async fn resumed(masters: &[RunningMaster]) -> Vec<AppId> {
    let asking = async {
        loop {
            for master in masters {
                if let Ok(view) = master.store.fresh_snapshot().await {
                    return view.apps.iter().map(|(id, _)| id.clone()).collect();
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    timeout(PUT_TIMEOUT, asking).await.unwrap_or_default()
}
