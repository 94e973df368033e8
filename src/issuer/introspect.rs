//! `/oauth2/introspect`: what a token means, for those it is meant for (RFC 7662).
//!
//! Flows in: a token from a client of the namespace that holds the token's audience. Flows out: its claims, or
//! `{"active":false}` and nothing else: also to a client that may not know.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use countersign_core::oauth::clients_are_usable;
use countersign_core::token::{AccessToken, TokenRefusal, verify};
use jiff::Timestamp;

use crate::http::error::{Refusal, json};
use crate::http::limiter::{Limiter, Rate};
use crate::issuer::Issuer;
use crate::issuer::authenticate::Caller;
use crate::issuer::call::{Call, Endpoint, Received, serve};

const INACTIVE: &str = r#"{"active":false}"#;

/// How often one client may ask in vain; answers that say yes are never limited.
pub(super) fn scans() -> Limiter {
    Limiter::new(Rate { burst: 200, every: Duration::from_millis(10) }, 4096)
}

pub(super) async fn endpoint(State(issuer): State<Arc<Issuer>>, request: Request) -> Response {
    serve(&issuer, Endpoint::Introspect, request, answer).await
}

async fn answer(issuer: &Issuer, call: &mut Call, request: Request) -> Result<Response, Refusal> {
    let received = Received::read(request, issuer.parts.settings.body).await?;
    let form = received.form()?;
    let caller = call.authenticate(issuer, &received, &form).await?;
    let token = form.get("token").ok_or(Refusal::invalid_request("token is missing"))?;
    let now = issuer.parts.clock.now();
    match active(issuer, &caller, token, now) {
        Ok(token) => Ok(json(StatusCode::OK, describe(&issuer.parts.settings.issuer_url, &token))),
        Err(TokenRefusal::NoKeys) => Err(Refusal::unavailable("there are no keys yet")),
        Err(_) => {
            count_in_vain(issuer, &caller, now)?;
            Ok(json(StatusCode::OK, INACTIVE))
        }
    }
}

/// Counts a token that a client presented as another's and that is not active; an error once it does so too often.
pub(super) fn count_in_vain(issuer: &Issuer, caller: &Caller, now: Timestamp) -> Result<(), Refusal> {
    issuer.scans.count(&caller.client.object.uid, now).map_err(|wait| {
        let description = "too many tokens that are not active; ask less often";
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", description);
        refusal.retry_after = Some(wait);
        refusal
    })
}

/// The token, if it is good now and the caller may know.
fn active(issuer: &Issuer, caller: &Caller, text: &str, now: Timestamp) -> Result<AccessToken, TokenRefusal> {
    let settings = &issuer.parts.settings;
    let snapshot = &caller.snapshot;
    let token = verify(text, &snapshot.keys, &settings.issuer_url, now, &settings.timings)?;
    let owner = snapshot.directory.audience_owner(token.audience.as_str());
    if owner != Some(&caller.client.object.object.namespace) {
        return Err(TokenRefusal::WrongAudience);
    }
    let leeway = i64::try_from(settings.timings.leeway.as_secs()).unwrap_or(i64::MAX);
    token.check(&snapshot.keys, &snapshot.revoked, now.as_second(), leeway)?;
    // Here, unlike at a verifier, the clients are known: those of one that is gone or suspended end at once.
    if clients_are_usable(&snapshot.directory, &token) { Ok(token) } else { Err(TokenRefusal::Revoked) }
}

fn describe(issuer_url: &str, token: &AccessToken) -> String {
    let mut answer = serde_json::json!({
        "active": true,
        "iss": issuer_url,
        "sub": &*token.subject,
        "aud": token.audience,
        "client_id": token.client_id,
        "scope": token.scope.to_string(),
        "token_type": "Bearer",
        "exp": token.expires_at,
        "iat": token.issued_at,
        "jti": token.token_id,
    });
    // Who acts for the subject (RFC 8693 section 4.1), and whose token it is: the resource server sees who presents it (RFC 8705
    // section 3.2).
    let more = ["act", "cnf"].into_iter().filter_map(|name| Some((name.to_owned(), token.claims.get(name)?.clone())));
    if let Some(members) = answer.as_object_mut() {
        members.extend(more);
    }
    answer.to_string()
}
