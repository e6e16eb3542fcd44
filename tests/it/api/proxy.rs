//! A standby passes requests to the leader, over real sockets. Source: spec 1.1.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use http_body_util::BodyExt;
use platformd::api::{LEADER_WAIT, serve};
use platformd::store::Leadership;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::bench::{Answer, Bench, master};

/// A bench that is served on a socket of its own; ends when dropped.
pub struct Served {
    pub bench: Bench,
    pub address: String,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn served(node: u64, leadership: impl FnOnce(&str) -> Leadership) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let bench = Bench::with(master(node, &address), leadership(&address));
    let stop = CancellationToken::new();
    platformd::world::spawn(serve(listener, bench.router.clone(), stop.clone()));
    Served { bench, address, stop }
}

pub async fn leader() -> Served {
    served(1, |own| Leadership { term: 1, leads: true, leader: Some(master(1, own)) }).await
}

/// A standby that believes in the leader at this address.
async fn standby_of(leader: &str) -> Served {
    served(2, |_| Leadership { term: 1, leads: false, leader: Some(master(1, leader)) }).await
}

async fn standby_alone() -> Served {
    served(2, |_| Leadership { term: 1, leads: false, leader: None }).await
}

/// One request over a real socket.
pub async fn ask(address: &str, request: Request<Body>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    platformd::world::spawn(connection);
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).header("host", "paas").body(Body::empty()).unwrap()
}

/// As another master passes it on.
fn get_from(uri: &str, via: &str) -> Request<Body> {
    Request::get(uri).header("host", "paas").header("x-marathon-via", via).body(Body::empty()).unwrap()
}

fn post(uri: &str, body: &Value) -> Request<Body> {
    let request = Request::post(uri).header("host", "paas").header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

/// Accepts one connection and lets a test play the leader on it.
async fn impostor() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn a_standby_passes_requests_and_answers_on() {
    let leader = leader().await;
    let standby = standby_of(&leader.address).await;
    let created = ask(&standby.address, post("/v2/apps?force=true", &json!({"id": "/a", "cmd": "x"}))).await;
    let created = created.expect_status(201);
    assert_eq!(created.header("x-marathon-via"), format!("1.1 {}", standby.address));
    assert_eq!(created.header("x-marathon-leader"), format!("http://{}", leader.address));
    assert_eq!(created.header("location"), "http://paas/a");
    assert_eq!(leader.bench.state().apps.len(), 1);
    assert!(standby.bench.state().apps.is_empty());
    ask(&standby.address, get("/v2/apps//a")).await.expect_status(200);
    ask(&standby.address, get("/v2/apps/b")).await.expect_status(404);
    let who = ask(&standby.address, get("/v2/leader")).await;
    who.expect(200, json!({"leader": leader.address}));
}

#[tokio::test]
async fn every_master_answers_for_itself_where_it_may() {
    let standby = standby_alone().await;
    for (uri, status) in
        [("/ping", 200), ("/metrics", 200), ("/ui/", 200), ("/", 302), ("/v2/apps?stale=true", 200)]
    {
        let answer = ask(&standby.address, get(uri)).await.expect_status(status);
        assert_eq!(answer.header("x-marathon-via"), "", "{uri}");
    }
}

#[tokio::test]
async fn the_leader_hears_where_a_request_came_from_and_nothing_of_the_connection() {
    let (listener, address) = impostor().await;
    let standby = standby_of(&address).await;
    let playing = platformd::world::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=5\r\nx-mine: 1\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head[..read].to_vec()).unwrap().to_ascii_lowercase()
    });
    let request =
        Request::get("/v2/info?x=%2F").header("host", "paas").header("connection", "close, x-secret");
    let request = request.header("x-secret", "1").header("x-forwarded-for", "10.0.0.1").header("te", "gzip");
    let answer = ask(&standby.address, request.body(Body::empty()).unwrap()).await.expect_status(200);
    assert_eq!((answer.text.as_str(), answer.header("x-mine"), answer.header("keep-alive")), ("ok", "1", ""));
    let head = playing.await.unwrap();
    assert!(head.starts_with("get /v2/info?x=%2f http/1.1\r\n"), "{head}");
    assert!(head.contains("host: paas\r\n"), "{head}");
    assert!(head.contains("x-forwarded-for: 10.0.0.1, 127.0.0.1\r\n"), "{head}");
    assert!(head.contains(&format!("x-marathon-via: 1.1 {}\r\n", standby.address)), "{head}");
    for dropped in ["x-secret", "te:", "connection:"] {
        assert!(!head.contains(dropped), "{dropped} in {head}");
    }
}

