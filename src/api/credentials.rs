//! Names and passwords of people, where the API asks for them.
//!
//! Basic authentication, as Marathon's `--http_credentials`: every client of its can do it.
//! [`guarded`] stands before any router; `/ping` and `/ready` stay open for those who watch.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{Digest, SHA256, digest};

use super::ApiError;
use crate::world::private_file::{PrivateFileError, read_private};

/// Most people in one file; more need a proxy with a directory of its own.
const PEOPLE_MAX: usize = 100;

/// What tells a client to ask its user.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"platformd\", charset=\"UTF-8\"");

/// Paths that say nothing but whether the process does its work.
const OPEN: &[&str] = &["/ping", "/ready"];

/// Why a file of names and passwords cannot be used; to be put after its flag and path.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be had.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// A line is not what was expected. Never shows it.
    #[error("line {0} is no NAME:PASSWORD; expected a name, a colon and a password that is not empty")]
    Line(usize),
    /// Nobody could come in.
    #[error("names nobody; expected a line NAME:PASSWORD for each person or program")]
    Empty,
    /// Beyond the bound.
    #[error("names more than {PEOPLE_MAX} people; put a proxy that knows them before the API")]
    TooMany,
}

/// Who may use the API. Holds digests, so that a comparison's time tells nothing.
pub struct Credentials {
    digests: Vec<Digest>,
    /// What a program shows that was given the same file.
    first: String,
}

impl Credentials {
    /// Reads a file with one `NAME:PASSWORD` a line; `#` begins a comment.
    ///
    /// # Errors
    /// [`CredentialsError`]: a sentence to be put after the flag and the path.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        Self::parse(&read_private(path)?)
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let mut pairs = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(':') {
                Some((name, password)) if !name.is_empty() && !password.is_empty() => pairs.push(line),
                _ => return Err(CredentialsError::Line(number + 1)),
            }
        }
        let first = pairs.first().map(|first| BASE64.encode(first)).ok_or(CredentialsError::Empty)?;
        if pairs.len() > PEOPLE_MAX {
            return Err(CredentialsError::TooMany);
        }
        let digests = pairs.into_iter().map(|pair| digest(&SHA256, pair.as_bytes())).collect();
        Ok(Self { digests, first: format!("Basic {first}") })
    }

    /// Value of `Authorization` with the file's first name and password.
    pub fn authorization(&self) -> &str {
        &self.first
    }

    fn admit(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let basic = shown.and_then(|shown| shown.split_once(' '));
        let encoded = basic.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        let Some(pair) = encoded.and_then(|(_, encoded)| BASE64.decode(encoded.trim()).ok()) else {
            return false;
        };
        let shown = digest(&SHA256, &pair);
        self.digests.iter().any(|known| known.as_ref() == shown.as_ref())
    }
}

/// `router`, for those who show a name and a password of `credentials`; without them for all.
pub fn guarded(router: Router, credentials: Option<Arc<Credentials>>) -> Router {
    match credentials {
        None => router,
        Some(known) => router.layer(middleware::from_fn_with_state(known, ask)),
    }
}

async fn ask(State(known): State<Arc<Credentials>>, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) || known.admit(request.headers()) {
        return next.run(request).await;
    }
    let message = "This needs a name and a password of the file that the server was given with \
                   --http-credentials; send them as basic authentication, with curl as -u NAME:PASSWORD.";
    let mut refused = ApiError::new(StatusCode::UNAUTHORIZED, message).into_response();
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    refused
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[track_caller]
    fn check_bad(text: &str, part: &str) {
        let Err(error) = Credentials::parse(text) else { panic!("taken: {text:?}") };
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.to_string().contains("hunter2"), "secrets are not shown");
    }

    #[test]
    fn files_are_judged_by_line() {
        check_bad("", "nobody");
        check_bad("# only this\n\n", "nobody");
        check_bad("ann:a\nhunter2\n", "line 2");
        check_bad(":hunter2", "line 1");
        check_bad("ann:", "line 1");
        check_bad(&"ann:a\n".repeat(101), "100");
    }

    async fn status(path: &str, authorization: Option<&str>) -> (StatusCode, bool) {
        let known = Credentials::parse("# people\nann:se:cret\r\nprometheus:p\n").unwrap();
        let router = Router::new().route("/ping", get(|| async {})).route("/v2/apps", get(|| async {}));
        let mut request = Request::get(path);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let guarded = guarded(router, Some(Arc::new(known)));
        let answer = guarded.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (answer.status(), answer.headers().contains_key(header::WWW_AUTHENTICATE))
    }

    #[tokio::test]
    async fn only_known_people_come_in() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        for good in ["ann:se:cret", "prometheus:p"] {
            assert_eq!(status("/v2/apps", Some(&basic(good))).await, (StatusCode::OK, false));
        }
        let lower = basic("prometheus:p").replace("Basic", "basic");
        assert_eq!(status("/v2/apps", Some(&lower)).await, (StatusCode::OK, false));
        let bad = ["ann:secret", "ann:", "", "Ann:se:cret", "# people"].map(basic);
        for bad in bad.iter().map(String::as_str).chain(["Basic ???", "Bearer x", "", "Basic"]) {
            assert_eq!(status("/v2/apps", Some(bad)).await, (StatusCode::UNAUTHORIZED, true), "{bad}");
        }
        assert_eq!(status("/v2/apps", None).await, (StatusCode::UNAUTHORIZED, true));
        assert_eq!(status("/ping", None).await, (StatusCode::OK, false));
    }

    #[test]
    fn a_program_shows_the_first_line() {
        let known = Credentials::parse("ann:a\nbob:b").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, known.authorization().parse().unwrap());
        assert!(known.admit(&headers));
    }
}
