//! A standby passes a request whole to the leader. Source: spec 1.1, "Standby node".
//!
//! A write is passed once: if the leader died with it, it may have happened, and only the
//! client knows whether a repeat is safe. A read changes nothing: until its answer began it goes
//! to the next leader. Knows no routes but the few that every master answers by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::context::Context;
use super::error::ApiError;
use super::extract::Query;
use super::headers::{FORMER_LEADER, VIA};
use crate::control::ControlError;
use crate::store::{Leadership, Master};
use crate::world::{self, net::TcpStream};

/// Longest wait for somebody to lead, and for the next one after a leader was lost. Source:
/// Marathon asks 10 times, 250 ms apart.
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

/// Who leads, and since which term: a master that died and was elected again is another leader.
#[derive(Clone)]
struct Leader {
    master: Master,
    term: u64,
}

/// Who answers a request.
enum Answerer {
    /// This master: it leads.
    Here(Leader),
    /// Another one, on a connection that stands.
    There(Leader, SendRequest<Body>),
}

/// Why a request that was passed on got no answer.
enum Unanswered {
    /// The leader died or was replaced; the answer had not begun.
    Lost,
    /// Something that the next leader would not mend.
    For(ApiError),
}

/// Answers here when this master leads or the route is everybody's; otherwise passes on.
pub(super) async fn forward_unless_leader(
    State(context): State<Context>,
    request: Request,
    next: Next,
) -> Response {
    if is_answered_by_all(&request) {
        return next.run(request).await;
    }
    if !context.leadership().leads && has_passed(request.headers(), &context.me) {
        return bad_gateway("Detected proxying loop.").into_response();
    }
    answer(&context, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

/// Has whoever leads answer a request. A read that a dying or former leader took along goes to
/// the next one, as long as that one is found within [`LEADER_WAIT`] of the first loss.
async fn answer(context: &Context, mut request: Request, next: Next) -> Result<Response, ApiError> {
    // One that another master passed on is repeated by that one.
    let is_passed_on = request.headers().contains_key(VIA);
    let mut until = Instant::now() + LEADER_WAIT;
    let mut was_lost = false;
    loop {
        let repeat = repeat_of(&request).filter(|_| !is_passed_on);
        let (leader, answer) = match find_answerer(context, until).await? {
            Answerer::Here(leader) => (leader, Ok(next.clone().run(request).await)),
            Answerer::There(leader, sender) => {
                let answer = forward(context, &leader, sender, request).await;
                (leader, answer)
            }
        };
        // What to say if nobody takes over.
        let last_word = match answer {
            Ok(response) if !response.headers().contains_key(FORMER_LEADER) => return Ok(response),
            Ok(response) => Ok(response),
            Err(Unanswered::For(error)) => return Err(error),
            Err(Unanswered::Lost) => Err(bad_gateway(if repeat.is_some() {
                "The leader went away while it worked on the request, and no other one came."
            } else {
                "The leader went away while it worked on the request; it may or may not have happened."
            })),
        };
        let Some(repeat) = repeat else { return last_word };
        if !was_lost {
            (was_lost, until) = (true, Instant::now() + LEADER_WAIT);
        }
        if !has_successor(context, &leader, until).await {
            return last_word;
        }
        request = repeat;
    }
}

/// The same request once more, if it only reads.
fn repeat_of(request: &Request) -> Option<Request> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !request.body().is_end_stream() {
        return None;
    }
    let mut repeat = Request::new(Body::empty());
    *repeat.method_mut() = request.method().clone();
    *repeat.uri_mut() = request.uri().clone();
    *repeat.version_mut() = request.version();
    *repeat.headers_mut() = request.headers().clone();
    *repeat.extensions_mut() = request.extensions().clone();
    Some(repeat)
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
/// replaced is given up for the new one, and one that cannot be reached for the one that follows
/// before `until`.
async fn find_answerer(context: &Context, until: Instant) -> Result<Answerer, ApiError> {
    let finding = async {
        loop {
            let leader = find_leader(context, until).await?;
            if leader.master.node == context.me.node {
                return Ok(Answerer::Here(leader));
            }
            let error = tokio::select! {
                biased;
                connected = connect(&leader.master) => match connected {
                    Ok(sender) => return Ok(Answerer::There(leader, sender)),
                    Err(error) => error,
                },
                () = replaced(context, &leader.master) => continue,
            };
            if !has_successor(context, &leader, until).await {
                return Err(error);
            }
        }
    };
    let late = |_| bad_gateway("Connection to leader timed out.");
    tokio::time::timeout(LEADER_WAIT + CONNECT_TIMEOUT, finding).await.map_err(late)?
}

/// Waits until this master leads or another one does.
async fn find_leader(context: &Context, until: Instant) -> Result<Leader, ApiError> {
    let mut watch = context.leadership_watch();
    let me = context.me.node;
    let someone = |known: &Leadership| known.leads || known.leader.as_ref().is_some_and(|it| it.node != me);
    let waiting = watch.wait_for(someone);
    let found = tokio::time::timeout_at(until, waiting).await.ok().and_then(Result::ok);
    match found.map(|known| known.clone()) {
        Some(known) if known.leads => Ok(Leader { master: context.me.clone(), term: known.term }),
        Some(Leadership { leader: Some(master), term, .. }) => Ok(Leader { master, term }),
        _ if context.leadership().leader.is_some() => {
            let why = "this master was elected but hears from no majority of masters";
            Err(ControlError::Unavailable(why.to_owned()).into())
        }
        _ => {
            let unknown = "Could not determine the current leader";
            Err(bad_gateway(match context.members.outside() {
                Some(why) => format!("{unknown}. {why}"),
                None => unknown.to_owned(),
            }))
        }
    }
}

/// Waits until another master than `lost` leads, or the same in a later term; not beyond `until`.
async fn has_successor(context: &Context, lost: &Leader, until: Instant) -> bool {
    let mut watch = context.leadership_watch();
    let another = |known: &Leadership| {
        known.leader.as_ref().is_some_and(|it| it.node != lost.master.node || known.term > lost.term)
    };
    let found = tokio::time::timeout_at(until, watch.wait_for(another)).await;
    found.is_ok_and(|found| found.is_ok())
}

/// Comes once somebody else than `leader` leads.
async fn replaced(context: &Context, leader: &Master) {
    let mut watch = context.leadership_watch();
    let other = |known: &Leadership| known.leader.as_ref().is_some_and(|it| it.node != leader.node);
    if watch.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Comes once nobody has led for [`LEADER_WAIT`], as far as this master hears.
async fn leaderless(context: &Context) {
    let mut watch = context.leadership_watch();
    loop {
        if watch.wait_for(|known| known.leader.is_none()).await.is_err() {
            return std::future::pending().await;
        }
        let found = watch.wait_for(|known| known.leader.is_some());
        if tokio::time::timeout(LEADER_WAIT, found).await.is_err() {
            return;
        }
    }
}

async fn forward(
    context: &Context,
    leader: &Leader,
    mut sender: SendRequest<Body>,
    request: Request,
) -> Result<Response, Unanswered> {
    let outgoing = outgoing(request, &context.me).map_err(Unanswered::For)?;
    let deposed = async {
        replaced(context, &leader.master).await;
        tokio::time::sleep(DEPOSED_GRACE).await;
    };
    let answer = tokio::select! {
        biased;
        answer = sender.send_request(outgoing) => answer.map_err(|_| Unanswered::Lost)?,
        () = deposed => return Err(Unanswered::Lost),
        () = leaderless(context) => {
            let message = "The leader fell silent and no other one came; the request may or may not have happened.";
            return Err(Unanswered::For(bad_gateway(message)));
        }
        () = tokio::time::sleep(ANSWER_TIMEOUT) => {
            let message = format!(
                "The leader did not answer within {} s; the request may or may not have happened.",
                ANSWER_TIMEOUT.as_secs()
            );
            return Err(Unanswered::For(bad_gateway(message)));
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
