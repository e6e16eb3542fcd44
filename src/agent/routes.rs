//! The agent's own HTTP: whether it lives, its metrics, its tasks and their output.
//!
//! Way in: [`router`]. Files are reached only by the id of a task that the agent knows.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};

use super::record::TaskRecord;
use super::view::AgentView;
use crate::domain::TaskId;
use crate::telemetry::Rendered;
use crate::world;
use crate::world::fs::FileExt;

/// Bytes of output in one answer.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of output when the caller does not say.
const OUTPUT_BYTES: u64 = 64 << 10;

/// Shows metrics in the form that an `Accept` header asks for.
pub type MetricsPage = Arc<dyn Fn(Option<&str>) -> Rendered + Send + Sync>;

#[derive(Clone)]
struct Pages {
    view: Arc<AgentView>,
    metrics: MetricsPage,
    tasks: PathBuf,
}

/// The routes. Output of tasks lies in `tasks`, in a directory per task.
pub fn router(view: Arc<AgentView>, metrics: MetricsPage, tasks: PathBuf) -> Router {
    Router::new()
        .route("/ping", get(|| async { "pong" }))
        .route("/metrics", get(show_metrics))
        .route("/v1/tasks", get(list_tasks))
        .route("/v1/tasks/{id}/{stream}", get(show_output))
        .with_state(Pages { view, metrics, tasks })
}

async fn show_metrics(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let rendered = (pages.metrics)(accept);
    ([(header::CONTENT_TYPE, HeaderValue::from_static(rendered.content_type))], rendered.body).into_response()
}

/// One task, as `/v1/tasks` lists it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskLine {
    id: String,
    app: String,
    state: &'static str,
    message: String,
    pid: Option<i32>,
    container: Option<String>,
    ports: Vec<u16>,
    unacknowledged: usize,
}

impl TaskLine {
    fn of(record: TaskRecord) -> Self {
        let handle = record.handle;
        Self {
            id: record.launch.task.to_string(),
            app: record.launch.app,
            state: record.status.state.as_str(),
            message: record.status.message,
            pid: handle.as_ref().and_then(|handle| handle.pid),
            container: handle.and_then(|handle| handle.container),
            ports: record.launch.ports.iter().map(|port| port.host).collect(),
            unacknowledged: record.unacknowledged.len(),
        }
    }
}

async fn list_tasks(State(pages): State<Pages>) -> Response {
    #[derive(Serialize)]
    struct Tasks {
        tasks: Vec<TaskLine>,
    }
    let tasks = pages.view.tasks().into_iter().map(TaskLine::of).collect();
    axum::Json(Tasks { tasks }).into_response()
}

#[derive(Deserialize)]
struct Window {
    /// First byte; absent: as many as asked for up to the end.
    offset: Option<u64>,
    limit: Option<u64>,
}

async fn show_output(
    State(pages): State<Pages>,
    Path((id, stream)): Path<(String, String)>,
    Query(window): Query<Window>,
) -> Response {
    if stream != "stdout" && stream != "stderr" {
        return not_found(format!("no output {stream:?}; there are stdout and stderr"));
    }
    let Some(record) = pages.view.task(&TaskId::new(id.as_str())) else {
        return not_found(format!("no task {id:?} on this agent"));
    };
    if let Some(container) = record.handle.and_then(|handle| handle.container) {
        return not_found(format!("the engine keeps this task's output: docker logs {container}"));
    }
    let file = pages.tasks.join(record.launch.task.as_str()).join(&stream);
    let read = world::blocking(move || {
        let file = world::fs::File::open(&file)?;
        read_window(&file, file.metadata()?.len(), window.offset, window.limit)
    });
    match read.await {
        Ok((start, bytes)) => {
            let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned())];
            let position = [("x-output-offset", start.to_string())];
            (headers, position, bytes).into_response()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            not_found(format!("task {id:?} has written no {stream}"))
        }
        Err(error) => {
            tracing::warn!(task = id, %error, "failed to read output");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to read {stream} of {id}: {error}\n"))
                .into_response()
        }
    }
}

/// Where the bytes begin, and the bytes.
fn read_window(
    file: &world::fs::File,
    length: u64,
    offset: Option<u64>,
    limit: Option<u64>,
) -> std::io::Result<(u64, Vec<u8>)> {
    let limit = limit.unwrap_or(OUTPUT_BYTES).min(OUTPUT_BYTES_MAX);
    let start = offset.unwrap_or(length.saturating_sub(limit)).min(length);
    let size = usize::try_from(limit.min(length - start)).unwrap_or(0);
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = start.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(rest, at)? {
            0 => break, // It was rotated under us.
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok((start, bytes))
}

fn not_found(text: String) -> Response {
    (StatusCode::NOT_FOUND, text + "\n").into_response()
}

#[cfg(all(test, not(feature = "sim")))]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::domain::Timestamp;

    async fn get(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn output_is_shown_by_window_and_only_of_known_tasks() {
        let dir = tempfile::tempdir().unwrap();
        for task in ["a", "stranger"] {
            std::fs::create_dir(dir.path().join(task)).unwrap();
            std::fs::write(dir.path().join(task).join("stdout"), "0123456789").unwrap();
        }
        let view = Arc::new(AgentView::default());
        view.enter(&TaskRecord::nameless(&TaskId::new("a"), "boot", Timestamp::default()));
        let metrics: MetricsPage =
            Arc::new(|_| Rendered { content_type: "text/plain", body: "up 1\n".to_owned() });
        let router = router(view, metrics, dir.path().to_owned());

        assert_eq!(get(&router, "/ping").await, (200, "pong".to_owned()));
        assert_eq!(get(&router, "/metrics").await, (200, "up 1\n".to_owned()));
        assert_eq!(get(&router, "/v1/tasks/a/stdout").await, (200, "0123456789".to_owned()));
        assert_eq!(get(&router, "/v1/tasks/a/stdout?limit=3").await, (200, "789".to_owned()));
        assert_eq!(get(&router, "/v1/tasks/a/stdout?offset=2&limit=3").await, (200, "234".to_owned()));
        assert_eq!(get(&router, "/v1/tasks/a/stdout?offset=99").await, (200, String::new()));
        for missing in [
            "/v1/tasks/a/stderr",
            "/v1/tasks/a/launch",
            "/v1/tasks/stranger/stdout",
            "/v1/tasks/..%2Fa/stdout",
        ] {
            assert_eq!(get(&router, missing).await.0, 404, "{missing}");
        }
        let (_, tasks) = get(&router, "/v1/tasks").await;
        assert!(tasks.contains("\"id\":\"a\"") && tasks.contains("TASK_STAGING"), "{tasks}");
    }
}
