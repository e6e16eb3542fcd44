//! A standby passes a request whole to the leader, once. Source: spec 1.1, "Standby node".
//!
//! Nothing is repeated: a request that was passed to a leader that died may have
//! happened, and only the client knows whether a repeat is safe. Knows no routes but
//! the few that every master answers by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::context::Context;
use super::error::ApiError;
use super::extract::Query;
use super::headers::VIA;
use crate::control::ControlError;
use crate::store::{Leadership, Master};
use crate::world::{self, net::TcpStream};

/// Longest wait for somebody to lead. Source: Marathon asks 10 times, 250 ms apart.
pub const LEADER_WAIT: Duration = Duration::from_millis(2_500);

/// Longest wait for the leader to accept the connection. Source: Marathon's
/// `leader_proxy_connection_timeout`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest work of the leader on one request: it may read a body for 30 s and wait for
/// its quorum for 10 s; more means that it waits behind others.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(42);

/// Longest wait for the leader's answer to begin: the leader should be the one to say
/// that it took too long.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Longest time for the whole exchange, bodies included.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a leader that was replaced may still answer what it was given.
const DEPOSED_GRACE: Duration = Duration::from_millis(500);

/// Headers that end at one connection, and `Expect`, which this server has answered.
/// Source: RFC 9110, 7.6.1.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// Appended to with every proxy.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who answers a request.
enum Answerer {
    /// This master: it leads.
    Here,
    /// Another one, on a connection that stands.
    There(Master, SendRequest<Body>),
}

/// Answers here when this master leads or the route is everybody's; otherwise passes on.
pub(super) async fn forward_unless_leader(
    State(context): State<Context>,
    request: Request,
    next: Next,
) -> Response {
    if context.leadership().leads || is_answered_by_all(&request) {
        return next.run(request).await;
    }
    if has_passed(request.headers(), &context.me) {
        return bad_gateway("Detected proxying loop.").into_response();
    }
    match find_answerer(&context).await {
        Ok(Answerer::Here) => next.run(request).await,
        Ok(Answerer::There(leader, sender)) => {
            forward(&context, &leader, sender, request).await.unwrap_or_else(IntoResponse::into_response)
        }
        Err(error) => error.into_response(),
    }
}

fn bad_gateway(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, message)
}

/// Whether any master may answer: about itself, or from state that may lag.
fn is_answered_by_all(request: &Request) -> bool {
    let path = request.uri().path();
    let is_own = matches!(path, "/" | "/ui" | "/ping" | "/ready" | "/metrics" | "/v1/members")
        || path.starts_with("/ui/")
        || path.starts_with("/metrics/");
    // A question changes nothing, though it comes with a body.
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD) || path == "/v1/what-if";
    is_own || (is_read && Query::parse(request.uri().query().unwrap_or_default()).is_stale())
}

/// This master's entry in the via header.
fn via_of(me: &Master) -> String {
    format!("1.1 {}", me.http)
}

fn has_passed(headers: &HeaderMap, me: &Master) -> bool {
    let own = via_of(me);
    let values = headers.get_all(VIA).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|entry| entry.trim() == own)
}

/// Finds who leads and connects to it. While nothing was passed yet, a leader that is
/// replaced is given up for the new one.
async fn find_answerer(context: &Context) -> Result<Answerer, ApiError> {
    let finding = async {
        loop {
            let Some(leader) = find_leader(context).await? else { return Ok(Answerer::Here) };
            tokio::select! {
                biased;
                sender = connect(&leader) => return Ok(Answerer::There(leader, sender?)),
                () = replaced(context, &leader) => {}
            }
        }
    };
    let late = |_| bad_gateway("Connection to leader timed out.");
    tokio::time::timeout(LEADER_WAIT + CONNECT_TIMEOUT, finding).await.map_err(late)?
}

