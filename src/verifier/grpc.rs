//! Envoy `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Flows in: a `CheckRequest`. Flows out: a `CheckResponse`, always: a gRPC error would be taken for the verifier's failure,
//! which a proxy may be told to let pass, so whatever a client can bring about is a denial instead. That includes bytes
//! which are no `CheckRequest`, since a header that is not UTF-8 makes some.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{Buf, BufMut, Bytes};
use countersign_core::policy::{Refusal, Status};
use countersign_core::request::{Ambiguity, Headers, RequestParts};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};

use super::counters::Wire;
use super::judge::Ask;
use super::{REALM, Verifier, body_of, passing};

/// The key under which a proxy's configuration names the policy.
const POLICY: &str = "countersign.dev/policy";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// A larger message is denied, as is one that takes longer to arrive: Envoy has long stopped waiting by then.
const MAX_MESSAGE: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(1);
/// Messages beyond the usual size may be read so many at a time, so that memory is bounded whoever connects.
const USUAL_MESSAGE: usize = 64 << 10;
const LARGE_MESSAGES: usize = 64;
/// The empty message as gRPC frames it: a question about nothing, which is denied.
const NOTHING: Bytes = Bytes::from_static(&[0; 5]);
/// Header lines of a request that is judged.
const MAX_HEADERS: usize = 1000;

pub(super) fn router(verifier: &Arc<Verifier>) -> Router {
    let (verifier, large) = (Arc::clone(verifier), Arc::new(Semaphore::new(LARGE_MESSAGES)));
    let service = tower::service_fn(move |request: axum::extract::Request| {
        let (check, large) = (Check(Arc::clone(&verifier)), Arc::clone(&large));
        async move {
            let (parts, body) = request.into_parts();
            // Read here and not by tonic, whose own refusals would be errors of ours.
            let message = timeout(DEADLINE, read_message(body, &large)).await.ok().flatten().unwrap_or(NOTHING);
            let request = axum::extract::Request::from_parts(parts, Full::new(message));
            Ok::<_, std::convert::Infallible>(Grpc::new(CheckCodec).unary(check, request).await)
        }
    });
    Router::new().route_service(CHECK, service)
}

/// One framed message, whole; nothing where it is too large, broken off, compressed or not alone.
async fn read_message(mut body: Body, large: &Semaphore) -> Option<Bytes> {
    let (mut whole, mut permit) = (Bytes::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        let length = whole.len() + data.len();
        if length > MAX_MESSAGE {
            return None;
        }
        if length > USUAL_MESSAGE && permit.is_none() {
            permit = Some(large.try_acquire().ok()?);
        }
        whole = if whole.is_empty() { data } else { [whole, data].concat().into() };
    }
    let (&[compressed, length @ ..], message) = whole.split_first_chunk::<5>()?;
    let is_whole = usize::try_from(u32::from_be_bytes(length)).is_ok_and(|length| length == message.len());
    (compressed == 0 && is_whole).then_some(whole)
}

/// One call.
struct Check(Arc<Verifier>);

impl UnaryService<Received> for Check {
    type Response = Encoded;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Encoded>, tonic::Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Received>) -> Self::Future {
        let verifier = Arc::clone(&self.0);
        Box::pin(async move { Ok(tonic::Response::new(verifier.check(request.into_inner()).await)) })
    }
}

// === impl Verifier ===

impl Verifier {
    async fn check(&self, Received(request): Received) -> Encoded {
        let attributes = request.and_then(|request| request.attributes);
        let context = attributes.as_ref().map(|attributes| &attributes.context_extensions);
        let policy = context.and_then(|context| context.get(POLICY)).map(String::as_str);
        let http = attributes.as_ref().and_then(|attributes| attributes.request.as_ref()?.http.as_ref());
        let Some((http, headers)) = http.and_then(|http| Some((http, EnvoyHeaders::read(http)?))) else {
            return Encoded::denied(&self.refuse(Wire::Grpc, Refusal::ambiguous(Ambiguity::Header)));
        };
        let parts = RequestParts {
            method: &http.method,
            scheme: &http.scheme,
            host: &http.host,
            target: &http.path,
            headers: &headers,
        };
        match self.judge(Ask { wire: Wire::Grpc, policy, parts }).await {
            Ok(pass) => Encoded(passing::encode(&pass, &headers)),
            Err(refusal) => Encoded::denied(&refusal),
        }
    }
}

