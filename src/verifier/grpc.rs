//! Envoy `ext_authz` over gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! Flows in: a `CheckRequest`. Flows out: a `CheckResponse`, always: a gRPC error would be taken for the verifier's failure,
//! which a proxy may be told to let pass, so whatever a client can bring about is a denial instead. That includes bytes
//! in which no question can be read, since a header that is not UTF-8 makes some. So nothing of a gRPC library is used, whose
//! own refusals would be errors of ours; five bytes of framing and one trailer are all there is to it (ADR 0005).

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use bytes::{BufMut, Bytes, BytesMut};
use countersign_core::policy::Refusal;
use countersign_core::request::Ambiguity;
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use tower::Service;

use super::counters::Wire;
use super::judge::Ask;
use super::question::Question;
use super::{Verifier, answers};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// A larger message is denied, as is one that takes longer to arrive: Envoy has long stopped waiting by then.
const MAX_MESSAGE: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(1);
/// Messages beyond this size are among the few large ones there may be at a time, so that memory is bounded whoever connects.
const USUAL_MESSAGE: usize = 64 << 10;
/// A message's length in four bytes, after one that says whether it is compressed.
const PREFIX: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");

/// A framed message and the status that ends a call.
pub(super) type Answer = Response<WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>>;

// === impl Verifier ===

impl Verifier {
    /// What is served on 9001: `envoy.service.auth.v3.Authorization`.
    pub fn grpc_service<B>(
        self: &Arc<Self>,
    ) -> impl Service<Request<B>, Response = Answer, Error = Infallible, Future: Send> + Clone + Send + 'static
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
    {
        let verifier = Arc::clone(self);
        tower::service_fn(move |request: Request<B>| {
            let verifier = Arc::clone(&verifier);
            async move {
                if request.uri().path() != CHECK {
                    return Ok(no_such_method());
                }
                let read = timeout(DEADLINE, verifier.read_message(request.into_body())).await;
                // The permit of a large message is held until it is answered.
                let (message, _permit) = read.ok().flatten().unwrap_or_default();
                Ok(answer(&verifier.check(&message).await))
            }
        })
    }

    /// One framed message, whole and without its frame; nothing where it is too large, broken off, compressed or not alone.
    async fn read_message(
        &self,
        mut body: impl Body<Data = Bytes> + Unpin,
    ) -> Option<(Bytes, Option<SemaphorePermit<'_>>)> {
        let (mut whole, mut permit) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.ok()?.into_data() else { continue };
            let length = whole.len() + data.len();
            if length > MAX_MESSAGE {
                return None;
            }
            if length > USUAL_MESSAGE && permit.is_none() {
                permit = Some(self.large_messages.try_acquire().ok()?);
            }
            whole.extend_from_slice(&data);
        }
        let (&[compressed, length @ ..], message) = whole.split_first_chunk::<PREFIX>()?;
        let is_whole = usize::try_from(u32::from_be_bytes(length)).is_ok_and(|length| length == message.len());
        (compressed == 0 && is_whole).then(|| (whole.split_off(PREFIX).freeze(), permit))
    }

    /// The answer, encoded. A question that cannot be read is denied.
    async fn check(&self, message: &[u8]) -> Vec<u8> {
        let Ok(question) = Question::read(message) else {
            return answers::deny(&self.refuse(Wire::Grpc, Refusal::ambiguous(Ambiguity::Header)));
        };
        let Question { policy, certificate, .. } = question;
        match self.judge(Ask { wire: Wire::Grpc, policy, parts: question.parts(), certificate }).await {
            Ok(pass) => answers::pass(&pass, &question),
            Err(refusal) => answers::deny(&refusal),
        }
    }
}

fn answer(message: &[u8]) -> Answer {
    let mut frame = Vec::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    // No answer comes near 4 GiB: it is little longer than the question.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, OK);
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
