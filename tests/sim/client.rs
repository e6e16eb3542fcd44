//! People, played: a client that changes apps through any master and remembers every answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use platformd::world;
use serde_json::{Value, json};

use crate::oracle::{Oracle, Write};

/// A client gives up on an answer after this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Pause between two requests.
const PAUSE_MAX_MILLIS: u64 = 400;

/// Requests of one run.
const REQUESTS: u64 = 60;

/// An answer of a master.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// Sends one request to one master.
pub async fn ask(
    host: &str,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: Option<&Value>,
) -> Option<Answer> {
    let exchange = async {
        let stream = turmoil::net::TcpStream::connect((host, 8080)).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let connection = world::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", host);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.header("content-type", "application/json").body(Full::new(bytes)).ok()?;
        let answer = sender.send_request(request).await.ok()?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.ok()?.to_bytes();
        connection.abort();
        Some(Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) })
    };
    tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.ok()?
}

/// Asks masters in turn until one answers as wanted, for ever: the run's own deadline ends it.
pub async fn ask_until(
    masters: &[String],
    method: &str,
    path: &str,
    key: Option<&str>,
    body: Option<&Value>,
    is_wanted: impl Fn(&Answer) -> bool,
) -> Answer {
    loop {
        for host in masters {
            if let Some(answer) = ask(host, method, path, key, body).await
                && is_wanted(&answer)
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The app that is put once and never touched.
pub const STEADY: &str = "/steady";
/// Its instances.
pub const STEADY_INSTANCES: u64 = 3;

pub fn definition(app: &str, number: u64, instances: u64) -> Value {
    json!({
        "id": app, "cmd": format!("serve {number}"), "instances": instances,
        "cpus": 0.1, "mem": 16, "backoffSeconds": 1, "portDefinitions": [{"port": 0}],
    })
}

/// Puts the steady app and waits until it runs.
pub async fn begin(masters: &[String], oracle: &Oracle) {
    let body = definition(STEADY, 0, STEADY_INSTANCES);
    let path = format!("/v2/apps{STEADY}");
    ask_until(masters, "PUT", &path, Some("steady"), Some(&body), |a| a.status < 300).await;
    oracle.note("steady app accepted");
    ask_until(masters, "GET", &path, None, None, |a| {
        a.body["app"]["tasksRunning"] == STEADY_INSTANCES && a.body["app"]["deployments"] == json!([])
    })
    .await;
    oracle.note("steady app runs");
}

/// Changes other apps while faults happen.
pub async fn meddle(masters: &[String], oracle: &Oracle) {
    for number in 1..=REQUESTS {
        let app = ["/a", "/b", "/group/c"][usize::try_from(world::random_u64() % 3).unwrap_or(0)];
        let write = match world::random_u64() % 10 {
            0 => Write::Delete,
            _ => Write::Put { number, instances: world::random_u64() % 5 },
        };
        let key = format!("request-{number}");
        // The same key until the answer is known, as the documentation tells clients to.
        let mut answer = None;
        for _ in 0..4 {
            let at = usize::try_from(world::random_u64()).unwrap_or(0) % masters.len();
            let host = masters.get(at).expect("a master");
            answer = send(host, app, &write, &key).await;
            if answer.is_some_and(|status| status < 500) {
                break;
            }
        }
        oracle.wrote(app, write, answer);
        tokio::time::sleep(Duration::from_millis(world::random_u64() % PAUSE_MAX_MILLIS)).await;
    }
}

async fn send(host: &str, app: &str, write: &Write, key: &str) -> Option<u16> {
    let path = format!("/v2/apps{app}?force=true");
    let answer = match write {
        Write::Put { number, instances } => {
            ask(host, "PUT", &path, Some(key), Some(&definition(app, *number, *instances))).await
        }
        Write::Delete => ask(host, "DELETE", &path, Some(key), None).await,
    };
    answer.map(|answer| answer.status)
}

/// After everything healed: every app must become what was acknowledged, and run.
pub async fn settle(masters: &[String], oracle: &Oracle) -> Result<(), String> {
    for app in oracle.apps() {
        let path = format!("/v2/apps{app}");
        let settled = |answer: &Answer| {
            answer.status == 404
                || (answer.status == 200
                    && answer.body["app"]["tasksRunning"] == answer.body["app"]["instances"]
                    && answer.body["app"]["deployments"] == json!([]))
        };
        let answer = ask_until(masters, "GET", &path, None, None, settled).await;
        let found = (answer.status == 200).then(|| {
            let cmd = answer.body["app"]["cmd"].as_str().unwrap_or_default();
            cmd.trim_start_matches("serve ").parse::<u64>().unwrap_or(u64::MAX)
        });
        oracle.check_final(&app, found)?;
    }
    ask_until(masters, "GET", "/v2/deployments", None, None, |a| a.status == 200 && a.body == json!([]))
        .await;
    oracle.note("settled");
    Ok(())
}
