//! Calls to the Docker engine: each with a deadline, each error in our words.
//!
//! Way in: [`Engine::connect`]. Knows containers and images, no tasks.

use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ExecConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::StreamExt as _;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;

use crate::agent::driver::DriverError;

/// The engine is on this machine: away is away, and `auto` wants to know at once.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// Questions answer within milliseconds; a hanging engine must not hold us.
const QUESTION_WAIT: Duration = Duration::from_secs(10);
/// Creating and starting: a fraction of a second each, many times that under load.
const CHANGE_WAIT: Duration = Duration::from_secs(60);
/// A pull that takes longer is stuck, or should be done ahead.
const PULL_WAIT: Duration = Duration::from_secs(600);
/// After the grace of a stop the engine kills; what comes then is the kernel's.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// A wait is asked anew after this long, lest an answer got lost.
const WAIT_WAIT: Duration = Duration::from_secs(60);
/// The last words are a courtesy.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);
/// Longest message taken over from the engine or the task.
const TEXT_CHARS_MAX: usize = 300;
/// Header that carries registry credentials.
const REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");

/// A Docker engine.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    socket: String,
    /// Once it has answered.
    docker: Arc<OnceLock<Docker>>,
}

/// Why a call did not do what it should.
#[derive(Debug)]
pub(super) enum CallError {
    /// No such container or image.
    NotFound(String),
    /// The name is taken, or the container is not in the state for it.
    Conflict(String),
    /// The engine said no for another reason.
    Refused(String),
    /// The engine did not answer; whether it heard us is not known.
    Away(String),
    /// The engine could not be reached: it has not heard of this call.
    Unheard(String),
}

/// What there is to know of a container.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) inspect: ContainerInspectResponse,
}

fn client(socket: &str) -> Result<Docker, CallError> {
    let docker = Docker::connect_with_unix(socket, CHANGE_WAIT.as_secs(), API_DEFAULT_VERSION)?;
    Ok(docker.with_request_modifier(with_url_safe_credentials))
}

impl Engine {
    /// Connects and agrees on a version of the interface.
    pub(super) async fn connect(socket: &str) -> Result<Self, CallError> {
        let engine = Self::unasked(socket);
        engine.look().await?;
        Ok(engine)
    }

    /// The same without asking it: it may be away, and is found once it answers [`Engine::look`].
    pub(super) fn unasked(socket: &str) -> Self {
        Self { socket: socket.to_owned(), docker: Arc::new(OnceLock::new()) }
    }

    /// Whether it answers. One that was away before agrees on a version of the interface now.
    pub(super) async fn look(&self) -> Result<(), CallError> {
        let docker = match self.docker.get() {
            Some(docker) => docker.clone(),
            None => client(&self.socket)?,
        };
        let docker = within(CONNECT_WAIT, docker.negotiate_version()).await?;
        let _ = self.docker.set(docker);
        Ok(())
    }

    fn docker(&self) -> Result<&Docker, CallError> {
        let away = || CallError::Unheard(format!("nothing has answered at {} yet", self.socket));
        self.docker.get().ok_or_else(away)
    }

    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, CallError> {
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        Ok(within(CHANGE_WAIT, self.docker()?.create_container(Some(options), body)).await?.id)
    }

    /// Starts a container; one that runs is no error.
    pub(super) async fn start(&self, id: &str) -> Result<(), CallError> {
        within(CHANGE_WAIT, self.docker()?.start_container(id, None)).await
    }

    pub(super) async fn inspect(&self, id_or_name: &str) -> Result<Seen, CallError> {
        let inspect = within(QUESTION_WAIT, self.docker()?.inspect_container(id_or_name, None)).await?;
        let id = inspect.id.clone().ok_or_else(|| CallError::Refused("container without id".to_owned()))?;
        Ok(Seen { id, inspect })
    }

    /// Waits until a container does not run; its end is to be inspected. Ok also when only
    /// time has passed.
    pub(super) async fn wait(&self, id: &str) -> Result<(), CallError> {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut answers = self.docker()?.wait_container(id, Some(options));
        match timeout(WAIT_WAIT, answers.next()).await {
            // A code other than 0 comes as an error.
            Ok(Some(Err(Error::DockerContainerWaitError { .. }) | Ok(_))) | Err(_) => Ok(()),
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(None) => Err(CallError::Away("the engine ended the wait without an answer".to_owned())),
        }
    }

    /// Sends the image's stop signal and kills after `grace`; returns when it does not run.
    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<(), CallError> {
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let limit = grace.saturating_add(STOP_MARGIN);
        let patient = self.docker()?.clone().with_timeout(limit);
        within(limit, patient.stop_container(id, Some(options))).await
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), CallError> {
        let options = RemoveContainerOptionsBuilder::default().v(true).build();
        within(CHANGE_WAIT, self.docker()?.remove_container(id, Some(options))).await
    }

