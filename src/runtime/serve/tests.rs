//! The accept loop over real sockets on loopback.

use axum::Router;
use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ServeError>>,
}

async fn start(limits: Limits) -> Running {
    let port = Port::bind("127.0.0.1:0".parse().unwrap(), None, limits).await.unwrap();
    let address = port.local_address().unwrap();
    let shutdown = Shutdown::new();
    let router = Router::new().route("/echo", post(async |body: String| body)).route(
        "/slow",
        post(async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            "late"
        }),
    );
    let task = tokio::spawn(port.serve(router, shutdown.clone()));
    Running { address, shutdown, task }
}

/// Everything the server says to these bytes until it closes or falls silent.
async fn say(address: SocketAddr, bytes: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_millis(700), stream.read_to_end(&mut answer)).await.is_ok();
    (String::from_utf8_lossy(&answer).into_owned(), closed)
}

#[tokio::test]
async fn tok_17_requests_with_an_ambiguous_end_get_400_and_the_connection_closes() {
    let server = start(Limits::default()).await;
    let smuggled = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    for (name, request) in [
        (
            "CL and TE",
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "TE and CL",
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        ("a fragment", "POST /echo#x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"),
        ("a fragment behind a query", "POST /echo?y#x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"),
        ("two equal lengths", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
        ("two lengths", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
        ("bare LF", "POST /echo HTTP/1.1\nHost: a\nContent-Length: 1\n\na"),
        ("bare LF in headers", "POST /echo HTTP/1.1\r\nHost: a\nContent-Length: 1\r\n\r\na"),
        ("obs-fold", "POST /echo HTTP/1.1\r\nHost: a\r\nX-Fold: b\r\n c\r\nContent-Length: 1\r\n\r\na"),
        ("TE not chunked", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        ("space before colon", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\na"),
        ("empty chunk size", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n"),
    ] {
        let (answer, closed) = say(server.address, format!("{request}{smuggled}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && closed, "{name}: {answer:?} closed={closed}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: nothing behind it is answered: {answer:?}");
    }
}

#[tokio::test]
async fn requests_follow_one_another_on_a_connection_and_a_chunked_one_ends_it() {
    let server = start(Limits::default()).await;
    let one = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na";
    let (answer, closed) = say(server.address, one.repeat(3).as_bytes()).await;
    assert_eq!((answer.matches("HTTP/1.1 200 OK").count(), closed), (3, false), "{answer}");
    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n";
    let (answer, closed) = say(server.address, format!("{chunked}{one}").as_bytes()).await;
    assert_eq!((answer.matches("HTTP/1.1 200 OK").count(), closed), (1, true), "{answer}");
}

#[tokio::test]
async fn silent_and_slow_clients_are_closed() {
    let limits = Limits { header_read_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start(limits).await;
    for bytes in ["", "POST /echo HTTP/1.1\r\nHost:", "PRI * HTT"] {
        let (answer, closed) = say(server.address, bytes.as_bytes()).await;
        assert!(closed, "{bytes:?}: {answer:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_later() {
    let limits = Limits {
        header_read_timeout: Duration::from_millis(50),
        idle: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = start(limits).await;
    let request = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na";
    let (answer, closed) = say(server.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && closed, "{answer}");
}

#[tokio::test]
async fn shutdown_answers_what_is_in_hand_and_accepts_nothing_more() {
    let server = start(Limits::default()).await;
    let request = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let in_hand = tokio::spawn(say(server.address, request));
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.request();
    let (answer, closed) = in_hand.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("late") && closed, "{answer}");
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_drain_time_bounds_shutdown() {
    let server = start(Limits { drain: Duration::from_millis(20), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.request();
    server.task.await.unwrap().unwrap();
    // The answer that was in hand had no time left: the other end sees the connection close without it.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let server = start(Limits::default()).await;
    let many = "X: y\r\n".repeat(200);
    let (answer, _) = say(server.address, format!("POST /echo HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

/// One request over HTTP/2; the answer's status, or nothing where none came.
async fn over_http2(address: SocketAddr, target: &str) -> Option<u16> {
    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("http://{address}{target}")).body(axum::body::Body::from("a")).unwrap();
    let answer = sender.send_request(request).await;
    driver.abort();
    answer.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn an_http2_connection_without_requests_is_asked_to_end_though_its_pings_are_answered() {
    let server = start(Limits { idle: Duration::from_millis(200), ..Limits::default() }).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut requests, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post("http://a/echo").body("hello".to_owned()).unwrap();
    assert_eq!(requests.send_request(request).await.unwrap().status(), 200);
    let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
    assert!(ended.is_ok_and(|ended| ended.is_ok()), "the server ends it");
}

#[tokio::test]
async fn a_port_without_http2_answers_no_request_over_it() {
    let server = start(Limits::default()).await;
    assert_eq!(over_http2(server.address, "/echo").await, Some(200));
    let server = start(Limits { http2: false, ..Limits::default() }).await;
    assert_eq!(over_http2(server.address, "/echo").await, None);
    let (answer, _) = say(server.address, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn once_the_end_is_announced_each_answer_ends_its_connection_and_new_ones_are_still_served() {
    let server = start(Limits::default()).await;
    let one = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na";
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    kept.write_all(one.as_bytes()).await.unwrap();
    let mut first = [0; 512];
    let read = kept.read(&mut first).await.unwrap();
    let first = String::from_utf8_lossy(&first[..read]).into_owned();
    assert!(first.starts_with("HTTP/1.1 200 OK") && !first.contains("connection: close"), "{first}");
    server.shutdown.announce();
    kept.write_all(one.as_bytes()).await.unwrap();
    let mut second = String::new();
    kept.read_to_string(&mut second).await.unwrap();
    assert!(second.starts_with("HTTP/1.1 200 OK") && second.contains("connection: close"), "{second}");
    let (fresh, closed) = say(server.address, one.as_bytes()).await;
    assert!(fresh.starts_with("HTTP/1.1 200 OK") && closed, "{fresh}");
    assert_eq!(over_http2(server.address, "/echo").await, Some(200));
}
