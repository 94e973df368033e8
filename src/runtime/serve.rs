//! The accept loop: HTTP/1.1 and HTTP/2, with TLS or without, for whatever answers every request.
//!
//! Flows in: connections, up to a limit; each has to bring its TLS handshake and its first request in time, and a request now
//! and then from there on. Flows out:
//! requests with a `Peer` extension, and with the `ClientCertificate` the connection showed. Once shutdown is announced, answers over HTTP/1 end their connection, so that clients
//! look for another replica between two requests and none meets a close of ours; when it is requested, the port stops
//! accepting, lets requests in hand finish and closes.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderValue, Request, Response, Version, header};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt};

use crate::runtime::framing::Framing;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;
use crate::runtime::tls::ClientCertificate;

/// Who sent the request: the other end of the connection, whatever the headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
}

/// What one port puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// From a connection's beginning to its TLS handshake, and from there to its first request.
    pub header_read_timeout: Duration,
    /// From an answer over HTTP/1 to the headers of the next request; a connection that brings no request for so long is
    /// asked to end, and cut after as long again, answers it never took with it. Longer than proxies keep connections, so
    /// that they close them and no request meets a close of ours.
    pub idle: Duration,
    /// Header lines of a request.
    pub headers: usize,
    /// Bytes of a request's line and headers.
    pub header_bytes: usize,
    /// Whether HTTP/2 is spoken too. Its library drops a `#` and what follows from a request's target before anybody sees
    /// it; where the target is what is decided on, only HTTP/1.1 can be taken at its word.
    pub http2: bool,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// How long requests in hand may take once shutdown is requested.
    pub drain: Duration,
}

/// Why a port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("read the address listened on")]
    LocalAddress(#[source] io::Error),
}

/// A bound port.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
}

type BoxError = Box<dyn Error + Send + Sync>;

/// What a port can serve: axum's routes, or any other service that always has an answer.
pub trait Serves:
    Service<Request<Incoming>, Response = Response<Self::Answer>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    /// The body of an answer.
    type Answer: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> Serves for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Answer = B;
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            header_read_timeout: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            headers: 100,
            header_bytes: 64 * 1024,
            http2: true,
            streams: 256,
            drain: Duration::from_secs(15),
        }
    }
}

// === impl Port ===

impl Port {
    /// Binds the address; with no TLS configuration the port speaks plain HTTP.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerConfig>>, limits: Limits) -> Result<Self, ServeError> {
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
        Ok(Self { listener, tls, limits })
    }

    /// The address bound, with the port the kernel chose where 0 was asked for.
    pub fn local_address(&self) -> Result<SocketAddr, ServeError> {
        self.listener.local_addr().map_err(ServeError::LocalAddress)
    }

    /// Serves until shutdown is requested and the requests in hand are answered.
    pub async fn serve(self, service: impl Serves, shutdown: Shutdown) -> Result<(), ServeError> {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        let each = Each { builder: Arc::new(self.builder()), service, shutdown, limits: self.limits };
        let tls = self.tls.map(TlsAcceptor::from);
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = each.shutdown.requested() => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.listener, &slots) => accepted,
            };
            let (stream, peer, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "accept failed");
                    // Out of file descriptors, most likely: give connections a moment to end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (each, tls) = (each.clone(), tls.clone());
            connections.spawn(async move {
                each.accepted(stream, tls, peer).await;
                drop(slot);
            });
        }
        drop(self.listener);
        drain(connections, self.limits.drain).await;
        Ok(())
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let Limits { idle, headers, header_bytes, http2, streams, .. } = self.limits;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_headers(headers)
            .max_buf_size(header_bytes.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        if http2 { builder } else { builder.http1_only() }
    }
}

/// The other end of a connection, and the certificate it showed, if it did.
type From = (Peer, Option<ClientCertificate>);

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, Peer, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, Peer { address }, slot))
}

async fn drain(mut connections: JoinSet<()>, time: Duration) {
    let ended = tokio::time::timeout(time, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut that did not end within the drain time");
    }
}

/// What every connection of a port shares.
#[derive(Clone)]
struct Each<S> {
    builder: Arc<Builder<TokioExecutor>>,
    service: S,
    shutdown: Shutdown,
    limits: Limits,
}

// === impl Each ===

impl<S: Serves> Each<S> {
    async fn accepted(self, stream: TcpStream, tls: Option<TlsAcceptor>, peer: Peer) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = chain(&error), "connection lost before it was served");
            return;
        }
        let Some(tls) = tls else { return self.speak(stream, (peer, None)).await };
        match tokio::time::timeout(self.limits.header_read_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().map(ClientCertificate::new);
                self.speak(stream, (peer, shown)).await;
            }
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn speak<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: I, from: From) {
        let spoke = Arc::new(AtomicBool::new(false));
        // One handle a connection: cloning it takes a lock that every request of every port would wait for.
        let shutdown = Arc::new(self.shutdown.clone());
        let (noted, service) = (Arc::clone(&spoke), self.service);
        let answer = service_fn(move |request: Request<Incoming>| {
            noted.store(true, Ordering::Relaxed);
            answer(service.clone(), request, from.clone(), Arc::clone(&shutdown))
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(Framing::new(stream)), answer));
        let mut first_request = pin!(tokio::time::sleep(self.limits.header_read_timeout));
        let mut periods = interval_at(Instant::now() + self.limits.idle, self.limits.idle);
        let mut waiting = true;
        let mut ending = false;
        let outcome = loop {
            tokio::select! {
                biased;
                // First: a request that has arrived is answered before an idle connection is closed.
                outcome = connection.as_mut() => break outcome,
                // hyper's own timeout is `idle`, and starts once the protocol is known: a silent client never lets it.
                () = first_request.as_mut(), if waiting => {
                    if !spoke.load(Ordering::Relaxed) {
                        return;
                    }
                    waiting = false;
                }
                _ = periods.tick() => {
                    if spoke.swap(false, Ordering::Relaxed) {
                        waiting = false;
                    } else if ending {
                        return;
                    } else {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
                () = self.shutdown.requested(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(error = &*error, "connection ended with an error");
        }
    }
}

async fn answer<S: Serves>(
    service: S,
    mut request: Request<Incoming>,
    (peer, shown): From,
    shutdown: Arc<Shutdown>,
) -> Result<Response<S::Answer>, Infallible> {
    // `Framing` stops following at a chunked body, so nothing may come after it on this connection.
    let unfollowed = request.headers().contains_key(header::TRANSFER_ENCODING);
    let http1 = request.version() < Version::HTTP_2;
    request.extensions_mut().insert(peer);
    if let Some(shown) = shown {
        request.extensions_mut().insert(shown);
    }
    let mut response = service.oneshot(request).await?;
    if http1 && (unfollowed || shutdown.is_announced()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