#[tokio::test]
async fn bodies_stream_through_a_standby() {
    let leader = leader().await;
    let standby = standby_of(&leader.address).await;
    let mut text = json!({"id": "/a", "cmd": "x"}).to_string().into_bytes();
    text.resize(3 * 1024 * 1024, b' ');
    let chunks: Vec<_> =
        text.chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk))).collect();
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    let request = Request::post("/v2/apps").header("host", "paas").header("content-type", "application/json");
    ask(&standby.address, request.body(body).unwrap()).await.expect_status(201);
    let large = Body::from(vec![b' '; 10 * 1024 * 1024]);
    let request = Request::post("/v2/apps").header("host", "paas").header("content-type", "application/json");
    ask(&standby.address, request.body(large).unwrap()).await.expect_status(413);
}

#[tokio::test]
async fn a_loop_is_found() {
    let first = standby_alone().await;
    let second = standby_of(&first.address).await;
    let believes = Leadership { term: 1, leads: false, leader: Some(master(3, &second.address)) };
    first.bench.store.leadership.send_replace(believes);
    let answer = ask(&second.address, get("/v2/apps")).await;
    let answer = answer.expect(502, json!({"message": "Detected proxying loop."}));
    assert_eq!(answer.header("x-marathon-via"), format!("1.1 {}, 1.1 {}", first.address, second.address));
}

#[tokio::test]
async fn a_leader_that_refuses_is_named() {
    let (listener, address) = impostor().await;
    drop(listener);
    let standby = standby_of(&address).await;
    let answer = ask(&standby.address, get("/v2/apps")).await;
    answer.expect(502, json!({"message": "Connection to leader refused."}));
}

#[tokio::test]
async fn a_leader_that_dies_with_the_request_is_502_at_once_and_nothing_is_repeated() {
    let (listener, address) = impostor().await;
    let standby = standby_of(&address).await;
    let playing = platformd::world::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        drop(stream);
        // Nobody may come back.
        tokio::time::timeout(Duration::from_millis(300), listener.accept()).await.is_err()
    });
    let began = tokio::time::Instant::now();
    let answer = ask(&standby.address, post("/v2/apps", &json!({"id": "/a"}))).await.expect_status(502);
    assert!(answer.text.contains("may or may not have happened"), "{}", answer.text);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(playing.await.unwrap());
}

/// A leader that takes one request, says `words` and dies; it says so when nobody came again for
/// a while.
async fn dying(words: &'static str) -> (String, JoinHandle<bool>) {
    let (listener, address) = impostor().await;
    let playing = platformd::world::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        stream.write_all(words.as_bytes()).await.unwrap();
        drop(stream);
        tokio::time::timeout(Duration::from_millis(300), listener.accept()).await.is_err()
    });
    (address, playing)
}

#[tokio::test]
async fn a_read_that_a_dying_leader_took_along_goes_to_the_next_one() {
    let next = leader().await;
    for method in ["GET", "HEAD"] {
        let (address, playing) = dying("").await;
        let standby = standby_of(&address).await;
        let asking = platformd::world::spawn({
            let standby = standby.address.clone();
            let request = Request::builder().method(method).uri("/v2/apps").header("host", "paas");
            async move { ask(&standby, request.body(Body::empty()).unwrap()).await }
        });
        assert!(playing.await.unwrap(), "nobody asks the dead one again");
        assert!(!asking.is_finished(), "it waits for the next leader");
        let elected = Leadership { term: 2, leads: false, leader: Some(master(3, &next.address)) };
        standby.bench.store.leadership.send_replace(elected);
        asking.await.unwrap().expect_status(200);
    }
}

