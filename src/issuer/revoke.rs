//! `/oauth2/revoke`: a client gives up one of its tokens (RFC 7009).
//!
//! Flows in: a token from the client it was issued to. Flows out: an entry in the revocations, written before the answer
//! says 200; a token that is another's, unknown or over is answered 200 too and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use countersign_core::revocation::Entry;
use countersign_core::token::{AccessToken, TokenRefusal, verify};

use crate::http::access_log::{About, Deed};
use crate::http::error::{Refusal, json};
use crate::issuer::Issuer;
use crate::issuer::authenticate::Caller;
use crate::issuer::call::{Call, Endpoint, Received, serve};
use crate::runtime::telemetry::chain;

/// How long the client waits for the write at most.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn endpoint(State(issuer): State<Arc<Issuer>>, request: Request) -> Response {
    serve(&issuer, Endpoint::Revoke, request, answer).await
}

async fn answer(issuer: &Issuer, call: &mut Call, request: Request) -> Result<Response, Refusal> {
    let received = Received::read(request, issuer.parts.settings.body).await?;
    let form = received.form()?;
    let caller = call.authenticate(issuer, &received, &form).await?;
    let token = form.get("token").ok_or(Refusal::invalid_request("token is missing"))?;
    if let Some(token) = own_live_token(issuer, &caller, token)? {
        write(issuer, &token).await?;
        let AccessToken { audience, scope: scopes, key_id: key, token_id, .. } = token;
        call.deed = Some(Deed::Revoked(About { audience, scopes, key, token_id, exchange: None }));
    }
    Ok(json(StatusCode::OK, "{}"))
}

/// The token, if revoking it means something: signed by us, not over, not revoked, and the caller's own.
fn own_live_token(issuer: &Issuer, caller: &Caller, text: &str) -> Result<Option<AccessToken>, Refusal> {
    let settings = &issuer.parts.settings;
    let now = issuer.parts.clock.now();
    let token = match verify(text, &caller.snapshot.keys, &settings.issuer_url, now, &settings.timings) {
        Ok(token) => token,
        Err(TokenRefusal::NoKeys) => return Err(Refusal::unavailable("there are no keys yet")),
        Err(_) => return Ok(None),
    };
    let own = token.client_id == caller.spec.client_id && token.client_uid.as_ref() == Some(&caller.client.object.uid);
    Ok((own && caller.snapshot.revoked.check(&token).is_ok()).then_some(token))
}

async fn write(issuer: &Issuer, token: &AccessToken) -> Result<(), Refusal> {
    let entry = Entry::token(token, issuer.parts.clock.now(), &issuer.parts.settings.timings);
    let written = tokio::time::timeout(WRITE_DEADLINE, issuer.parts.sink.revoke(entry)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::error!(error = chain(&error), "revocation not written");
            Err(Refusal::unavailable("the revocation could not be written; try again"))
        }
        Err(_) => {
            tracing::error!("revocation not written in time");
            Err(Refusal::unavailable("the revocation could not be written in time; try again"))
        }
    }
}
