//! The webhooks: one says at once what an installation would say to an object later, one puts an agent into pods that ask.
//!
//! ```text
//! API server ─► AdmissionReview ─┬─ /validate ─► judge (pure) over the Directory and what was asked ─► allowed, warnings
//!                                │               the conversions and checks of the roles themselves
//!                                └─ /inject ───► inject (pure) ─► a patch, warnings
//! ```
//! Flows in: objects somebody writes, SigningKeys somebody deletes, pods that ask for an agent. Flows out: a refusal that says
//! what to write instead, or warnings, and what is added to a pod. Nothing rests on the first: what it would refuse counts for
//! nothing all the same, so that it may be away. Without the second a pod that asks for an agent is not created.

mod callers;
mod deletion;
mod inject;
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
use tokio::sync::{Semaphore, SemaphorePermit};

use self::judge::{Premises, Verdict};
use self::review::Review;
use crate::http::body::{BodyLimits, read_json};
use crate::runtime::clock::Clock;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Condition;
use crate::runtime::tls::ClientJudge;
use crate::snapshot::Snapshot;

pub use inject::Settings as AgentSettings;
pub use rings::RingUse;

/// The API server takes no object of more than this, and gives up on an answer two seconds later.
const LIMITS: BodyLimits = BodyLimits { bytes: 3 * 1024 * 1024, deadline: Duration::from_secs(3) };

/// The most reviews whose bodies are read, or that wait for their turn: whoever reaches the port may send them, and slowly.
const MOST_READ: usize = 32;

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
    /// What agents are like that are injected; without it none is.
    pub agents: Option<AgentSettings>,
}

struct Admission {
    parts: Parts,
    reading: Semaphore,
    /// One review at a time is taken apart and judged: what it fills is many times its text.
    judging: Semaphore,
    allowed: Counter,
    refused: Counter,
    unreadable: Counter,
    injected: Counter,
    untouched: Counter,
    not_injected: Counter,
}

/// The webhooks' routes.
pub fn router(parts: Parts, metrics: &Metrics) -> Router {
    let help = "Answers of the admission webhooks";
    let [allowed, refused, unreadable] =
        metrics.counters("admission_reviews", help, "outcome", ["allowed", "refused", "unreadable"]);
    let help = "Pods that ask for an agent, by what became of it";
    let [injected, untouched, not_injected] =
        metrics.counters("agent_injections", help, "outcome", ["injected", "untouched", "refused"]);
    let known = parts.callers.clone().map(|judge| (judge, parts.clock.clone()));
    let (reading, judging) = (Semaphore::new(MOST_READ), Semaphore::new(1));
    let admission =
        Admission { parts, reading, judging, allowed, refused, unreadable, injected, untouched, not_injected };
    let routes = Router::new().route("/validate", post(validate)).route("/inject", post(inject_agent));
    let routes = routes.with_state(Arc::new(admission));
    match known {
        Some(known) => routes.layer(middleware::from_fn_with_state(known, callers::check)),
        None => routes,
    }
}

async fn validate(State(admission): State<Arc<Admission>>, request: Request<Body>) -> Response {
    if !admission.parts.listed.holds() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not every kind was listed yet\n").into_response();
    }
    match admission.read(request).await {
        Ok((review, _turn)) => admission.answer(&review),
        Err(answer) => answer,
    }
}

async fn inject_agent(State(admission): State<Arc<Admission>>, request: Request<Body>) -> Response {
    match admission.read(request).await {
        Ok((review, _turn)) => admission.inject(&review),
        Err(answer) => answer,
    }
}

impl Admission {
    /// What is asked, and the turn to answer it; or the answer to what is no question.
    async fn read(&self, request: Request<Body>) -> Result<(Review, SemaphorePermit<'_>), Response> {
        let busy = |_| (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at once\n").into_response();
        let _place = self.reading.try_acquire().map_err(busy)?;
        let (parts, body) = request.into_parts();
        let body = read_json(&parts, body, LIMITS).await.map_err(|error| self.not_understood(&error))?;
        let closed = |_| (StatusCode::SERVICE_UNAVAILABLE, "the webhook ends\n").into_response();
        let turn = self.judging.acquire().await.map_err(closed)?;
        let review = Review::parse(&body).map_err(|error| self.not_understood(&error))?;
        Ok((review, turn))
    }

    fn inject(&self, review: &Review) -> Response {
        let snapshot = self.parts.snapshot.load_full();
        let mut injection = inject::inject(review, self.parts.agents.as_ref(), &snapshot.directory);
        if !self.parts.listed.holds() {
            // Of clients nobody has listed yet there is nothing to say.
            injection.verdict.warnings.clear();
        }
        self.note(review, &injection.verdict);
        match (&injection.verdict.refusal, injection.patch.as_slice()) {
            (Some(_), _) => self.not_injected.inc(),
            (None, []) => self.untouched.inc(),
            (None, _) => self.injected.inc(),
        };
        let json = [(header::CONTENT_TYPE, "application/json")];
        (json, review.answer_with(&injection.verdict, &injection.patch).to_string()).into_response()
    }

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
