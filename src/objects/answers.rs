//! A layer under the client that looks at every answer of the API server.
//!
//! Flows in: requests and answers. Flows out: when the server was last heard (`Contact`), how far its clock is ahead of
//! ours (the clock's correction, from `Date`), and an error where no answer begins in time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, header};
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use tower::{BoxError, Layer, Service};

use crate::runtime::clock::Clock;
use crate::runtime::contact::Contact;

/// A `Date` header has whole seconds, so on average its answer was half a second later.
const HALF_A_SECOND: SignedDuration = SignedDuration::from_millis(500);
/// An answer slower than this says too little about when it was stamped.
const SLOW: SignedDuration = SignedDuration::from_secs(2);
/// What a measurement cannot tell from no difference.
const NOISE: SignedDuration = SignedDuration::from_secs(2);

#[derive(Clone)]
pub(super) struct AnswerLayer {
    pub(super) contact: Contact,
    pub(super) clock: Clock,
    /// Whether `Date` corrects the clock.
    pub(super) corrects: bool,
    /// How long an answer may take to begin.
    pub(super) deadline: Duration,
}

impl AnswerLayer {
    fn heard(&self, sent: Timestamp, date: Option<&header::HeaderValue>) {
        self.contact.touch(self.clock.now());
        let Some(date) = date.filter(|_| self.corrects).and_then(|date| http_date(date.as_bytes())) else { return };
        if let Some(offset) = offset(sent, self.clock.local(), date) {
            self.clock.set_correction(offset);
        }
    }
}

/// The server's clock minus ours: asked at `sent`, here at `now`, stamped `date`.
fn offset(sent: Timestamp, now: Timestamp, date: Timestamp) -> Option<SignedDuration> {
    let took = now.duration_since(sent);
    if took.is_negative() || took > SLOW {
        return None;
    }
    let offset = date.duration_since(sent) + HALF_A_SECOND - took / 2;
    Some(if offset.abs() < NOISE { SignedDuration::ZERO } else { offset })
}

/// The IMF-fixdate form of RFC 9110 section 5.6.7, which every current server sends.
fn http_date(text: &[u8]) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

impl<S> Layer<S> for AnswerLayer {
    type Service = AnswerService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AnswerService { inner, layer: self.clone() }
    }
}

pub(super) struct AnswerService<S> {
    inner: S,
    layer: AnswerLayer,
}

type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

impl<S, A, B> Service<Request<A>> for AnswerService<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Answer<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let layer = self.layer.clone();
        let sent = layer.clock.local();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = tokio::time::timeout(layer.deadline, answer).await??;
            layer.heard(sent, response.headers().get(header::DATE));
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_the_servers_time_minus_the_middle_of_the_call() {
        let sent: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let after = |seconds| sent + SignedDuration::from_secs(seconds);
        let date = http_date(b"Thu, 01 Jan 2026 00:00:42 GMT").unwrap();
        for (now, date, expected) in [
            (after(1), date, Some(SignedDuration::from_secs(42))),
            (after(1), after(1), Some(SignedDuration::ZERO)),
            (after(5), date, None),
            (after(-1), date, None),
        ] {
            assert_eq!(offset(sent, now, date), expected);
        }
    }
}
