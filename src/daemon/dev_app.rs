//! The file that `platformd dev` is given: read, put, and found running.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::master::RunningMaster;
use crate::api::wire::app::decode_app;
use crate::api::wire::decode::{AppError, parse_body};
use crate::api::wire::group::decode_group;
use crate::cli::{ExitError, exit_code};
use crate::control::{ControlError, Edit, Merge, WriteOptions};
use crate::domain::{AppId, RunSpec, Violation};
use crate::store::StateStore;
use crate::world::net::TcpStream;

/// Apps of a file.
pub(super) type Apps = Vec<(AppId, RunSpec)>;

/// Longest wait for a leader to take the app.
const PUT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most apps that are told of one by one.
const TOLD_MAX: usize = 10;

/// Longest wait for first tasks, all together, before the reader is told where to look.
const RUNNING_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a task that runs to listen on its port.
const LISTENING_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two tries, while masters elect or a task opens its port.
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

/// Says a line to whoever started this process; the cluster goes on when nobody reads it.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints one line an app: where it answers, or why it does not.
pub(super) async fn tell(masters: &[RunningMaster], http: &str, apps: &[AppId]) {
    let Some(store) = masters.first().map(|master| &master.store) else { return };
    let until = Instant::now() + RUNNING_TIMEOUT;
    for app in apps.iter().take(TOLD_MAX) {
        match timeout_at(until, standing(store, app)).await {
            Ok(Some(standing)) => say(&format!("App      {app} {standing}")),
            _ => say(&format!("App      {app} waits; why: curl -s {http}/v2/queue")),
        }
    }
    let more = apps.len().saturating_sub(TOLD_MAX);
    if more > 0 {
        say(&format!("         and {more} more: curl -s {http}/v2/apps"));
    }
}

/// What is to be said of an app, once its first task runs.
async fn standing(store: &Arc<dyn StateStore>, app: &AppId) -> Option<String> {
    let mut applied = store.applied();
    loop {
        let view = store.snapshot();
        if view.current(app).is_some_and(|content| content.spec.instances == 0) {
            return Some("is scaled to no instance".to_owned());
        }
        let serving = view.instances_of(app).find(|row| row.is_serving(0));
        if let Some(task) = serving.and_then(|row| row.task.as_ref()) {
            let Some(port) = task.ports.first() else { return Some("runs, without a port".to_owned()) };
            let place = format!("{}:{port}", task.hostname);
            return Some(if timeout(LISTENING_TIMEOUT, listening(&place)).await.is_ok() {
                format!("answers at http://{place}")
            } else {
                format!("runs; nothing listens yet at {place}")
            });
        }
        applied.changed().await.ok()?;
    }
}

/// Ends when somebody takes a connection at `place`: a task runs a little before it listens.
async fn listening(place: &str) {
    while TcpStream::connect(place).await.is_err() {
        tokio::time::sleep(RETRY).await;
    }
}
