//! The token exchange at the token endpoint (RFC 8693): a resource server that was called with a token gets one for the next.
//!
//! Flows in: the form and the client that authenticated. Flows out: what core decides about the token it presents.

use countersign_core::names::ClientId;
use countersign_core::oauth::{
    Exchange, ExchangeDecision, ExchangeRequest, GrantDecision, TokenRequest, UNACCEPTABLE_SUBJECT,
};
use countersign_core::token::{AccessToken, Delegation, Earlier, TokenRefusal, verify};

use crate::http::access_log::Exchanged;
use crate::http::error::Refusal;
use crate::http::form::Form;
use crate::issuer::Issuer;
use crate::issuer::authenticate::Caller;
use crate::issuer::introspect::count_in_vain;

/// The token that is exchanged.
pub(super) struct Subject {
    token: AccessToken,
    /// It and those it came from.
    exchanged: Box<[Earlier]>,
}

// === impl Subject ===

impl Subject {
    /// Whom the new token speaks for.
    pub(super) fn name(&self) -> &str {
        &self.token.subject
    }

    pub(super) fn delegation(&self, actor: &ClientId) -> Delegation<'_> {
        Delegation::new(actor, &self.exchanged, self.token.subject_epoch)
    }

    /// What is told of it afterwards.
    pub(super) fn told(&self) -> Exchanged {
        Exchanged { subject: self.token.subject.clone(), token_id: self.token.token_id.clone() }
    }
}

/// Decides the request by the snapshot the client authenticated with.
pub(super) fn decide(
    issuer: &Issuer,
    caller: &Caller,
    form: &Form<'_>,
    target: TokenRequest<'_>,
) -> Result<(GrantDecision, Subject), Refusal> {
    let request = ExchangeRequest {
        subject_token_type: form.get("subject_token_type"),
        requested_token_type: form.get("requested_token_type"),
        names_actor: form.get("actor_token").or(form.get("actor_token_type")).is_some(),
        target,
    };
    request.check(&caller.client)?;
    let text = form.get("subject_token").ok_or(Refusal::invalid_request("subject_token is missing"))?;
    let snapshot = &caller.snapshot;
    let settings = &issuer.parts.settings;
    let now = issuer.parts.clock.now();
    let unacceptable = || {
        let refusal = Refusal::from(UNACCEPTABLE_SUBJECT);
        count_in_vain(issuer, caller, now).err().unwrap_or(refusal)
    };
    let token = match verify(text, &snapshot.keys, &settings.issuer_url, now, &settings.timings) {
        Ok(token) => token,
        Err(TokenRefusal::NoKeys) => return Err(Refusal::unavailable("there are no keys yet")),
        Err(_) => return Err(unacceptable()),
    };
    let exchange = Exchange {
        client: &caller.client,
        directory: &snapshot.directory,
        keys: &snapshot.keys,
        revoked: &snapshot.revoked,
        now,
    };
    match exchange.decide(&token, &request.target) {
        Ok(ExchangeDecision { grant, exchanged }) => Ok((grant, Subject { token, exchanged })),
        Err(UNACCEPTABLE_SUBJECT) => Err(unacceptable()),
        Err(denied) => Err(denied.into()),
    }
}