#[tokio::test]
async fn a_read_is_answered_here_once_this_master_leads_and_by_one_elected_anew() {
    let (address, playing) = dying("").await;
    let standby = standby_of(&address).await;
    let own = Some(master(2, &standby.address));
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, get("/v2/apps")).await }
    });
    playing.await.unwrap();
    standby.bench.store.leadership.send_replace(Leadership { term: 2, leads: true, leader: own });
    assert_eq!(asking.await.unwrap().expect_status(200).header("x-marathon-via"), "");

    // Started again at another port before anybody else could be elected: a new term of the same node.
    let (address, playing) = dying("").await;
    let again = leader().await;
    let standby = standby_of(&address).await;
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, get("/v2/apps")).await }
    });
    playing.await.unwrap();
    let elected = Leadership { term: 2, leads: false, leader: Some(master(1, &again.address)) };
    standby.bench.store.leadership.send_replace(elected);
    asking.await.unwrap().expect_status(200);
}

#[tokio::test]
async fn a_read_that_a_former_leader_gives_back_goes_to_the_next_one() {
    let (next, former) = (leader().await, leader().await);
    *former.bench.store.is_deposed.lock().unwrap() = true;
    let standby = standby_of(&former.address).await;
    // A master that passes on repeats it; a former leader that was asked itself does so, too.
    for asked in [&standby, &former] {
        let refused = ask(&former.address, get_from("/v2/apps", "1.1 x")).await.expect_status(503);
        assert_eq!(refused.header("x-platformd-former-leader"), "true");
        let address = asked.address.clone();
        let asking = platformd::world::spawn(async move { ask(&address, get("/v2/apps")).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!asking.is_finished(), "it waits for the next leader");
        let elected = Leadership { term: 2, leads: false, leader: Some(master(3, &next.address)) };
        asked.bench.store.leadership.send_replace(elected);
        let answer = asking.await.unwrap().expect_status(200);
        assert_eq!(answer.header("x-marathon-via"), format!("1.1 {}", asked.address));
    }
}

#[tokio::test]
async fn a_read_without_a_next_leader_ends_within_the_wait() {
    let (address, _playing) = dying("").await;
    let standby = standby_of(&address).await;
    let began = tokio::time::Instant::now();
    let answer = ask(&standby.address, get("/v2/apps")).await.expect_status(502);
    assert!(answer.text.contains("no other one came"), "{}", answer.text);
    assert!(began.elapsed() >= LEADER_WAIT && began.elapsed() < 2 * LEADER_WAIT);
}

#[tokio::test]
async fn a_read_whose_answer_has_begun_is_not_repeated() {
    let next = leader().await;
    let (address, playing) = dying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
    let standby = standby_of(&address).await;
    let mut stream = TcpStream::connect(&standby.address).await.unwrap();
    stream.write_all(b"GET /v2/apps HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(playing.await.unwrap());
    let elected = Leadership { term: 2, leads: false, leader: Some(master(3, &next.address)) };
    standby.bench.store.leadership.send_replace(elected);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n{"), "{answer}");
}

#[tokio::test]
async fn what_a_dead_leader_never_got_goes_to_the_next_one_whatever_it_is() {
    let (listener, address) = impostor().await;
    drop(listener);
    let next = leader().await;
    let standby = standby_of(&address).await;
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, post("/v2/apps", &json!({"id": "/a", "cmd": "x"}))).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!asking.is_finished());
    let elected = Leadership { term: 2, leads: false, leader: Some(master(3, &next.address)) };
    standby.bench.store.leadership.send_replace(elected);
    asking.await.unwrap().expect_status(201);
    assert_eq!(next.bench.state().apps.len(), 1);
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_given_up_when_another_one_leads() {
    let (listener, address) = impostor().await;
    let standby = standby_of(&address).await;
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, get("/v2/apps")).await }
    });
    let (_silent, _) = listener.accept().await.unwrap();
    let other = Leadership { term: 2, leads: false, leader: Some(master(3, "127.0.0.1:1")) };
    standby.bench.store.leadership.send_replace(other);
    let answer = tokio::time::timeout(Duration::from_secs(5), asking).await.unwrap().unwrap();
    answer.expect_status(502);
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_given_up_when_nobody_leads() {
    let (listener, address) = impostor().await;
    let standby = standby_of(&address).await;
    for request in [get("/v2/apps"), post("/v2/apps", &json!({"id": "/a", "cmd": "x"}))] {
        let asking = platformd::world::spawn({
            let standby = standby.address.clone();
            async move { ask(&standby, request).await }
        });
        let (_silent, _) = listener.accept().await.unwrap();
        let nobody = Leadership { term: 1, leads: false, leader: None };
        let before = standby.bench.store.leadership.send_replace(nobody);
        let began = tokio::time::Instant::now();
        let answer = asking.await.unwrap().expect_status(502);
        assert!(answer.text.contains("fell silent"), "{}", answer.text);
        assert!(began.elapsed() >= LEADER_WAIT && began.elapsed() < 2 * LEADER_WAIT);
        standby.bench.store.leadership.send_replace(before);
    }
}

