//! Connections: many requests on one, slow ones, and stopping.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::bench::Bench;
use platformd::api::serve;

async fn read_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while !bytes.ends_with(b"pong") {
        let read = stream.read(&mut chunk).await.unwrap();
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn stopping_answers_what_was_asked_and_closes_what_lies_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bench = Bench::default();
    let stop = CancellationToken::new();
    let serving = platformd::world::spawn(serve(listener, bench.router.clone(), stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    }
    let began = tokio::time::Instant::now();
    stop.cancel();
    serving.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(read_answer(&mut stream).await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_client_that_asks_before_sending_much_is_told_no_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bench = Bench::default();
    let stop = CancellationToken::new();
    let serving = platformd::world::spawn(serve(listener, bench.router.clone(), stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /v2/apps HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 99000000\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = vec![0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(first, b"HTTP/1.1 413");
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn nonsense_on_the_wire_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bench = Bench::default();
    let stop = CancellationToken::new();
    let serving = platformd::world::spawn(serve(listener, bench.router.clone(), stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\x16\x03\x01 what is this\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    stop.cancel();
    serving.await.unwrap();
}