/// Waits until this master leads (nothing is given) or another one does.
async fn find_leader(context: &Context) -> Result<Option<Master>, ApiError> {
    let mut watch = context.leadership_watch();
    let me = context.me.node;
    let someone = |known: &Leadership| known.leads || known.leader.as_ref().is_some_and(|it| it.node != me);
    let waiting = watch.wait_for(someone);
    let found = tokio::time::timeout(LEADER_WAIT, waiting).await.ok().and_then(Result::ok);
    match found.map(|known| known.clone()) {
        Some(known) if known.leads => Ok(None),
        Some(Leadership { leader: Some(leader), .. }) => Ok(Some(leader)),
        _ if context.leadership().leader.is_some() => {
            let why = "this master was elected but hears from no majority of masters";
            Err(ControlError::Unavailable(why.to_owned()).into())
        }
        _ => Err(bad_gateway("Could not determine the current leader")),
    }
}

/// Comes once somebody else than `leader` leads.
async fn replaced(context: &Context, leader: &Master) {
    let mut watch = context.leadership_watch();
    let other = |known: &Leadership| known.leader.as_ref().is_some_and(|it| it.node != leader.node);
    if watch.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn forward(
    context: &Context,
    leader: &Master,
    mut sender: SendRequest<Body>,
    request: Request,
) -> Result<Response, ApiError> {
    let outgoing = outgoing(request, &context.me)?;
    let deposed = async {
        replaced(context, leader).await;
        tokio::time::sleep(DEPOSED_GRACE).await;
    };
    let lost = "The leader went away while it worked on the request; it may or may not have happened.";
    let answer = tokio::select! {
        biased;
        answer = sender.send_request(outgoing) => answer.map_err(|_| bad_gateway(lost))?,
        () = deposed => return Err(bad_gateway(lost)),
        () = tokio::time::sleep(ANSWER_TIMEOUT) => {
            let message = format!(
                "The leader did not answer within {} s; the request may or may not have happened.",
                ANSWER_TIMEOUT.as_secs()
            );
            return Err(bad_gateway(message));
        }
    };
    Ok(returned(answer, &context.me))
}

async fn connect(leader: &Master) -> Result<SendRequest<Body>, ApiError> {
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(leader.http.as_str())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(bad_gateway("Connection to leader refused."));
        }
        Ok(Err(error)) => {
            return Err(bad_gateway(format!("Connection to leader {} failed: {error}.", leader.http)));
        }
        Err(_) => return Err(bad_gateway(format!("Connection to leader {} timed out.", leader.http))),
    };
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| bad_gateway(format!("Connection to leader {} failed: {error}.", leader.http)))?;
    // Ends with the exchange; an error reaches whoever reads the answer.
    world::spawn(async move {
        let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, connection).await;
    });
    Ok(sender)
}

/// The request as the leader gets it: same method, path, host and body.
fn outgoing(request: Request, me: &Master) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let peer =
        parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_string());
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut outgoing = Request::builder().method(parts.method).uri(target).body(body).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, format!("Request target is invalid: {error}."))
    })?;
    let headers = outgoing.headers_mut();
    *headers = end_to_end(parts.headers);
    append_to(headers, VIA, &via_of(me));
    if let Some(peer) = peer {
        append_to(headers, FORWARDED_FOR, &peer);
    }
    Ok(outgoing)
}

/// The leader's answer as the client gets it.
fn returned(answer: hyper::Response<hyper::body::Incoming>, me: &Master) -> Response {
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = parts.status;
    *response.headers_mut() = end_to_end(parts.headers);
    append_to(response.headers_mut(), VIA, &via_of(me));
    response
}

/// Without the headers that concern one connection only.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
    headers
}

/// Adds an entry at the end of a list that may stretch over several lines.
fn append_to(headers: &mut HeaderMap, name: HeaderName, entry: &str) {
    let earlier = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = earlier.chain([entry]).collect();
    if let Ok(value) = HeaderValue::try_from(all.join(", ")) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_are_dropped_and_lists_grow() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, X-Mine"));
        headers.insert("x-mine", HeaderValue::from_static("1"));
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.insert(VIA, HeaderValue::from_static("1.1 a:1"));
        let mut headers = end_to_end(headers);
        append_to(&mut headers, VIA, "1.1 b:2");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.get(VIA).unwrap(), "1.1 a:1, 1.1 b:2");
        let me = Master { node: 2, http: "b:2".into(), cluster: String::new() };
        assert!(has_passed(&headers, &me));
        assert!(!has_passed(&headers, &Master { http: "b:22".into(), ..me }));
    }
}