#[tokio::test]
async fn a_leader_that_is_heard_again_goes_on_with_what_it_was_given() {
    let (listener, address) = impostor().await;
    let standby = standby_of(&address).await;
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, get("/v2/apps")).await }
    });
    let (mut slow, _) = listener.accept().await.unwrap();
    let nobody = Leadership { term: 1, leads: false, leader: None };
    let before = standby.bench.store.leadership.send_replace(nobody);
    tokio::time::sleep(LEADER_WAIT / 4).await;
    standby.bench.store.leadership.send_replace(before);
    tokio::time::sleep(LEADER_WAIT).await;
    slow.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    asking.await.unwrap().expect_status(200);
}

/// A listener that accepts nobody any more: its queue is full.
async fn deaf() -> (TcpListener, Vec<TcpStream>, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(&address)).await
    {
        held.push(stream);
    }
    (listener, held, address)
}

#[tokio::test]
async fn a_leader_that_cannot_be_reached_is_given_up_for_the_next_one() {
    let (_listener, _held, address) = deaf().await;
    let leader = leader().await;
    let standby = standby_of(&address).await;
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, get("/v2/apps")).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!asking.is_finished());
    let next = Leadership { term: 2, leads: false, leader: Some(master(3, &leader.address)) };
    standby.bench.store.leadership.send_replace(next);
    asking.await.unwrap().expect_status(200);
}

#[tokio::test]
async fn a_standby_waits_for_a_leader_to_appear() {
    let leader = leader().await;
    let standby = standby_alone().await;
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, get("/v2/apps")).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!asking.is_finished());
    let found = Leadership { term: 2, leads: false, leader: Some(master(1, &leader.address)) };
    standby.bench.store.leadership.send_replace(found);
    asking.await.unwrap().expect_status(200);
}

#[tokio::test]
async fn a_standby_that_comes_to_lead_answers_itself() {
    let standby = standby_alone().await;
    let own = Some(master(2, &standby.address));
    let elected = Leadership { term: 2, leads: false, leader: own.clone() };
    standby.bench.store.leadership.send_replace(elected);
    let asking = platformd::world::spawn({
        let standby = standby.address.clone();
        async move { ask(&standby, get("/v2/apps")).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!asking.is_finished());
    standby.bench.store.leadership.send_replace(Leadership { term: 2, leads: true, leader: own });
    let answer = asking.await.unwrap().expect_status(200);
    assert_eq!(answer.header("x-marathon-via"), "");
}

#[tokio::test]
async fn without_a_leader_the_wait_ends() {
    let leadership = Leadership { term: 1, leads: false, leader: None };
    let bench = Bench::with(master(2, "127.0.0.1:8080"), leadership);
    let began = tokio::time::Instant::now();
    let answer = bench.get("/v2/apps").await;
    answer.expect(502, json!({"message": "Could not determine the current leader"}));
    assert!(began.elapsed() >= LEADER_WAIT && began.elapsed() < 2 * LEADER_WAIT);
}

#[tokio::test]
async fn an_elected_master_without_a_majority_says_so() {
    let me = master(2, "127.0.0.1:8080");
    let bench = Bench::with(me.clone(), Leadership { term: 1, leads: false, leader: Some(me) });
    let answer = bench.get("/v2/apps").await.expect_status(503);
    assert!(answer.text.contains("no majority of masters"), "{}", answer.text);
}

#[tokio::test]
async fn without_a_leader_or_a_majority_nobody_is_ready() {
    let me = master(2, "127.0.0.1:8080");
    for leader in [None, Some(me.clone())] {
        let bench = Bench::with(me.clone(), Leadership { term: 1, leads: false, leader });
        let answer = bench.get("/ready").await.expect_status(503);
        assert!(answer.text.contains("stale=true"), "{}", answer.text);
    }
}
