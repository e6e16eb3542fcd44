//! Probes tasks: HTTP, TCP and commands. What an answer means is `verdict`'s business.
//!
//! Way in: [`watch`], one per check and task. Source: spec 6.2 and 6.3.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::driver::{DriverError, TaskDriver, TaskHandle};
use super::effect::Input;
use super::verdict::{self, Probe};
use crate::domain::{HealthProtocol, LaunchCheck};
use crate::world::net::TcpStream;

/// Probes at the same time on one agent. Source: spec 6.2.
pub(super) const PROBES_MAX: usize = 256;
/// Marathon's own checks begin at the latest this long after the task came up.
const FIRST_PROBE_MAX: Duration = Duration::from_secs(5);
/// Before that, a first success is looked for this often.
const EARLY_PAUSE: Duration = Duration::from_millis(250);
/// Shortest pause between probes, whatever the spec says.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Shortest time that an answer may take, whatever the spec says.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// One check of one task.
pub(super) struct Watch {
    pub(super) check: LaunchCheck,
    pub(super) handle: TaskHandle,
    /// Where host ports are probed.
    pub(super) host: String,
    /// The task came up just now, rather than being found again.
    pub(super) is_new: bool,
    pub(super) driver: Arc<dyn TaskDriver>,
    pub(super) probes: Arc<Semaphore>,
    pub(super) results: mpsc::Sender<Input>,
}

/// Longest wait for an engine to show that it is there.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a probe found; nothing when the answer says nothing.
type Answer = Option<Result<(), String>>;

/// Probes for ever; the caller drops it when the task ends.
pub(super) async fn watch(watch: Watch) {
    let check = &watch.check.check;
    let pause = check.interval.max(INTERVAL_MIN);
    let first = if verdict::is_agent_run(check.protocol) {
        if watch.is_new { check.delay } else { check.delay.min(pause) }
    } else {
        watch.look_for_success(pause.min(FIRST_PROBE_MAX)).await
    };
    let mut due = interval_at(Instant::now() + first, pause);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let answer = watch.probe().await;
        if watch.is_known(&answer).await {
            watch.report(answer, false).await;
        }
    }
}

impl Watch {
    /// Probes often until the first success or until `until` has passed, so that a
    /// deployment need not wait for the schedule. Gives the wait for the next probe.
    async fn look_for_success(&self, until: Duration) -> Duration {
        let end = Instant::now() + until;
        while Instant::now() < end {
            let answer = self.probe().await;
            let is_success = matches!(answer, Some(Ok(())));
            self.report(answer, true).await;
            if is_success {
                return self.check.check.interval.max(INTERVAL_MIN);
            }
            sleep(EARLY_PAUSE.min(end.saturating_duration_since(Instant::now()))).await;
        }
        Duration::ZERO
    }

    /// A failure of a container counts only while its engine answers: without it a
    /// container may stand still through no fault of its own.
    async fn is_known(&self, answer: &Answer) -> bool {
        let failed = matches!(answer, Some(Err(_)));
        if !failed || self.handle.container.is_none() {
            return true;
        }
        matches!(timeout(ENGINE_TIMEOUT, self.driver.list()).await, Ok(Ok(_)))
    }

    async fn report(&self, answer: Answer, is_early: bool) {
        let Some(result) = answer else { return };
        let probe = Probe { check: self.check.index, failure: result.err(), is_early };
        let _ = self.results.send(Input::Probed { task: self.handle.task.clone(), probe }).await;
    }

    async fn probe(&self) -> Answer {
        let Ok(_permit) = self.probes.acquire().await else { return None };
        let within = self.check.check.timeout.max(TIMEOUT_MIN);
        match timeout(within, self.ask(within)).await {
            Ok(answer) => answer,
            Err(_) => Some(Err(format!("no answer within {within:?}"))),
        }
    }

    async fn ask(&self, within: Duration) -> Answer {
        match self.check.check.protocol {
            HealthProtocol::Http | HealthProtocol::MesosHttp => self.get().await,
            HealthProtocol::Tcp | HealthProtocol::MesosTcp => Some(self.connect().await.map(drop)),
            HealthProtocol::Command => self.run(within).await,
            HealthProtocol::Https | HealthProtocol::MesosHttps => Some(Err(verdict::NO_HTTPS.to_owned())),
        }
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let port = self.check.host_port.ok_or("the check has no host port to probe")?;
        let connected = TcpStream::connect((self.host.as_str(), port)).await;
        connected.map_err(|error| format!("cannot connect to {}:{port}: {error}", self.host))
    }

    async fn get(&self) -> Answer {
        match self.status().await {
            Ok(status) if status.is_informational() && self.check.check.ignore_http_1xx => None,
            Ok(status) if (200..400).contains(&status.as_u16()) => Some(Ok(())),
            Ok(status) => Some(Err(status.to_string())),
            Err(error) => Some(Err(error)),
        }
    }

    async fn status(&self) -> Result<StatusCode, String> {
        let stream = self.connect().await?;
        let path = self.check.check.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let port = self.check.host_port.unwrap_or_default();
        let request = Request::get(format!("{slash}{path}"))
            .header(HOST, format!("{}:{port}", self.host))
            .header(USER_AGENT, "platformd-health-check")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("path {path:?} cannot be asked for: {error}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answered = tokio::select! {
            answer = &mut answer => answer,
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(error) => Err(error),
            },
        };
        answered.map(|response| response.status()).map_err(|error| no_answer(&error))
    }

    async fn run(&self, within: Duration) -> Answer {
        let command = self.check.check.command.as_deref().unwrap_or_default();
        match self.driver.run_check(&self.handle, command, within).await {
            Ok(0) => Some(Ok(())),
            Ok(code) => Some(Err(format!("Command exited with status {code}"))),
            // Our own ignorance is no fault of the task; its end is told by others.
            Err(DriverError::Unavailable { .. } | DriverError::Missing) => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }
}

fn no_answer(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("no HTTP answer: {error}: {source}"),
        None => format!("no HTTP answer: {error}"),
    }
}