    /// Containers with a label, running or not.
    pub(super) async fn labelled(&self, label: String) -> Result<Vec<ContainerSummary>, CallError> {
        let filters = [("label".to_owned(), vec![label])].into();
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        within(QUESTION_WAIT, self.docker()?.list_containers(Some(options))).await
    }

    /// Fetches an image.
    pub(super) async fn pull(
        &self,
        image: &str,
        credentials: Option<bollard::auth::DockerCredentials>,
    ) -> Result<(), CallError> {
        // Without a tag the engine would fetch all of them.
        let last = image.rsplit('/').next().unwrap_or(image);
        let builder = CreateImageOptionsBuilder::default().from_image(image);
        let options = if last.contains([':', '@']) { builder } else { builder.tag("latest") }.build();
        let mut progress = self.docker()?.create_image(Some(options), None, credentials);
        let all = async {
            while let Some(step) = progress.next().await {
                step?;
            }
            Ok::<(), Error>(())
        };
        within(PULL_WAIT, all).await
    }

    /// Runs a command inside and gives its exit code; nothing when it takes longer than `limit`,
    /// then with its process number on the host, if known.
    pub(super) async fn execute(
        &self,
        id: &str,
        line: &str,
        limit: Duration,
    ) -> Result<Result<i32, Option<i32>>, CallError> {
        let config = ExecConfig {
            cmd: Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = within(QUESTION_WAIT, self.docker()?.create_exec(id, config)).await?.id;
        let run = async {
            let started = self.docker()?.start_exec(&exec, None::<StartExecOptions>).await?;
            if let StartExecResults::Attached { mut output, .. } = started {
                while let Some(part) = output.next().await {
                    drop(part?);
                }
            }
            Ok::<(), CallError>(())
        };
        let in_time = timeout(limit, run).await.ok().transpose()?.is_some();
        let seen = within(QUESTION_WAIT, self.docker()?.inspect_exec(&exec)).await?;
        let narrow = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok());
        match narrow(seen.exit_code) {
            Some(code) if in_time => Ok(Ok(code)),
            _ => Ok(Err(narrow(seen.pid).filter(|pid| *pid > 0))),
        }
    }

    /// The last line that a container wrote to stderr, or nothing.
    pub(super) async fn last_words(&self, id: &str) -> String {
        let options = LogsOptionsBuilder::default().stderr(true).tail("1").build();
        let Ok(docker) = self.docker() else { return String::new() };
        let mut lines = docker.logs(id, Some(options));
        match timeout(LAST_WORDS_WAIT, lines.next()).await {
            Ok(Some(Ok(LogOutput::StdErr { message } | LogOutput::Console { message }))) => {
                short(String::from_utf8_lossy(&message).trim())
            }
            _ => String::new(),
        }
    }
}

/// The engine reads this header in the alphabet for URLs, the client library writes the other one:
/// credentials with `+` or `/` in them would be ignored without a word.
fn with_url_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    let safe = request.headers().get(REGISTRY_AUTH).and_then(|value| {
        let text = value.to_str().ok()?.replace('+', "-").replace('/', "_");
        HeaderValue::from_str(&text).ok()
    });
    if let Some(safe) = safe {
        request.headers_mut().insert(REGISTRY_AUTH, safe);
    }
    request
}

async fn within<T, E: Into<CallError>>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, CallError> {
    match timeout(limit, call).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(CallError::Away(format!("no answer within {limit:?}"))),
    }
}

/// A text cut to a length that people still read.
fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                let message = short(&message);
                match status_code {
                    404 => Self::NotFound(message),
                    409 => Self::Conflict(message),
                    _ => Self::Refused(message),
                }
            }
            Error::DockerStreamError { error } => Self::Refused(short(&error)),
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::APIVersionParseError {} => {
                Self::Refused(chain(&error))
            }
            // Every call has a connection of its own, so that this one never carried anything.
            Error::SocketNotFoundError(_) => Self::Unheard(chain(&error)),
            Error::HyperLegacyError { ref err } if err.is_connect() => Self::Unheard(chain(&error)),
            other => Self::Away(chain(&other)),
        }
    }
}

/// An error with its causes: the client library's own text stops at "client error (Connect)".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    short(&text)
}

impl CallError {
    /// In the words of the driver: what could not be done, and why.
    pub(super) fn during(self, what: impl Display) -> DriverError {
        match self {
            Self::NotFound(reason) | Self::Conflict(reason) | Self::Refused(reason) => {
                DriverError::Failed(format!("{what}: {reason}"))
            }
            Self::Away(reason) => away(reason, false),
            Self::Unheard(reason) => away(reason, true),
        }
    }

    /// The same where an earlier call made something, or may have.
    pub(super) fn after_changes(self, what: impl Display) -> DriverError {
        match self {
            Self::Unheard(reason) => away(reason, false),
            other => other.during(what),
        }
    }
}

/// That the engine does not answer.
pub(super) fn away(reason: String, made_nothing: bool) -> DriverError {
    DriverError::Unavailable { means: "docker", reason, made_nothing }
}
