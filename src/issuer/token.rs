//! `/oauth2/token`: client credentials become an access token (RFC 6749 section 4.4, RFC 9068), and an access token one for the
//! next audience (RFC 8693).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::client::{GrantType, TokenFormat};
use countersign_core::keyring::RingKey;
use countersign_core::names::{Audience, ClientId, KeyId, TokenId};
use countersign_core::oauth::{ACCESS_TOKEN_TYPE, GrantDecision, TokenRequest, grant_type, token_grant};
use countersign_core::scope::ScopeSet;
use countersign_core::token::{Claims, Confirmation};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, timeout_at};

use crate::http::access_log::{About, Deed};
use crate::http::error::{Refusal, json};
use crate::http::form::Form;
use crate::issuer::Issuer;
use crate::issuer::authenticate::{Caller, PATIENCE};
use crate::issuer::call::{Call, Endpoint, Received, serve};
use crate::issuer::exchange::{self, Subject};
use crate::issuer::signer::Signer;
use crate::runtime::metrics::Metrics;
use crate::runtime::random;
use crate::snapshot::Snapshot;

/// What is granted, and the token it is exchanged for, where it is.
struct Decided {
    grant: GrantDecision,
    subject: Option<Subject>,
}

/// Tokens signed, by grant type.
#[derive(Debug)]
pub(super) struct Issued([Counter; 2]);

// === impl Issued ===

impl Issued {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let grants = ["client_credentials", "token_exchange"];
        Self(metrics.counters("issuer_tokens_issued", "Tokens signed, by grant type", "grant", grants))
    }

    fn count(&self, is_exchange: bool) {
        let [own, exchanged] = &self.0;
        if is_exchange {
            exchanged.inc()
        } else {
            own.inc()
        };
    }
}

pub(super) async fn endpoint(State(issuer): State<Arc<Issuer>>, request: Request) -> Response {
    serve(&issuer, Endpoint::Token, request, answer).await
}

async fn answer(issuer: &Issuer, call: &mut Call, request: Request) -> Result<Response, Refusal> {
    let received = Received::read(request, issuer.parts.settings.body).await?;
    let form = received.form()?;
    let (caller, decision) = settled(issuer, call, &received, &form).await?;
    let is_exchange = decision.subject.is_some();
    let (body, about) = issue(issuer, &caller, decision)?;
    issuer.issued.count(is_exchange);
    call.deed = Some(Deed::Issued(about));
    Ok(json(StatusCode::OK, body))
}

/// Who calls and what is granted, by a snapshot in which the client's object is as new as the revocations: only then does
/// the epoch in that object belong to what is granted (docs/adr/0003). What is on its way is waited for.
async fn settled(
    issuer: &Issuer,
    call: &mut Call,
    received: &Received,
    form: &Form<'_>,
) -> Result<(Caller, Decided), Refusal> {
    const UNSETTLED: Refusal = Refusal::unavailable("a change of this client is on its way to this issuer; try again");
    let live = &issuer.parts.snapshot;
    let (mut caller, mut decision) = asked(issuer, call, received, form).await?;
    if is_settled(&caller.snapshot, &caller.spec.client_id, &decision.grant.audience) {
        return Ok((caller, decision));
    }
    let _seat = issuer.unsettled.try_acquire().map_err(|_| UNSETTLED)?;
    let mut changes = live.subscribe();
    let deadline = Instant::now() + PATIENCE;
    while !is_settled(&caller.snapshot, &caller.spec.client_id, &decision.grant.audience) {
        while !is_settled(&live.load(), &caller.spec.client_id, &decision.grant.audience) {
            timeout_at(deadline, changes.changed()).await.map_err(|_| UNSETTLED)?;
        }
        (caller, decision) = asked(issuer, call, received, form).await?;
    }
    Ok((caller, decision))
}

/// Who calls and what is granted, by the snapshot of this moment.
async fn asked(
    issuer: &Issuer,
    call: &mut Call,
    received: &Received,
    form: &Form<'_>,
) -> Result<(Caller, Decided), Refusal> {
    let caller = call.authenticate(issuer, received, form).await?;
    let decision = decide(issuer, &caller, form)?;
    Ok((caller, decision))
}

/// Whether no revocation is newer than the client's object; a client that is gone is waited for no longer.
fn is_settled(snapshot: &Snapshot, id: &ClientId, audience: &Audience) -> bool {
    snapshot.directory.client(id.as_str()).is_none_or(|client| {
        let object = &client.object;
        snapshot.revoked.epoch_for(&object.uid, audience) <= object.epoch
    })
}

