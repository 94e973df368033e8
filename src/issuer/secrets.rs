//! Client secrets: a value the controller signed for a client, or one on record (RFC 6749 section 2.3.1).
//!
//! ```text
//! SHA-256 ─► known good? ─► still good by this snapshot ─► the client
//!               │ no
//!               ▼
//! signature or record ─► the client, a wait for one not seen yet, or nobody
//! ```
//! Flows in: a client id and a value, the snapshot. Flows out: the client. The work does not tell an unknown client from a
//! wrong secret.

use countersign_core::client::{ClientObject, SecretMode, SecretSettings};
use countersign_core::client_secret::{KeptRecord, Presented as Value, Record, Refusal, SecretState, accept};
use countersign_core::directory::ClientView;
use countersign_core::names::{ClientId, IssuerName};
use jiff::Timestamp;

use crate::http::credentials::Secret;
use crate::issuer::Parts;
use crate::issuer::authenticate::{Found, Look, Missing, usable};
use crate::issuer::proven::{Digest, Proof, Proven};
use crate::issuer::usage::{LastUse, SecretUsage};
use crate::runtime::clock::Clock;
use crate::snapshot::Snapshot;

/// Checks secrets.
#[derive(Debug)]
pub(super) struct Secrets {
    issuer_name: IssuerName,
    clock: Clock,
    proven: Proven,
    usage: SecretUsage,
}

type Usable<'a> = (&'a Found, &'a SecretSettings);

/// A value and whose it is said to be.
pub(super) struct Attempt<'a> {
    id: &'a str,
    secret: &'a Secret<'a>,
    digest: Digest,
}

enum Checked {
    Proven(Proof),
    WellSigned,
    Early,
    Bad,
}

// === impl Attempt ===

impl<'a> Attempt<'a> {
    pub(super) fn new(id: &'a str, secret: &'a Secret<'a>) -> Self {
        Self { id, secret, digest: Digest::of(id, secret.expose()) }
    }

    /// Whether it has the form of a value the controller signs.
    pub(super) fn is_signed(&self) -> bool {
        Value::parse(self.secret.expose()).is_ok()
    }
}

// === impl Secrets ===

impl Secrets {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            issuer_name: parts.settings.issuer_name.clone(),
            clock: parts.clock.clone(),
            proven: Proven::default(),
            usage: parts.usage.clone(),
        }
    }

    /// The client, if this very value was found good before and still is by this snapshot.
    pub(super) fn proven_before(&self, snapshot: &Snapshot, attempt: &Attempt<'_>) -> Option<Found> {
        let proof = self.proven.get(&snapshot.client_secret_keys, &attempt.digest)?;
        let (client, spec) = usable(snapshot, attempt.id)?;
        let settings = spec.secret()?;
        let good = match &proof {
            Proof::Signed { client: uid, issued_at, .. } => {
                *uid == client.object.uid
                    && is_signed(settings)
                    && *issued_at >= not_before(&client, settings).as_second()
            }
            Proof::Recorded(record) => {
                let kept = snapshot.records.get(&client.object.object);
                is_recorded(settings)
                    && kept.is_some_and(|kept| kept.record == *record && !kept.has_ended(self.clock.now()))
            }
        };
        if let (true, Proof::Signed { issued_at, last_use, .. }) = (good, &proof) {
            self.usage.note(&client.object, *issued_at, last_use, self.clock.now());
        }
        good.then_some((client, spec))
    }

    /// The same work whether the client is known or not, by the form of what was presented.
    pub(super) fn look(&self, snapshot: &Snapshot, attempt: &Attempt<'_>) -> Look {
        let known = snapshot.directory.client(attempt.id).is_some();
        let usable = usable(snapshot, attempt.id);
        let settings = usable.as_ref().and_then(|(_, spec)| spec.secret());
        let client = usable.as_ref().zip(settings);
        let proof = match Value::parse(attempt.secret.expose()) {
            Ok(value) => self.check_signed(snapshot, attempt, value.version, client),
            Err(_) => check_recorded(snapshot, attempt, client, self.clock.now()),
        };
        match (proof, usable) {
            (Checked::Proven(proof), Some((client, spec))) => {
                self.proven.insert(&snapshot.client_secret_keys, attempt.digest, proof);
                Look::Good(client, spec)
            }
            (Checked::WellSigned, None) if !known => Look::NotYet(Missing::Client),
            (Checked::Early, _) => Look::NotYet(Missing::Key),
            _ => Look::Bad,
        }
    }

    fn check_signed(
        &self,
        snapshot: &Snapshot,
        attempt: &Attempt<'_>,
        version: u32,
        client: Option<Usable<'_>>,
    ) -> Checked {
        // A client id that is none has no client; one that cannot have been signed for keeps the work the same.
        let Ok(id) = ClientId::new(attempt.id).or_else(|_| ClientId::new("-")) else { return Checked::Bad };
        let earliest = client.map_or(Timestamp::MIN, |((client, _), settings)| not_before(client, settings));
        let keys = &snapshot.client_secret_keys;
        let accepted = match accept(attempt.secret.expose(), &id, &self.issuer_name, keys, earliest) {
            Ok(accepted) => accepted,
            Err(Refusal::UnknownVersion)
                if keys.active().is_some_and(|known| known.checked_add(1) == Some(version)) =>
            {
                return Checked::Early;
            }
            Err(_) => return Checked::Bad,
        };
        match client {
            None if id.as_str() == attempt.id => Checked::WellSigned,
            Some(((client, _), settings)) if is_signed(settings) => {
                let (issued_at, last_use) = (accepted.issued_at.as_second(), LastUse::default());
                self.usage.note(&client.object, issued_at, &last_use, self.clock.now());
                Checked::Proven(Proof::Signed { client: client.object.uid.clone(), issued_at, last_use })
            }
            _ => Checked::Bad,
        }
    }
}

