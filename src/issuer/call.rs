//! One call of a form endpoint: received, answered, counted and logged.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::Request;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use countersign_core::names::ClientId;
use prometheus_client::metrics::counter::Counter;

use crate::http::access_log::{Deed, Line};
use crate::http::body::{BodyLimits, read_form};
use crate::http::credentials::presented;
use crate::http::error::Refusal;
use crate::http::form::Form;
use crate::issuer::Issuer;
use crate::issuer::authenticate::{Caller, Origin};
use crate::runtime::metrics::Metrics;
use crate::runtime::serve::Peer;
use crate::runtime::tls::ClientCertificate;
use crate::runtime::traces::Span;
use crate::store::Use;

/// Which endpoint was called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    Token,
    Introspect,
    Revoke,
}

/// A call under way.
pub(super) struct Call {
    endpoint: Endpoint,
    begun: Instant,
    span: Span,
    peer: Option<IpAddr>,
    /// The certificate the connection showed.
    shown: Option<ClientCertificate>,
    /// The use of an assertion it noted.
    noted: Option<Use>,
    /// The client, once it authenticated.
    pub(super) client: Option<ClientId>,
    /// What was done that somebody may ask about later.
    pub(super) deed: Option<Deed>,
}

/// A request whose body has arrived.
pub(super) struct Received {
    parts: Parts,
    body: Bytes,
}

/// Answers by endpoint: good ones, then those refused with each class of status.
#[derive(Debug)]
pub(super) struct Outcomes([[Counter; 5]; 3]);

const CLASSES: [&str; 5] = ["ok", "bad_request", "unauthorized", "limited", "unavailable"];

// === impl Endpoint ===

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
        }
    }

    /// Whether what is refused here is part of the audit stream: what makes tokens, or ends them.
    const fn is_audited(self) -> bool {
        match self {
            Self::Token | Self::Revoke => true,
            Self::Introspect => false,
        }
    }
}

// === impl Outcomes ===

impl Outcomes {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self([
            metrics.counters("issuer_token_requests", "Token requests by outcome", "outcome", CLASSES),
            metrics.counters("issuer_introspect_requests", "Introspection requests by outcome", "outcome", CLASSES),
            metrics.counters("issuer_revoke_requests", "Revocation requests by outcome", "outcome", CLASSES),
        ])
    }

    fn count(&self, endpoint: Endpoint, status: u16) {
        let [token, introspect, revoke] = &self.0;
        let [ok, bad_request, unauthorized, limited, unavailable] = match endpoint {
            Endpoint::Token => token,
            Endpoint::Introspect => introspect,
            Endpoint::Revoke => revoke,
        };
        let counter = match status {
            0..400 => ok,
            401 => unauthorized,
            429 => limited,
            400..500 => bad_request,
            _ => unavailable,
        };
        counter.inc();
    }
}

/// Serves a request: answered by `answer`, counted and logged as this endpoint's.
pub(super) async fn serve(
    issuer: &Issuer,
    endpoint: Endpoint,
    request: Request,
    answer: impl AsyncFnOnce(&Issuer, &mut Call, Request) -> Result<Response, Refusal>,
) -> Response {
    let mut call = Call::begin(endpoint, &request);
    let challenge = is_challenged(&request);
    let result = answer(issuer, &mut call, request).await;
    call.end(issuer, challenge, result)
}

// === impl Call ===

impl Call {
    fn begin(endpoint: Endpoint, request: &Request) -> Self {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
        let shown = request.extensions().get::<ClientCertificate>().cloned();
        let lines = request.headers().iter();
        let span = Span::server(endpoint.name(), |header| {
            lines.for_each(|(name, value)| header(name.as_str(), value.as_bytes()));
        });
        Self { endpoint, begun: Instant::now(), span, peer, shown, noted: None, client: None, deed: None }
    }

    /// Who calls, by the credentials in the request.
    pub(super) async fn authenticate(
        &mut self,
        issuer: &Issuer,
        received: &Received,
        form: &Form<'_>,
    ) -> Result<Caller, Refusal> {
        let presented = presented(&received.parts.headers, form)?;
        let origin = Origin { peer: self.peer, shown: self.shown.as_ref(), noted: &mut self.noted };
        let caller = issuer.authenticator.authenticate(&issuer.parts.snapshot, &presented, origin).await?;
        self.client = Some(caller.spec.client_id.clone());
        Ok(caller)
    }

    /// Turns the result into the answer, counts it and writes the access line.
    fn end(mut self, issuer: &Issuer, challenge: bool, result: Result<Response, Refusal>) -> Response {
        let (response, error) = match result {
            Ok(response) => (response, None),
            Err(refusal) => {
                self.deed = self.endpoint.is_audited().then_some(Deed::Refused(refusal.description));
                (refusal.clone().challenged(challenge).into_response(), Some(refusal.code))
            }
        };
        let status = response.status().as_u16();
        issuer.outcomes.count(self.endpoint, status);
        let client = self.client.as_ref();
        self.span.end(|told| {
            told.text("countersign.endpoint", self.endpoint.name());
            told.number("countersign.status", status);
            if let Some(error) = error {
                told.text("countersign.error", error);
            }
            if let Some(client) = client {
                told.text("countersign.client", client.to_string());
            }
            if let Some(about) = self.deed.as_ref().and_then(Deed::about) {
                told.text("countersign.audience", about.audience.to_string());
            }
            if status >= 500 {
                told.failed();
            }
        });
        Line {
            endpoint: self.endpoint.name(),
            status,
            error,
            client: client.map(ClientId::as_str),
            peer: self.peer,
            begun: self.begun,
            deed: self.deed.as_ref(),
        }
        .write();
        response
    }
}

// === impl Received ===

impl Received {
    /// Waits for the body of a form request.
    pub(super) async fn read(request: Request, limits: BodyLimits) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let body = read_form(&parts, body, limits).await?;
        Ok(Self { parts, body })
    }

    pub(super) fn form(&self) -> Result<Form<'_>, Refusal> {
        Ok(Form::parse(&self.body)?)
    }
}

/// Whether a 401 to this request needs a challenge (RFC 6749 section 5.2).
fn is_challenged(request: &Request) -> bool {
    request.headers().contains_key(header::AUTHORIZATION)
}
