//! Load of our own where each request must differ: gRPC checks of tokens nobody saw before, and the minting of those tokens.
//!
//! Flows in: bodies, each sent once, over a few HTTP/2 connections with so many streams each. Flows out: how long it took, the time of
//! each request, and the answers' bodies where asked for. h2load sends one body over and over, so it cannot do this.

use crate::load::Run;
use crate::usage::{cpu_since, cpu_time, percentile};
use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Where and how the bodies are sent.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub path: &'static str,
    pub content_type: &'static str,
    pub connections: usize,
    pub streams: usize,
}

impl Target {
    /// The load of the saturated runs: as many connections and streams as h2load uses.
    pub fn checks(address: SocketAddr) -> Self {
        Self { address, path: CHECK, content_type: "application/grpc", connections: 8, streams: 32 }
    }
}

/// Each body once; the answers in the order of the bodies.
pub async fn answers(target: Target, bodies: &Arc<Vec<Bytes>>) -> Vec<Bytes> {
    send(target, bodies).await.into_iter().map(|(_, body)| body).collect()
}

/// Each body once, while the processes are watched.
pub async fn run(target: Target, bodies: &Arc<Vec<Bytes>>, watch: &[u32]) -> Run {
    let before: Vec<_> = watch.iter().map(|process| cpu_time(*process)).collect();
    let begun = Instant::now();
    let answers = send(target, bodies).await;
    let took = begun.elapsed().as_secs_f64();
    let cpu = watch.iter().zip(before).map(|(process, before)| cpu_since(*process, before).as_secs_f64() * 1e6);
    let cpu = cpu.map(|micros| micros / answers.len() as f64).collect();
    let micros: Vec<_> = answers.iter().map(|(micros, _)| *micros).collect();
    let requests = answers.len() as f64;
    Run { requests, rate: requests / took, p50: percentile(&micros, 50.0), p99: percentile(&micros, 99.0), cpu }
}

async fn send(target: Target, bodies: &Arc<Vec<Bytes>>) -> Vec<(f64, Bytes)> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..target.connections {
        let connection = connect(target.address).await;
        for _ in 0..target.streams {
            workers.push(tokio::spawn(worker(target, connection.clone(), Arc::clone(bodies), Arc::clone(&next))));
        }
    }
    let mut all: Vec<_> =
        join_all(workers).await.into_iter().flat_map(|done| done.expect("a worker ends well")).collect();
    all.sort_by_key(|(at, ..)| *at);
    all.into_iter().map(|(_, micros, body)| (micros, body)).collect()
}

pub async fn connect(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connect");
    stream.set_nodelay(true).expect("set nodelay");
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2 handshake");
    tokio::spawn(async move { connection.await.expect("the connection holds") });
    sender
}

async fn worker(
    target: Target,
    mut connection: http2::SendRequest<Full<Bytes>>,
    bodies: Arc<Vec<Bytes>>,
    next: Arc<AtomicUsize>,
) -> Vec<(usize, f64, Bytes)> {
    let mut done = Vec::new();
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(body) = bodies.get(at) else { return done };
        let (micros, body) = call(target, &mut connection, body.clone()).await;
        done.push((at, micros, body));
    }
}

/// Each body once, so many a second whether answers come or not; microseconds each took.
pub async fn paced(target: Target, bodies: &Arc<Vec<Bytes>>, per_second: u32) -> Vec<f64> {
    let connections = join_all((0..target.connections).map(|_| connect(target.address))).await;
    let (bodies, runtime) = (Arc::clone(bodies), Handle::current());
    // A thread's sleep, since the runtime's timers count whole milliseconds: at each, all that is paced by them would meet.
    let send_all = move || {
        let begun = Instant::now();
        let each = |(at, (body, connection)): (u32, (&Bytes, &http2::SendRequest<Full<Bytes>>))| {
            let due = begun + Duration::from_secs(1) * at / per_second;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (mut connection, body) = (connection.clone(), body.clone());
            runtime.spawn(async move { call(target, &mut connection, body).await.0 })
        };
        (0..).zip(bodies.iter().zip(connections.iter().cycle())).map(each).collect::<Vec<_>>()
    };
    let sent = tokio::task::spawn_blocking(send_all).await.expect("all are sent");
    join_all(sent).await.into_iter().map(|done| done.expect("an answer")).collect()
}

pub async fn call(target: Target, connection: &mut http2::SendRequest<Full<Bytes>>, body: Bytes) -> (f64, Bytes) {
    let request = Request::post(format!("http://{}{}", target.address, target.path))
        .header("content-type", target.content_type)
        .header("te", "trailers")
        .body(Full::new(body))
        .expect("a request");
    let begun = Instant::now();
    let answer = connection.send_request(request).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{answer:?}");
    let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
    (begun.elapsed().as_secs_f64() * 1e6, body)
}
