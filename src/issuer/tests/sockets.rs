//! The issuer behind the real accept loop.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::around::Around;
use super::world::World;
use crate::http::body::BodyLimits;
use crate::runtime::serve::{Limits, Port};
use crate::runtime::supervisor::Shutdown;

async fn serve(world: &World) -> SocketAddr {
    let port = Port::bind("127.0.0.1:0".parse().unwrap(), None, Limits::default()).await.unwrap();
    let address = port.local_address().unwrap();
    tokio::spawn(port.serve(world.router.clone(), Shutdown::new()));
    address
}

/// What comes back before the connection closes, and whether it closed by itself.
async fn say(address: SocketAddr, text: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await.is_ok();
    (String::from_utf8(answer).unwrap(), closed)
}

fn head(credentials: &str, rest: &str) -> String {
    let credentials = STANDARD.encode(credentials);
    format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{rest}\r\n"
    )
}

#[tokio::test]
async fn a_token_comes_back_over_a_socket() {
    let world = World::new();
    let address = serve(&world).await;
    let who = format!("shop.checkout:{}", world.secret("shop.checkout", 0));
    let body = "grant_type=client_credentials";
    let length = format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
    let (answer, _) = say(address, &format!("{}{body}", head(&who, &length))).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("access_token"), "{answer}");
}

#[tokio::test]
async fn tok_17_a_slow_body_gets_400_and_the_connection_closes() {
    let world =
        World::with(BodyLimits { deadline: Duration::from_millis(100), ..BodyLimits::default() }, Around::default());
    let address = serve(&world).await;
    for (rest, body) in
        [("Content-Length: 100\r\n", "grant_type="), ("Transfer-Encoding: chunked\r\n", "5\r\ngrant\r\n")]
    {
        let (answer, closed) = say(address, &format!("{}{body}", head("a:b", rest))).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && closed, "{rest:?}: {answer} closed={closed}");
    }
}

#[tokio::test]
async fn tok_09_a_large_body_is_refused_before_it_arrives() {
    let world = World::new();
    let address = serve(&world).await;
    let (answer, closed) = say(address, &head("a:b", "Content-Length: 1048576\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && closed, "{answer}");
}
