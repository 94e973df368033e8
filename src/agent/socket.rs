//! Tokens on a unix socket: HTTP for whoever may open it.
//!
//! Flows in: `GET /token` and `POST /token/refresh`, both with `?name=` where there are several tokens. Flows out: answers as a
//! token endpoint gives them (RFC 6749 section 5.1), `expires_in` being what is left. Who may ask is decided by the socket's
//! mode: 0600, 0660 with the group, 0666 for whoever sees it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Access;
use super::answer::AccessToken;
use super::counters::{Counters, Renewal};
use super::files;
use super::keeper::{Refreshed, Shared};
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

/// Connections at a time; more wait.
const CONNECTIONS: usize = 64;
/// How many wait in the kernel's queue.
const BACKLOG: u32 = 128;
/// From one request to the headers of the next.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a request's line and headers.
const HEADERS: usize = 8192;
/// How long requests in hand may take once the end is requested.
const DRAIN: Duration = Duration::from_secs(3);

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("{path} is there and is no socket: name another place")]
    NotASocket { path: PathBuf },
    #[error("another process serves {path}")]
    Busy { path: PathBuf },
    #[error("listen on {path}")]
    Listen { path: PathBuf, source: io::Error },
    #[error("remove {path}")]
    Remove { path: PathBuf, source: io::Error },
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

#[derive(Clone)]
struct Served {
    kept: Arc<[Arc<Shared>]>,
    counters: Arc<Counters>,
}

// === impl Socket ===

impl Socket {
    /// Opens it, in place of what a crashed agent left. It appears under its name once its mode is set and it listens.
    pub(crate) fn bind(path: &Path, access: Access) -> Result<Self, SocketError> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(SocketError::NotASocket { path: path.to_owned() });
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(SocketError::Busy { path: path.to_owned() });
            }
            _ => {}
        }
        let listener = listen(path, access.of_socket());
        let listener = listener.map_err(|source| SocketError::Listen { path: path.to_owned(), source })?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until shutdown is requested; the socket is removed.
    pub(crate) async fn serve(self, routes: Router, shutdown: Shutdown) -> Result<(), SocketError> {
        let (slots, mut connections) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
        loop {
            let accepted = tokio::select! {
                () = shutdown.requested() => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.listener, &slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    let (routes, shutdown) = (routes.clone(), shutdown.clone());
                    connections.spawn(async move {
                        speak(stream, routes, shutdown).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        files::remove(&self.path).map_err(|source| SocketError::Remove { path: self.path.clone(), source })?;
        drop(self.listener);
        let drained = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::debug!(connections = connections.len(), "connections cut that did not end in time");
        }
        Ok(())
    }
}

/// Nobody can connect before it listens, and it does not before its mode is set.
fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let beside = files::beside(path);
    files::remove(&beside)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(&beside)?;
    fs::set_permissions(&beside, Permissions::from_mode(mode))?;
    let listener = socket.listen(BACKLOG)?;
    fs::rename(&beside, path)?;
    Ok(listener)
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &UnixListener, slots: &Arc<Semaphore>) -> io::Result<(UnixStream, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn speak(stream: UnixStream, routes: Router, shutdown: Shutdown) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(HEADERS);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shutdown.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(error = chain(&error), "connection ended with an error");
    }
}

/// What is served.
pub(crate) fn router(kept: Vec<Arc<Shared>>, counters: Arc<Counters>) -> Router {
    Router::new()
        .route("/token", get(token))
        .route("/token/refresh", post(refresh))
        .with_state(Served { kept: kept.into(), counters })
}

async fn token(State(served): State<Served>, uri: Uri) -> Response {
    let shared = match served.named(&uri) {
        Ok(shared) => shared,
        Err(refusal) => return *refusal,
    };
    let found = shared.token();
    served.counters.read(found.is_some());
    match found {
        Some((token, rest)) => given(&token, rest),
        None => unavailable(shared.rest()),
    }
}

async fn refresh(State(served): State<Served>, uri: Uri) -> Response {
    let shared = match served.named(&uri) {
        Ok(shared) => shared,
        Err(refusal) => return *refusal,
    };
    match shared.refresh().await {
        Refreshed::Token { token, rest, renewal } => {
            served.counters.refreshed(renewal);
            given(&token, rest)
        }
        Refreshed::Later(wait) => {
            served.counters.refreshed(Renewal::Failed);
            unavailable(wait)
        }
    }
}

impl Served {
    /// The token the request names; the only one where it names none.
    fn named(&self, uri: &Uri) -> Result<&Arc<Shared>, Box<Response>> {
        let asked = uri.query().unwrap_or_default();
        let name = form_urlencoded::parse(asked.as_bytes()).find_map(|(key, value)| (key == "name").then_some(value));
        let (status, why) = match (name, &*self.kept) {
            (None, [only]) => return Ok(only),
            (None, _) => (StatusCode::BAD_REQUEST, "add ?name= with one of"),
            (Some(name), kept) => match kept.iter().find(|shared| shared.name() == name) {
                Some(shared) => return Ok(shared),
                None => (StatusCode::NOT_FOUND, "no such token; there are"),
            },
        };
        let names: Vec<_> = self.kept.iter().map(|shared| shared.name()).collect();
        Err(Box::new(error(status, "invalid_request", &format!("{why}: {}", names.join(", ")))))
    }
}

fn given(token: &AccessToken, rest: Duration) -> Response {
    let mut body = json!({
        "access_token": token.value.as_str(),
        "token_type": "Bearer",
        "expires_in": rest.as_secs(),
    });
    if let (Some(scope), Some(members)) = (&token.scope, body.as_object_mut()) {
        members.insert("scope".to_owned(), json!(scope.as_ref()));
    }
    answer(StatusCode::OK, &body)
}

fn unavailable(wait: Duration) -> Response {
    let description = "there is no token right now; the agent's log says why, and it goes on asking";
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description);
    // A request under way has no next one: look again soon.
    let seconds = wait.min(Duration::from_mins(10)).as_secs().max(1);
    let seconds = if wait == Duration::MAX { 1 } else { seconds };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn error(status: StatusCode, code: &str, description: &str) -> Response {
    answer(status, &json!({"error": code, "error_description": description}))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.to_string()).into_response()
}
