//! A gRPC client of `ext_authz` that sends exactly the bytes a test asks for: no library corrects or refuses them.

use crate::support::standalone::{HOST, POLICY};
use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// What a proxy would make of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// 200 where the request may pass.
    pub status: i32,
    pub headers: BTreeMap<String, String>,
    pub removed: Vec<String>,
}

/// Envoy's question about a request for `shop/orders`, its headers merged.
pub fn question(method: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let http = HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        host: HOST.to_owned(),
        scheme: "http".to_owned(),
        headers,
        ..HttpRequest::default()
    };
    let context_extensions = [("countersign.dev/policy".to_owned(), POLICY.to_owned())].into();
    let request = Some(Request { http: Some(http), ..Request::default() });
    CheckRequest { attributes: Some(AttributeContext { request, context_extensions, ..AttributeContext::default() }) }
}

/// The HTTP part of a question, to change.
pub fn http_of(question: &mut CheckRequest) -> &mut HttpRequest {
    let request = question.attributes.as_mut().and_then(|attributes| attributes.request.as_mut());
    request.and_then(|request| request.http.as_mut()).expect("made with one")
}

/// The answer to a question.
pub async fn check(verifier: SocketAddr, question: &CheckRequest) -> Seen {
    check_bytes(verifier, &question.encode_to_vec()).await
}

/// The answer to a message of these bytes, which is always a `CheckResponse`: a gRPC error would be taken for our failure.
pub async fn check_bytes(verifier: SocketAddr, message: &[u8]) -> Seen {
    let (status, body) = call(verifier, framed(message)).await.expect("an answer");
    assert_eq!(status.as_deref(), Some("0"), "a gRPC error");
    let answer = CheckResponse::decode(&body[5..]).expect("a CheckResponse");
    let code = answer.status.expect("a status").code;
    let (status, headers, removed) = match answer.http_response.expect("an HTTP answer") {
        HttpResponse::OkResponse(ok) => (200, ok.headers, ok.headers_to_remove),
        HttpResponse::DeniedResponse(denied) => (denied.status.expect("a status").code, denied.headers, Vec::new()),
        HttpResponse::ErrorResponse(error) => panic!("our failure: {error:?}"),
    };
    assert_eq!(code == 0, status == 200, "both say the same");
    let headers = headers.into_iter().filter_map(|option| option.header).map(|header| (header.key, header.value));
    Seen { status, headers: headers.collect(), removed }
}

/// A message as gRPC frames it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// The trailer `grpc-status` and the body of the answer to these bytes; nothing where the connection ended.
pub async fn call(verifier: SocketAddr, body: Vec<u8>) -> Option<(Option<String>, Bytes)> {
    timeout(PATIENCE, send(&mut connect(verifier).await, verifier, body)).await.expect("an answer in time")
}

/// An HTTP/2 connection.
pub async fn connect(verifier: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(verifier).await.expect("connect to the verifier");
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("speak HTTP/2");
    tokio::spawn(connection);
    sender
}

/// One call of Check.
pub async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    verifier: SocketAddr,
    body: Vec<u8>,
) -> Option<(Option<String>, Bytes)> {
    let request = http::Request::post(format!("http://{verifier}/envoy.service.auth.v3.Authorization/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let answer = sender.send_request(request).await.ok()?;
    let early = answer.headers().get("grpc-status").and_then(|status| Some(status.to_str().ok()?.to_owned()));
    let body = answer.into_body().collect().await.ok()?;
    let late = body.trailers().and_then(|trailers| Some(trailers.get("grpc-status")?.to_str().ok()?.to_owned()));
    Some((early.or(late), body.to_bytes()))
}
