//! The validating webhook: says at once what an installation would say to an object later.
//!
//! ```text
//! API server ─► AdmissionReview ─► judge (pure) over the Directory and what was asked ─► allowed, warnings
//!                                  the conversions and checks of the roles themselves
//! ```
//! Flows in: objects somebody writes, SigningKeys somebody deletes. Flows out: a refusal that says what to write instead, or
//! warnings. Nothing rests on it: what it would refuse counts for nothing all the same, so that it may be away.

mod callers;
mod deletion;
mod judge;
mod review;
mod rings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use countersign_core::names::Namespace;
use prometheus_client::metrics::counter::Counter;

use self::judge::{Premises, Verdict};
use self::review::Review;
use crate::http::body::{BodyLimits, read_json};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Condition;
use crate::runtime::tls::ClientJudge;
use crate::snapshot::Snapshot;

pub use rings::RingUse;

/// The API server takes no object of more than this, and gives up on an answer two seconds later.
const LIMITS: BodyLimits = BodyLimits { bytes: 3 * 1024 * 1024, deadline: Duration::from_secs(3) };

/// What the webhook is given to work with.
pub struct Parts {
    pub snapshot: Live<Snapshot>,
    /// Holds once the first snapshot is there: before, nothing could be judged.
    pub listed: Condition,
    pub clock: Clock,
    pub system_namespace: Namespace,
    /// Since when nobody has named which ring.
    pub rings: RingUse,
    /// Judges who asks, by certificate; where there is none, whoever reaches the port is answered.
    pub callers: Option<ClientJudge>,
}

struct Admission {
    parts: Parts,
    allowed: Counter,
    refused: Counter,
    unreadable: Counter,
}

/// The webhook's one route.
pub fn router(parts: Parts, metrics: &Metrics) -> Router {
    let help = "Answers of the admission webhook";
    let [allowed, refused, unreadable] =
        metrics.counters("admission_reviews", help, "outcome", ["allowed", "refused", "unreadable"]);
    let known = parts.callers.clone().map(|judge| (judge, parts.clock.clone()));
    let admission = Arc::new(Admission { parts, allowed, refused, unreadable });
    let routes = Router::new().route("/validate", post(validate)).with_state(admission);
    match known {
        Some(known) => routes.layer(middleware::from_fn_with_state(known, callers::check)),
        None => routes,
    }
}

async fn validate(State(admission): State<Arc<Admission>>, request: Request<Body>) -> Response {
    if !admission.parts.listed.holds() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not every kind was listed yet\n").into_response();
    }
    let (parts, body) = request.into_parts();
    match read_json(&parts, body, LIMITS).await {
        Ok(body) => match Review::parse(&body) {
            Ok(review) => admission.answer(&review),
            Err(error) => admission.not_understood(&error),
        },
        Err(error) => admission.not_understood(&error),
    }
}

impl Admission {
    fn answer(&self, review: &Review) -> Response {
        let snapshot = self.parts.snapshot.load_full();
        let premises = Premises {
            snapshot: &snapshot,
            system_namespace: &self.parts.system_namespace,
            rings: &self.parts.rings,
            now: self.parts.clock.now(),
        };
        let verdict = judge::judge(review, &premises);
        self.note(review, &verdict);
        let json = [(header::CONTENT_TYPE, "application/json")];
        (json, review.answer(&verdict).to_string()).into_response()
    }

    /// Whatever is wrong with it: the API server tells its user what stands here.
    fn not_understood(&self, error: &dyn std::error::Error) -> Response {
        self.unreadable.inc();
        (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
    }

    fn note(&self, review: &Review, verdict: &Verdict) {
        let Some(refusal) = &verdict.refusal else {
            self.allowed.inc();
            return;
        };
        self.refused.inc();
        let (kind, operation) = (&review.kind, &review.operation);
        let (namespace, name) = (review.namespace.as_deref(), review.name.as_deref());
        tracing::info!(kind, operation, namespace, name, refusal, "an object was refused");
    }
}
