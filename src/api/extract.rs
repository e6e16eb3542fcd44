//! From bytes to typed parts: query flags, JSON bodies and their bounds.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::BodyExt;

use super::error::ApiError;

/// Content type of nearly every answer.
pub const JSON: &str = "application/json";

/// Largest body of a request in bytes. Marathon's largest documents, whole group trees,
/// are a few hundred KiB.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much of a body that is too large is read and thrown away, so that clients that
/// only listen after they have sent all get the 413 instead of a broken pipe.
const DISCARDED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A client that sends no byte for so long waits for its answer: to go on after a 100, say, or for ever.
const DISCARD_PAUSE: Duration = Duration::from_secs(1);

/// Longest time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Every parameter that is read by [`Query::flag`].
const SWITCHES: [&str; 5] = ["force", "partialUpdate", "scale", "stale", "wipe"];

/// Query parameters in order; names may repeat.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string. Undecodable bytes become replacement characters.
    pub fn parse(raw: &str) -> Self {
        let decode = |text: &str| percent_decode(&text.replace('+', " "));
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter's name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A switch: `true` in any case is on, any other text is off, absence is the default.
    /// Source: Java's `Boolean.valueOf`, which Marathon's clients have learnt to suit.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }

    /// Switches whose text is neither `true` nor `false`, as warnings.
    pub fn odd_flags(&self) -> Vec<String> {
        let is_odd = |value: &str| !["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word));
        let odd = self.0.iter().filter(|(name, value)| SWITCHES.contains(&name.as_str()) && is_odd(value));
        odd.map(|(name, value)| format!("'{name}={value}' counts as false; say true or false")).collect()
    }

    /// Whether the caller accepts state that may lag behind.
    pub fn is_stale(&self) -> bool {
        self.flag("stale", false)
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

/// Replaces `%xx`; anything malformed stays as it is.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What follows `prefix` in a path, decoded; nothing of another path.
pub(super) fn below(uri: &Uri, prefix: &str) -> String {
    percent_decode(uri.path().strip_prefix(prefix).unwrap_or_default())
}

/// A whole JSON body, not yet parsed; its content type has been checked.
#[derive(Clone, Debug)]
pub struct JsonBytes(pub Bytes);

impl<S: Sync> FromRequest<S> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        read_body(request.into_body()).await.map(Self)
    }
}

/// Whether the body may be JSON: it says so, or says nothing. Source: spec 1.1.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.is_empty() || kind.eq_ignore_ascii_case(JSON)
}

/// The answer to a body that is too large.
pub(super) fn too_large() -> ApiError {
    let message = format!("Request body is larger than {BODY_BYTES_MAX} bytes. Send a smaller document.");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// The size that a request says its body has.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads and throws away a body that nobody will look at, as long as it comes.
pub(super) async fn discard(body: Body) {
    let mut body = body;
    let reading = async {
        let mut left = DISCARDED_BYTES_MAX;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(DISCARD_PAUSE, body.frame()).await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(size) else { return };
            left = less;
        }
    };
    // Whether it came whole, broke off or took too long: the answer is the same.
    let _ = tokio::time::timeout(BODY_TIMEOUT, reading).await;
}

/// Reads a body up to [`BODY_BYTES_MAX`].
pub(super) async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    let mut body = body;
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                ApiError::new(StatusCode::BAD_REQUEST, "The request body broke off before its end.")
            })?;
            let Some(data) = frame.data_ref() else { continue };
            if bytes.len() + data.len() > BODY_BYTES_MAX {
                return Ok(None);
            }
            bytes.extend_from_slice(data);
        }
        Ok(Some(Bytes::from(bytes)))
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            discard(body).await;
            Err(too_large())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let message = format!("The request body did not arrive within {} s.", BODY_TIMEOUT.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_large_body_that_is_not_sent_is_not_waited_for() {
        use futures_util::{StreamExt as _, stream};
        let began = tokio::time::Instant::now();
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"x"))]);
        discard(Body::from_stream(first.chain(stream::pending()))).await;
        assert!(began.elapsed() <= 2 * DISCARD_PAUSE, "{:?}", began.elapsed());
    }

    #[test]
    fn flags_are_read_as_marathon_reads_them() {
        let query = Query::parse("force=True&scale=1&wipe&embed=a&embed=b%2Fc+d&x=%zz");
        assert!(query.flag("force", false));
        assert!(!query.flag("scale", true));
        assert!(!query.flag("wipe", false));
        assert!(query.flag("absent", true));
        assert_eq!(query.all("embed").collect::<Vec<_>>(), ["a", "b/c d"]);
        assert_eq!(query.get("x"), Some("%zz"));
        assert_eq!(
            query.odd_flags(),
            ["'scale=1' counts as false; say true or false", "'wipe=' counts as false; say true or false"]
        );
    }
}