fn check_recorded(snapshot: &Snapshot, attempt: &Attempt<'_>, client: Option<Usable<'_>>, now: Timestamp) -> Checked {
    let Some(key) = &snapshot.record_key else { return Checked::Bad };
    let Ok(id) = ClientId::new(attempt.id).or_else(|_| ClientId::new("-")) else { return Checked::Bad };
    let kept = client.and_then(|((client, _), _)| snapshot.records.get(&client.object.object));
    let matching = matching(kept, now, |record| record.matches(key, &id, attempt.secret.expose()));
    match (client, matching) {
        (Some((_, settings)), Some(record)) if is_recorded(settings) => Checked::Proven(Proof::Recorded(record)),
        _ => Checked::Bad,
    }
}

/// The record, if it matches and has not ended. One comparison whether there is a record or not.
fn matching(kept: Option<&KeptRecord>, now: Timestamp, matches: impl FnOnce(&Record) -> bool) -> Option<Record> {
    let matches = matches(kept.map_or(&Record::OF_NOTHING, |kept| &kept.record));
    kept.filter(|kept| matches && !kept.has_ended(now)).map(|kept| kept.record.clone())
}

fn is_signed(settings: &SecretSettings) -> bool {
    matches!(settings.mode, SecretMode::Create | SecretMode::Adopt)
}

fn is_recorded(settings: &SecretSettings) -> bool {
    matches!(settings.mode, SecretMode::Reference | SecretMode::Adopt)
}

/// The earliest issue time still good.
fn not_before(client: &ClientView, settings: &SecretSettings) -> Timestamp {
    let ClientObject { created_at, secret_issued_at: issued_at, accepted_since, .. } = *client.object;
    let state = SecretState { issued_at, accepted_since, ..SecretState::default() };
    state.not_before(created_at, settings.reject_issued_before)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn there_is_one_comparison_whatever_is_recorded() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let kept = |until| KeptRecord { record: Record::OF_NOTHING, until };
        for (kept, says, expected) in [
            (None, false, false),
            (None, true, false),
            (Some(kept(None)), false, false),
            (Some(kept(None)), true, true),
            (Some(kept(Some(at(11)))), true, true),
            (Some(kept(Some(at(10)))), true, false),
        ] {
            let comparisons = Cell::new(0);
            let found = matching(kept.as_ref(), at(10), |_| {
                comparisons.set(comparisons.get() + 1);
                says
            });
            assert_eq!((found.is_some(), comparisons.get()), (expected, 1), "{kept:?}");
        }
    }
}
