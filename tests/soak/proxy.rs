//! What stands between our processes and the API server in these stories: an HTTP proxy that fails as it is told.
//!
//! ```text
//! countersign ──► rule(call) ──► API server ──► line(call, event) of a watch ──► countersign
//!                   │ answer, hang, cut, delay, lose the answer, kill the caller     │ drop, replace, stall
//! ```
//! Flows in: plain HTTP with the caller's own credentials. Flows out: the same over TLS, or the fault. What the rule sees is
//! kept, so that a story can say what it counted.

use crate::support::testbed::Testbed;
use axum::body::{Body, to_bytes};
use futures::StreamExt;
use futures::stream;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinHandle};

/// A request as the rule sees it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Pass,
    /// Answered with this status; the API server never sees it.
    Answer(u16),
    /// Neither forwarded nor answered.
    Hang,
    /// The connection ends; nothing was forwarded.
    Cut,
    /// Forwarded and carried out; the connection ends before the answer.
    LoseAnswer,
    Delay(Duration),
    /// Held until `release`, then forwarded.
    Hold,
    /// The process of this id is killed before the request is forwarded, or after it was carried out.
    KillBefore(u32),
    KillAfter(u32),
}

/// What becomes of one event of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Keep,
    Drop,
    Replace(String),
    /// Nothing more ever comes, and the connection stays.
    Stall,
}

type Rule = Box<dyn FnMut(&Call) -> Act + Send>;
type Filter = Box<dyn FnMut(&Call, &str) -> Line + Send>;

pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    upstream: Client,
    rule: Mutex<Rule>,
    filter: Mutex<Filter>,
    away: AtomicBool,
    held: tokio::sync::watch::Sender<u32>,
    /// Each write that was answered, with its status.
    writes: Mutex<Vec<(Call, u16)>>,
    connections: Mutex<Vec<AbortHandle>>,
}

// === impl Call ===

impl Call {
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    pub fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }

    /// A write that is no Lease's: those come with time, not with what happens.
    pub fn is_step(&self) -> bool {
        self.is_write() && !self.path.contains("/leases")
    }
}

// === impl Proxy ===

impl Proxy {
    pub async fn start(testbed: &Testbed) -> Self {
        let file = Kubeconfig::read_from(testbed.kubeconfig()).expect("read the testbed's kubeconfig");
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let mut config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("use the kubeconfig");
        config.auth_info = AuthInfo::default();
        config.read_timeout = None;
        let upstream = Client::try_from(config).expect("make a client");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State {
            upstream,
            rule: Mutex::new(Box::new(|_| Act::Pass)),
            filter: Mutex::new(Box::new(|_, _| Line::Keep)),
            away: AtomicBool::new(false),
            held: tokio::sync::watch::Sender::new(0),
            writes: Mutex::default(),
            connections: Mutex::default(),
        });
        let task = tokio::spawn(Arc::clone(&state).accept(listener));
        Self { address, state, task }
    }

    /// What is done with each request from now on.
    pub fn rule(&self, rule: impl FnMut(&Call) -> Act + Send + 'static) {
        *self.state.rule.lock().unwrap() = Box::new(rule);
    }

    /// What is done with each event of a watch from now on.
    pub fn filter(&self, filter: impl FnMut(&Call, &str) -> Line + Send + 'static) {
        *self.state.filter.lock().unwrap() = Box::new(filter);
    }

    /// Everything passes again; what hangs or stalls goes on doing so.
    pub fn heal(&self) {
        self.rule(|_| Act::Pass);
        self.filter(|_, _| Line::Keep);
        self.state.away.store(false, Ordering::SeqCst);
    }

    /// The writes the API server answered since the last time, but Leases.
    pub fn take_steps(&self) -> Vec<(Call, u16)> {
        let writes = std::mem::take(&mut *self.state.writes.lock().unwrap());
        writes.into_iter().filter(|(call, _)| call.is_step()).collect()
    }

    /// Lets go what `Act::Hold` holds.
    pub fn release(&self) {
        self.state.held.send_modify(|round| *round += 1);
    }

    /// Ends every connection and takes no further one.
    pub fn go_away(&self) {
        self.state.away.store(true, Ordering::SeqCst);
        self.state.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.go_away();
        self.task.abort();
    }
}

// === impl State ===

impl State {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            if self.away.load(Ordering::SeqCst) {
                continue;
            }
            let state = Arc::clone(&self);
            let connection = tokio::spawn(async move {
                let serve = service_fn(|request| Arc::clone(&state).answer(request));
                // A connection that was cut is what was asked for.
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await);
            });
            let mut connections = self.connections.lock().unwrap();
            connections.retain(|connection| !connection.is_finished());
            connections.push(connection.abort_handle());
        }
    }

    async fn answer(self: Arc<Self>, request: http::Request<Incoming>) -> io::Result<http::Response<Body>> {
        let cut = || Err(io::ErrorKind::ConnectionAborted.into());
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.map_err(io::Error::other)?;
        let call = Call {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        let act = self.rule.lock().unwrap()(&call);
        let mut release = self.held.subscribe();
        match act {
            Act::Pass | Act::LoseAnswer | Act::KillAfter(_) => {}
            Act::Answer(status) => return Ok(refusal(status)),
            Act::Hang => std::future::pending().await,
            Act::Cut => return cut(),
            Act::Delay(delay) => tokio::time::sleep(delay).await,
            Act::Hold => drop(release.changed().await),
            Act::KillBefore(process) => {
                kill(process);
                return cut();
            }
        }
        let request = http::Request::from_parts(parts, kube::client::Body::from(body));
        let answer = self.upstream.send(request).await.map_err(io::Error::other)?;
        if call.is_write() {
            self.writes.lock().unwrap().push((call.clone(), answer.status().as_u16()));
        }
        match act {
            Act::LoseAnswer => return cut(),
            Act::KillAfter(process) => {
                kill(process);
                return cut();
            }
            _ => {}
        }
        Ok(if call.is_watch() { answer.map(|body| self.watch(call, body)) } else { answer.map(Body::new) })
    }

    /// The events of a watch, each shown to the filter.
    fn watch(self: Arc<Self>, call: Call, body: kube::client::Body) -> Body {
        let chunks = Body::new(body).into_data_stream();
        let lines = stream::unfold((chunks, Vec::new()), move |(mut chunks, mut waiting): (_, Vec<u8>)| {
            let (state, call) = (Arc::clone(&self), call.clone());
            async move {
                loop {
                    if let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = waiting.drain(..=end).collect();
                        let verdict = state.filter.lock().unwrap()(&call, &String::from_utf8_lossy(&line));
                        match verdict {
                            Line::Keep => return Some((Ok(line), (chunks, waiting))),
                            Line::Replace(other) => return Some((Ok(format!("{other}\n").into()), (chunks, waiting))),
                            Line::Drop => continue,
                            Line::Stall => std::future::pending().await,
                        }
                    }
                    match chunks.next().await? {
                        Ok(chunk) => waiting.extend_from_slice(&chunk),
                        Err(error) => return Some((Err(error), (chunks, waiting))),
                    }
                }
            }
        });
        Body::from_stream(lines)
    }
}

fn refusal(status: u16) -> http::Response<Body> {
    let reason = match status {
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let text = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": status, "reason": reason,
        "message": "told to fail",
    });
    let answer = http::Response::builder().status(status).header("content-type", "application/json");
    answer.body(Body::from(text.to_string())).expect("a plain answer")
}

/// Ends a process as a lost machine does.
fn kill(process: u32) {
    let sent = Command::new("kill").args(["-KILL", &process.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {process}");
}
