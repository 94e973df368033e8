//! Envoy `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Flows in: a `CheckRequest`. Flows out: a `CheckResponse`, always: a gRPC error would be taken for the verifier's failure,
//! which a proxy may be told to let pass, so whatever a client can bring about is a denial instead. That includes bytes
//! which are no `CheckRequest`, since a header that is not UTF-8 makes some.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use bytes::{BufMut, Bytes};
use countersign_core::policy::{Refusal, Status};
use countersign_core::request::Ambiguity;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as Value, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use prost::Message;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::Service;

use super::counters::Wire;
use super::judge::Ask;
use super::question::Question;
use super::{REALM, Verifier, body_of, passing};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// A larger message is denied, as is one that takes longer to arrive: Envoy has long stopped waiting by then.
const MAX_MESSAGE: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(1);
/// Messages beyond the usual size may be read so many at a time, so that memory is bounded whoever connects.
const USUAL_MESSAGE: usize = 64 << 10;
const LARGE_MESSAGES: usize = 64;
/// A message's length in four bytes, after one that says whether it is compressed.
const PREFIX: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");

/// A framed message and the status that ends a call.
pub(super) type Answer = Response<WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>>;

/// The one method there is. Read and answered here and not by a gRPC library, whose own refusals would be errors of ours.
pub(super) fn service<B>(
    verifier: &Arc<Verifier>,
) -> impl Service<Request<B>, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    let (verifier, large) = (Arc::clone(verifier), Arc::new(Semaphore::new(LARGE_MESSAGES)));
    tower::service_fn(move |request: Request<B>| {
        let (verifier, large) = (Arc::clone(&verifier), Arc::clone(&large));
        async move {
            if request.uri().path() != CHECK {
                return Ok(no_such_method());
            }
            let message = timeout(DEADLINE, read_message(request.into_body(), &large)).await.ok().flatten();
            Ok(answer(&verifier.check(message.and_then(Question::read)).await))
        }
    })
}

fn answer(message: &[u8]) -> Answer {
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    // No answer comes near 4 GiB: it is no longer than the question.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, OK);
    let mut response = Response::new(Full::new(frame.into()).with_trailers(ready(Some(Ok(trailers)))));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// What gRPC takes for `UNIMPLEMENTED`.
fn no_such_method() -> Answer {
    let mut response = Response::new(Full::default().with_trailers(ready(None)));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// One framed message, whole; nothing where it is too large, broken off, compressed or not alone.
async fn read_message(mut body: impl Body<Data = Bytes> + Unpin, large: &Semaphore) -> Option<Bytes> {
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
    let (&[compressed, length @ ..], message) = whole.split_first_chunk::<PREFIX>()?;
    let is_whole = usize::try_from(u32::from_be_bytes(length)).is_ok_and(|length| length == message.len());
    (compressed == 0 && is_whole).then(|| whole.slice(PREFIX..))
}

// === impl Verifier ===

impl Verifier {
    /// The answer, encoded. A question that could not be read is denied.
    async fn check(&self, question: Option<Question>) -> Vec<u8> {
        let Some(question) = question else {
            return denied(&self.refuse(Wire::Grpc, Refusal::ambiguous(Ambiguity::Header)));
        };
        match self.judge(Ask { wire: Wire::Grpc, policy: question.policy(), parts: question.parts() }).await {
            Ok(pass) => passing::encode(&pass, &question),
            Err(refusal) => denied(&refusal),
        }
    }
}

fn denied(refusal: &Refusal) -> Vec<u8> {
    let challenge = refusal.challenge(REALM).map(|challenge| header("www-authenticate", challenge));
    let retry = (refusal.status == Status::Unavailable).then(|| header("retry-after", "1".to_owned()));
    let response = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(refusal.status.code()) }),
        headers: challenge.into_iter().chain(retry).collect(),
        body: body_of(refusal),
    };
    let code = match refusal.status {
        Status::BadRequest => rpc::Code::InvalidArgument,
        Status::Unauthorized => rpc::Code::Unauthenticated,
        Status::Forbidden => rpc::Code::PermissionDenied,
        Status::Unavailable => rpc::Code::Unavailable,
    };
    let message = refusal.error.map_or("", |error| error.code()).to_owned();
    let response = CheckResponse {
        status: Some(rpc::Status { code: i32::from(code), message, details: Vec::new() }),
        http_response: Some(HttpResponse::DeniedResponse(response)),
        dynamic_metadata: None,
    };
    response.encode_to_vec()
}

fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(Value { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd),
        ..HeaderValueOption::default()
    }
}
