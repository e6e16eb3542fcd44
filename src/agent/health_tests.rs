//! Probes against real sockets, and what they report.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::core_tests::{a_handle, a_launch};
use super::driver::TaskDriver;
use super::driver::fake::{FakeDriver, FakeMachine};
use super::effect::Input;
use super::health::{Watch, watch};
use super::verdict::Probe;
use crate::domain::{HealthCheck, HealthProtocol, LaunchCheck};
use crate::world;
use crate::world::net::TcpListener;

const SOON: Duration = Duration::from_secs(10);

/// A check every 50 ms.
fn a_check(protocol: HealthProtocol) -> HealthCheck {
    HealthCheck {
        protocol,
        path: Some("health".to_owned()),
        port_index: Some(0),
        port: None,
        command: Some("true".to_owned()),
        grace_period: Duration::ZERO,
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(500),
        max_consecutive_failures: 3,
        delay: Duration::ZERO,
        ignore_http_1xx: false,
        ipv6: false,
    }
}

/// Serves one fixed answer on a port of its own; notes the last request.
async fn serve(answer: &'static str) -> (u16, Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(std::sync::Mutex::new(String::new()));
    let noted = Arc::clone(&asked);
    world::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 1024];
            let count = stream.read(&mut request).await.unwrap_or(0);
            *noted.lock().unwrap() = String::from_utf8_lossy(&request[..count]).into_owned();
            let _ = stream.write_all(answer.as_bytes()).await;
            if answer.is_empty() {
                tokio::time::sleep(SOON).await;
            }
        }
    });
    (port, asked)
}

fn start(check: HealthCheck, port: Option<u16>, driver: FakeDriver) -> mpsc::Receiver<Input> {
    let (results, heard) = mpsc::channel(100);
    world::spawn(watch(Watch {
        check: LaunchCheck { index: 2, check, host_port: port },
        handle: a_handle("a"),
        host: "127.0.0.1".to_owned(),
        is_new: true,
        driver: Arc::new(driver),
        probes: Arc::new(Semaphore::new(4)),
        results,
    }));
    heard
}

async fn next(heard: &mut mpsc::Receiver<Input>) -> Probe {
    match timeout(SOON, heard.recv()).await.unwrap().unwrap() {
        Input::Probed { probe, .. } => probe,
        other => panic!("{other:?}"),
    }
}

/// The first answer of a check of `protocol` against a server that says `answer`.
async fn first(protocol: HealthProtocol, answer: &'static str) -> Option<String> {
    let (port, _) = serve(answer).await;
    let probe = next(&mut start(a_check(protocol), Some(port), FakeMachine::new().driver())).await;
    assert_eq!(probe.check, 2);
    probe.failure
}

#[tokio::test]
async fn success_is_an_answer_from_200_to_399() {
    for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"] {
        assert_eq!(first(HealthProtocol::Http, answer).await, None);
        assert_eq!(first(HealthProtocol::MesosHttp, answer).await, None);
    }
    let failure = first(HealthProtocol::Http, "HTTP/1.1 500 Internal Server Error\r\n\r\n").await;
    assert_eq!(failure.as_deref(), Some("500 Internal Server Error"));
    let failure = first(HealthProtocol::Http, "HTTP/1.1 404 Not Found\r\n\r\n").await;
    assert_eq!(failure.as_deref(), Some("404 Not Found"));
}

#[tokio::test]
async fn nonsense_and_silence_are_failures_with_a_cause() {
    let failure = first(HealthProtocol::Http, "SSH-2.0-OpenSSH\r\n").await.unwrap();
    assert!(failure.starts_with("no HTTP answer"), "{failure}");
    let failure = first(HealthProtocol::Http, "").await.unwrap();
    assert_eq!(failure, "no answer within 500ms");
}

#[tokio::test]
async fn the_request_names_path_and_host() {
    let (port, asked) = serve("HTTP/1.1 200 OK\r\n\r\n").await;
    next(&mut start(a_check(HealthProtocol::Http), Some(port), FakeMachine::new().driver())).await;
    let asked = asked.lock().unwrap().clone();
    assert!(asked.starts_with("GET /health HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{asked}");
}

#[tokio::test]
async fn an_answer_of_1xx_says_nothing_where_that_is_wanted() {
    let (port, _) =
        serve("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").await;
    let check = HealthCheck { ignore_http_1xx: true, ..a_check(HealthProtocol::Http) };
    let mut heard = start(check, Some(port), FakeMachine::new().driver());
    assert!(timeout(Duration::from_millis(400), heard.recv()).await.is_err());
    let mut heard = start(a_check(HealthProtocol::Http), Some(port), FakeMachine::new().driver());
    assert_eq!(next(&mut heard).await.failure.as_deref(), Some("101 Switching Protocols"));
}

#[tokio::test]
async fn tcp_asks_for_a_connection_only() {
    assert_eq!(first(HealthProtocol::Tcp, "").await, None);
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let probe =
        next(&mut start(a_check(HealthProtocol::MesosTcp), Some(closed), FakeMachine::new().driver())).await;
    assert!(probe.failure.unwrap().contains("cannot connect to 127.0.0.1"));
}

#[tokio::test]
async fn a_first_success_is_found_early_and_early_failures_say_so() {
    let check = HealthCheck { interval: Duration::from_secs(60), ..a_check(HealthProtocol::Tcp) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut heard = start(check, Some(address.port()), FakeMachine::new().driver());
    let probe = next(&mut heard).await;
    assert!(probe.is_early && probe.failure.is_some());
    let _listener = TcpListener::bind(address).await.unwrap();
    let found = async { while next(&mut heard).await.failure.is_some() {} };
    timeout(Duration::from_secs(3), found).await.unwrap();
}

#[tokio::test]
async fn commands_answer_by_their_exit_code_and_an_absent_engine_says_nothing() {
    let machine = FakeMachine::new();
    let driver = machine.driver();
    driver.start(&a_launch("a"), CancellationToken::new()).await.unwrap();
    let mut heard = start(a_check(HealthProtocol::Command), None, machine.driver());
    assert_eq!(next(&mut heard).await.failure, None);
    machine.set_check_result("", 3);
    let failed = async {
        loop {
            if let Some(failure) = next(&mut heard).await.failure {
                return failure;
            }
        }
    };
    assert_eq!(timeout(SOON, failed).await.unwrap(), "Command exited with status 3");
    machine.set_away(true);
    while timeout(Duration::from_millis(300), heard.recv()).await.is_ok() {}
    machine.set_away(false);
    assert!(next(&mut heard).await.failure.is_some());
}

#[tokio::test]
async fn https_is_named_as_not_supported() {
    let failure = first(HealthProtocol::Https, "").await.unwrap();
    assert!(failure.contains("HTTPS checks are not supported"), "{failure}");
}