/// The two forms in which Envoy sends headers; it uses one or the other.
enum EnvoyHeaders<'a> {
    Merged(&'a HashMap<String, String>),
    Raw(&'a HeaderMap),
}

// === impl EnvoyHeaders ===

impl<'a> EnvoyHeaders<'a> {
    /// Nothing when both forms are filled: which one a backend sees could not be told.
    fn read(http: &'a HttpRequest) -> Option<Self> {
        let raw = http.header_map.as_ref().filter(|map| !map.headers.is_empty());
        let headers = match raw {
            None => Self::Merged(&http.headers),
            Some(raw) if http.headers.is_empty() => Self::Raw(raw),
            Some(_) => return None,
        };
        (headers.len() <= MAX_HEADERS).then_some(headers)
    }

    fn len(&self) -> usize {
        match self {
            Self::Merged(headers) => headers.len(),
            Self::Raw(map) => map.headers.len(),
        }
    }
}

impl Headers for EnvoyHeaders<'_> {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        match self {
            Self::Merged(headers) => headers.iter().for_each(|(name, value)| each(name, value.as_bytes())),
            Self::Raw(map) => map.headers.iter().for_each(|header| {
                let raw = if header.raw_value.is_empty() { header.value.as_bytes() } else { &header.raw_value };
                each(&header.key, raw);
            }),
        }
    }
}

fn denied(refusal: &Refusal) -> CheckResponse {
    let challenge = refusal.challenge(REALM).map(|challenge| header("www-authenticate", challenge));
    let retry = (refusal.status == Status::Unavailable).then(|| header("retry-after", "1".to_owned()));
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(refusal.status.code()) }),
        headers: challenge.into_iter().chain(retry).collect(),
        body: body_of(refusal),
    };
    let code = match refusal.status {
        Status::BadRequest => tonic::Code::InvalidArgument,
        Status::Unauthorized => tonic::Code::Unauthenticated,
        Status::Forbidden => tonic::Code::PermissionDenied,
        Status::Unavailable => tonic::Code::Unavailable,
    };
    let message = refusal.error.map_or("", |error| error.code()).to_owned();
    CheckResponse {
        status: Some(rpc::Status { code: i32::from(code), message, details: Vec::new() }),
        http_response: Some(HttpResponse::DeniedResponse(response)),
        dynamic_metadata: None,
    }
}

fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd),
        ..HeaderValueOption::default()
    }
}

/// A message that arrived; nothing when it could not be read.
#[derive(Default)]
struct Received(Option<CheckRequest>);

/// A `CheckResponse` as it goes out.
struct Encoded(Vec<u8>);

impl Encoded {
    fn denied(refusal: &Refusal) -> Self {
        Self(denied(refusal).encode_to_vec())
    }
}

/// As tonic's own codec, but answers come encoded and unreadable messages reach the service.
#[derive(Clone, Copy)]
struct CheckCodec;

impl Codec for CheckCodec {
    type Encode = Encoded;
    type Decode = Received;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for CheckCodec {
    type Item = Encoded;
    type Error = tonic::Status;

    fn encode(&mut self, Encoded(bytes): Encoded, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        buffer.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for CheckCodec {
    type Item = Received;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Received>, tonic::Status> {
        // Taken out whole: what an unreadable message left behind would be read as the next one.
        let message = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(Received(CheckRequest::decode(message).ok())))
    }
}