fn decide(issuer: &Issuer, caller: &Caller, form: &Form<'_>) -> Result<Decided, Refusal> {
    let grant = grant_type(form.get("grant_type").ok_or(Refusal::invalid_request("grant_type is missing"))?)?;
    let resource = form.all("resource").chain(form.all("audience")).collect();
    let request = TokenRequest { resource, scope: form.get("scope") };
    if grant == GrantType::TokenExchange {
        let (grant, subject) = exchange::decide(issuer, caller, form, request)?;
        return Ok(Decided { grant, subject: Some(subject) });
    }
    Ok(Decided { grant: token_grant(&caller.client, &caller.snapshot.directory, &request)?, subject: None })
}

/// The answer's body: a signed token and what the client should know of it; and what is told of it afterwards.
fn issue(issuer: &Issuer, caller: &Caller, decided: Decided) -> Result<(String, About), Refusal> {
    let settings = &issuer.parts.settings;
    let now = issuer.parts.clock.now();
    let offline = issuer.parts.contact.age(now).is_none_or(|age| age.unsigned_abs() > settings.timings.offline_grace);
    if offline {
        return Err(Refusal::unavailable("this issuer has been cut off for too long"));
    }
    let (key, signer) = signer(issuer, caller)?;
    let token_id = token_id()?;
    let Decided { grant, subject } = decided;
    let seconds = i64::try_from(grant.lifetime.as_secs()).unwrap_or(i64::MAX);
    let (object, client_id) = (&caller.client.object, &caller.spec.client_id);
    let claims = Claims {
        iss: &settings.issuer_url,
        sub: subject.as_ref().map_or(client_id.as_str(), Subject::name),
        aud: &grant.audience,
        exp: now.as_second().saturating_add(seconds),
        iat: now.as_second(),
        jti: &token_id,
        client_id,
        scope: &grant.scopes,
        cuid: &object.uid,
        cep: object.epoch,
        cnf: caller.bound_to.map(Confirmation::from),
        delegation: subject.as_ref().map(|subject| subject.delegation(client_id)).unwrap_or_default(),
        private: &caller.spec.tokens.claims,
    };
    let input = claims.signing_input(signer.header()).map_err(|error| unsigned(&error))?;
    let token = signer.sign(input).map_err(|error| unsigned(&error))?;
    let exchange = subject.as_ref().map(Subject::told);
    let body = body(&token, seconds, &grant.scopes, exchange.is_some());
    Ok((body, About { audience: grant.audience, scopes: grant.scopes, key, token_id, exchange }))
}

fn body(token: &str, seconds: i64, scopes: &ScopeSet, is_exchange: bool) -> String {
    // Scopes hold no character that JSON escapes (core::names), nor does a compact JWS.
    let mut body =
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds},"scope":"{scopes}""#);
    if is_exchange {
        // Required by RFC 8693 section 2.2.1.
        body.extend([r#","issued_token_type":""#, ACCESS_TOKEN_TYPE, "\""]);
    }
    body.push('}');
    body
}

/// The key that is Active by this snapshot, not declared dead, and whose private half is here.
fn signer(issuer: &Issuer, caller: &Caller) -> Result<(KeyId, Arc<Signer>), Refusal> {
    let tokens = &caller.spec.tokens;
    let snapshot = &caller.snapshot;
    let active = snapshot.rings.get(&tokens.signing_key).and_then(|ring| ring.active());
    let key_id = active.map(RingKey::key_id).filter(|key_id| snapshot.keys.find(key_id).is_ok());
    let signers = issuer.parts.signers.load();
    key_id
        .filter(|_| tokens.format == TokenFormat::Jwt)
        .and_then(|key_id| Some((key_id.clone(), signers.get(key_id).cloned()?)))
        .ok_or(Refusal::unavailable("no key may sign at the moment"))
}

fn token_id() -> Result<TokenId, Refusal> {
    let bytes = random::bytes::<16>().map_err(|error| unsigned(&error))?;
    TokenId::new(&URL_SAFE_NO_PAD.encode(bytes)).map_err(|error| unsigned(&error))
}

fn unsigned(error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error, "token not signed");
    let mut refusal = Refusal::unavailable("the token could not be signed");
    refusal.retry_after = Some(Duration::from_secs(5));
    refusal
}
