//! Whether a SigningKey may go.
//!
//! Flows in: its name, the clients, the keyrings, since when nobody names it. Flows out: why it may not go yet, and what to do
//! first. That `default` stays a `ValidatingAdmissionPolicy` says too (deploy/webhook.yaml), for when nobody answers here.

use countersign_core::keyring::{DEFAULT_RING, KeyState};

use super::judge::Premises;

/// How many clients are named.
const NAMED: usize = 3;

pub(super) fn refusal(ring: &str, premises: &Premises<'_>) -> Option<String> {
    let directory = &premises.snapshot.directory;
    if ring == DEFAULT_RING {
        return Some(format!(
            "SigningKey {ring} signs for every client that names no other, so it stays: to have a new key, annotate it \
             countersign.dev/rotate-at=<now>; to end a stolen one, list it in spec.revokedKeyIds"
        ));
    }
    let clients = directory
        .clients()
        .filter(|client| client.accepted().is_some_and(|spec| spec.tokens.signing_key.as_str() == ring));
    let clients: Vec<_> = clients.map(|client| client.object.object.to_string()).take(NAMED + 1).collect();
    if !clients.is_empty() {
        let more = if clients.len() > NAMED { ", …" } else { "" };
        let named = clients.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        return Some(format!(
            "clients sign with SigningKey {ring} ({named}{more}): set their spec.tokens.signingKey to another one first"
        ));
    }
    let keys = premises.snapshot.rings.iter().find(|(name, _)| name.as_str() == ring).map(|(_, ring)| &ring.keys);
    let signed =
        keys.is_some_and(|keys| keys.iter().any(|key| matches!(key.state, KeyState::Active | KeyState::Retiring)));
    let until = premises.rings.tokens_end(ring, &directory.settings().timings);
    (signed && premises.now < until).then(|| {
        format!(
            "tokens signed by SigningKey {ring} may be good until {until:.0}: delete it then, or declare its keys dead in \
             spec.revokedKeyIds first"
        )
    })
}
