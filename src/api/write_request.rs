//! What every changing request may carry, and what every accepted change answers.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::context::Context;
use super::error::ApiError;
use super::extract::{JSON, Query, is_json, read_body};
use super::headers::{DEPLOYMENT, INDEX};
use crate::control::{Started, WriteOptions};
use crate::domain::AppId;
use crate::state::RequestKey;

/// The client's name for its request.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest idempotency key in bytes; keys are kept in replicated state for a day.
const KEY_BYTES_MAX: usize = 255;

/// Oddities that are named in an answer; the rest would only swell its head.
const WARNINGS_MAX: usize = 10;

/// Longest text of one warning, in characters.
const WARNING_CHARS_MAX: usize = 120;

/// A changing request, read whole.
pub struct WriteRequest {
    /// Its parameters.
    pub query: Query,
    body: Bytes,
    is_json: bool,
    key: Option<RequestKey>,
    host: String,
}

impl FromRequest<Context> for WriteRequest {
    type Rejection = ApiError;

    async fn from_request(request: Request, context: &Context) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let body = read_body(body).await?;
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let key = match parts.headers.get(IDEMPOTENCY_KEY) {
            None => None,
            Some(value) => {
                let digest = digest(&[parts.method.as_str().as_bytes(), target.as_bytes(), &body]);
                Some(RequestKey { key: checked_key(value)?, digest })
            }
        };
        let host = host_of(&parts.headers).unwrap_or(&context.me.http).to_owned();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        Ok(Self { query, body, is_json: is_json(&parts.headers), key, host })
    }
}

impl WriteRequest {
    /// The body, where a JSON document is expected.
    ///
    /// # Errors
    /// 415 when it says that it is something else.
    pub fn json_bytes(&self) -> Result<&Bytes, ApiError> {
        if self.is_json { Ok(&self.body) } else { Err(ApiError::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE)) }
    }

    /// Options for `control`; `force` is what its absence means.
    pub fn options(&self, force: bool) -> WriteOptions {
        WriteOptions { force: self.query.flag("force", force), request: self.key.clone() }
    }

    /// URL of a new app: its path at the server's root. Source: spec 1.4.
    pub fn location_of(&self, app: &AppId) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("http://{}{app}", self.host)).ok()
    }
}

fn host_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

fn checked_key(value: &HeaderValue) -> Result<String, ApiError> {
    let key = value.to_str().unwrap_or_default();
    let is_fine = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if is_fine {
        return Ok(key.to_owned());
    }
    let message =
        format!("Idempotency-Key must be 1 to {KEY_BYTES_MAX} visible ASCII characters without spaces.");
    Err(ApiError::new(StatusCode::BAD_REQUEST, message))
}

/// FNV-1a with 128 bits over parts and their lengths: the same on every master and in
/// every version; guards against mistakes, not against enemies.
fn digest(parts: &[&[u8]]) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = BASIS;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    };
    for part in parts {
        take(&(part.len() as u64).to_be_bytes());
        take(part);
    }
    format!("{hash:032x}")
}

/// An accepted change that started a deployment.
pub fn written(status: StatusCode, body: &Value, started: &Started) -> Response {
    let mut response = written_at(status, body, started.index);
    if let Ok(id) = HeaderValue::try_from(started.deployment.as_str()) {
        response.headers_mut().insert(DEPLOYMENT, id);
    }
    response
}

/// An accepted change, recorded at `index`.
pub fn written_at(status: StatusCode, body: &Value, index: u64) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response();
    response.headers_mut().insert(INDEX, HeaderValue::from(index));
    response
}

/// Tells of a parameter with a value that means nothing.
pub fn unknown_value(name: &str, value: &str) -> String {
    format!("unknown value '{name}={value}'")
}

/// Names oddities of the request, such as unknown fields, in `Warning` headers: Marathon
/// accepted them silently, and so typos went unseen.
pub fn warn(response: &mut Response, warnings: &[String]) {
    for warning in warnings.iter().take(WARNINGS_MAX) {
        let visible = |it: char| if matches!(it, ' '..='~') && !matches!(it, '"' | '\\') { it } else { '?' };
        let text: String = warning.chars().take(WARNING_CHARS_MAX).map(visible).collect();
        if let Ok(value) = HeaderValue::try_from(format!("299 platformd \"{text}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_requests_apart() {
        assert_ne!(digest(&[b"PUT", b"/a", b"b"]), digest(&[b"PUT", b"/ab", b""]));
        assert_eq!(digest(&[b"PUT", b"/a"]), digest(&[b"PUT", b"/a"]));
    }

    #[test]
    fn keys_are_bounded_and_visible() {
        assert!(checked_key(&HeaderValue::from_static("a-1")).is_ok());
        assert!(checked_key(&HeaderValue::from_static("")).is_err());
        assert!(checked_key(&HeaderValue::from_static("a b")).is_err());
        assert!(checked_key(&HeaderValue::try_from("x".repeat(256)).unwrap()).is_err());
    }

    #[test]
    fn warnings_are_few_and_plain() {
        let mut response = ().into_response();
        let unknown: Vec<String> = (0..20).map(|n| format!("unknown field '/ä\"{n}\n'")).collect();
        warn(&mut response, &unknown);
        let values: Vec<_> = response.headers().get_all(header::WARNING).iter().collect();
        assert_eq!(values.len(), WARNINGS_MAX);
        assert_eq!(values[0], "299 platformd \"unknown field '/??0?'\"");
    }
}
