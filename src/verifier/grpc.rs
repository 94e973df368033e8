//! Envoy `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Flows in: a `CheckRequest`. Flows out: a `CheckResponse`, always: a gRPC error would be taken for the verifier's failure,
//! which a proxy may be told to let pass, so whatever a client can bring about is a denial instead. That includes bytes
//! which are no `CheckRequest`, since a header that is not UTF-8 makes some.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use bytes::Buf;
use countersign_core::policy::{Refusal, Status};
use countersign_core::request::{Ambiguity, Headers, RequestParts};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};

use super::counters::Wire;
use super::identity::Pass;
use super::judge::Ask;
use super::{REALM, Verifier, body_of};

/// The key under which a proxy's configuration names the policy.
const POLICY: &str = "countersign.dev/policy";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Far above what a proxy lets through, so that no client can make an answer of tonic's own.
const MAX_MESSAGE: usize = 64 << 20;
/// Header lines of a request that is judged.
const MAX_HEADERS: usize = 1000;

pub(super) fn router(verifier: &Arc<Verifier>) -> Router {
    let verifier = Arc::clone(verifier);
    let service = tower::service_fn(move |request: axum::extract::Request| {
        let check = Check(Arc::clone(&verifier));
        async move {
            let mut grpc = Grpc::new(CheckCodec).max_decoding_message_size(MAX_MESSAGE);
            Ok::<_, std::convert::Infallible>(grpc.unary(check, request).await)
        }
    });
    Router::new().route_service(CHECK, service)
}

/// One call.
struct Check(Arc<Verifier>);

impl UnaryService<Received> for Check {
    type Response = CheckResponse;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<CheckResponse>, tonic::Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Received>) -> Self::Future {
        let verifier = Arc::clone(&self.0);
        Box::pin(async move { Ok(tonic::Response::new(verifier.check(request.into_inner()).await)) })
    }
}

// === impl Verifier ===

impl Verifier {
    async fn check(&self, Received(request): Received) -> CheckResponse {
        let attributes = request.and_then(|request| request.attributes);
        let context = attributes.as_ref().map(|attributes| &attributes.context_extensions);
        let policy = context.and_then(|context| context.get(POLICY)).map(String::as_str);
        let http = attributes.as_ref().and_then(|attributes| attributes.request.as_ref()?.http.as_ref());
        let Some((http, headers)) = http.and_then(|http| Some((http, EnvoyHeaders::read(http)?))) else {
            return denied(&self.refuse(Wire::Grpc, Refusal::ambiguous(Ambiguity::Header)));
        };
        let parts = RequestParts {
            method: &http.method,
            scheme: &http.scheme,
            host: &http.host,
            target: &http.path,
            headers: &headers,
        };
        match self.judge(Ask { wire: Wire::Grpc, policy, parts }).await {
            Ok(pass) => allowed(&pass, &headers),
            Err(refusal) => denied(&refusal),
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

fn allowed(pass: &Pass, headers: &dyn Headers) -> CheckResponse {
    let response = OkHttpResponse {
        headers: pass.headers().map(|(name, value)| header(name, value)).collect(),
        headers_to_remove: pass.removals(headers),
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(rpc::Status::default()),
        http_response: Some(HttpResponse::OkResponse(response)),
        dynamic_metadata: None,
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

/// As tonic's own codec, but unreadable messages reach the service.
#[derive(Clone, Copy)]
struct CheckCodec;

impl Codec for CheckCodec {
    type Encode = CheckResponse;
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
    type Item = CheckResponse;
    type Error = tonic::Status;

    fn encode(&mut self, item: CheckResponse, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        item.encode(buffer).map_err(|error| tonic::Status::internal(error.to_string()))
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
