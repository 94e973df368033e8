//! What a client's Secret needs.
//!
//! Flows in: the Secret as it is, what the spec asks for, what status remembers, the time. Flows out: at most one write
//! of the Secret, the record for issuers where the value is someone else's, and what to say about it.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::client::{SecretMode, SecretSettings};
use countersign_core::client_secret::{
    self as values, Found, SecretSpec, SecretState, SecretStep, Usage, VerifyingKeys,
};
use countersign_core::names::{ClientId, IssuerName};
use countersign_core::timings::Timings;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::fights::Heals;
use super::secret::{Owner, Wanted, consents, entry, is_labelled, needs_new_object, owner};
use crate::controller::conditions::{Finding, Status};
use crate::objects::layout::CLIENT;

/// How often what is not ours, and so not watched, is looked at.
pub(super) const POLL: Duration = Duration::from_secs(30);

/// The condition this file speaks of.
pub(super) const CREDENTIALS_READY: &str = "CredentialsReady";
/// Reasons of it; some are told in Events, too.
pub(super) const SECRET_NOT_OWNED: &str = "SecretNotOwned";
pub(super) const TOO_FAR_AHEAD: &str = "RejectIssuedBeforeTooFarAhead";
pub(super) const SECRET_CONTESTED: &str = "SecretContested";
pub(super) const OLD_VALUE_IN_USE: &str = "OldValueInUse";
pub(super) const ROTATE_AT_INVALID: &str = "RotateAtInvalid";
pub(super) const NO_SIGNER: &str = "NoSigner";

/// What there is to decide on.
pub(super) struct Seen<'a> {
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) issuer: &'a IssuerName,
    pub(super) timings: &'a Timings,
    pub(super) keys: &'a VerifyingKeys,
    pub(super) secret: Option<&'a Arc<Secret>>,
    pub(super) created_at: Timestamp,
    pub(super) former_issued_at: Option<Timestamp>,
    pub(super) state: SecretState,
    /// Whether status says that we wrote a Secret of this name.
    pub(super) has_written: bool,
    /// Whether that was for the spec as it is.
    pub(super) is_current: bool,
    pub(super) rotate_at: Option<Timestamp>,
    pub(super) paused: bool,
    pub(super) usage: Usage,
    /// Which issuer saw the last use of an older value.
    pub(super) used_at_issuer: Option<&'a str>,
    pub(super) heals: &'a Heals,
    pub(super) kept_record: Option<Kept>,
}

/// The record of a value that is not ours, as issuers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Until when; none: as long as it is there.
    pub(super) until: Option<Timestamp>,
}

/// What to do.
pub(super) struct Credentials {
    pub(super) change: SecretChange,
    pub(super) record: RecordChange,
    /// What status says of the value once all is written.
    pub(super) state: SecretState,
    pub(super) finding: Finding,
    /// Somebody deleted or edited what we wrote.
    pub(super) heals: bool,
    pub(super) wake_at: Option<Timestamp>,
}

/// What to do with the Secret itself.
pub(super) enum SecretChange {
    Keep,
    Write { how: How, base: Option<Arc<Secret>>, value: Value },
}

/// By which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Create,
    Update,
    /// Delete it as it is, then create: what must change cannot be updated.
    Recreate,
}

/// The secret value to write.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// The one that is there.
    Keep(String),
    Sign {
        version: u32,
        issued_at: Timestamp,
    },
}

/// What issuers are to know of a value that is not ours.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RecordChange {
    /// Leave it as it is.
    Keep,
    /// This value is good, until then.
    Set { value: String, until: Option<Timestamp> },
    /// No such value is good.
    Remove,
}

/// Decides for one client with a `ClientSecret` method.
pub(super) fn decide(seen: &Seen<'_>, now: Timestamp) -> Credentials {
    match (seen.wanted.settings.mode, seen.secret) {
        (SecretMode::Reference, secret) => reference(seen, secret.map(AsRef::as_ref), now),
        (_, None) => managed(seen, Found::Absent, now),
        (mode, Some(secret)) => match (owner(&secret.metadata, seen.wanted.record), found(seen, secret)) {
            (Owner::Us, found) => managed(seen, found, now),
            // Somebody took our record off the Secret we wrote; the value in it says as much, and our label that it is not
            // somebody's own into which the value was copied.
            (Owner::Nobody, found @ Found::Ours { .. }) if seen.has_written && is_labelled(&secret.metadata) => {
                managed(seen, found, now)
            }
            (Owner::Nobody, _) if mode == SecretMode::Adopt && consents(secret, seen.wanted.object) => {
                managed(seen, Found::Foreign, now)
            }
            _ => not_owned(seen, now),
        },
    }
}

/// What lies in a Secret of ours.
fn found(seen: &Seen<'_>, secret: &Secret) -> Found {
    let Wanted { settings, client_id, .. } = seen.wanted;
    let value = entry(secret, &settings.keys.client_secret);
    match value.and_then(|value| signed(value, client_id, seen.issuer, seen.keys)) {
        Some(accepted) => Found::Ours { issued_at: accepted.issued_at, version: accepted.version },
        None => Found::Damaged,
    }
}

fn signed(value: &str, client: &ClientId, issuer: &IssuerName, keys: &VerifyingKeys) -> Option<values::Accepted> {
    values::accept(value, client, issuer, keys, Timestamp::MIN).ok()
}

/// A Secret that is ours, or will be.
fn managed(seen: &Seen<'_>, found: Found, now: Timestamp) -> Credentials {
    let Some(version) = seen.keys.active() else {
        let message = "the key that signs client secrets is not there yet";
        return waiting(
            seen,
            &Finding::fails(CREDENTIALS_READY, NO_SIGNER, message),
            Some(now + Duration::from_secs(1)),
        );
    };
    let observed = values::Observed {
        created_at: seen.created_at,
        former_issued_at: seen.former_issued_at,
        found,
        usage: seen.usage,
        version,
    };
    let step = values::step(&spec(seen), &seen.state, &observed, now, seen.timings);
    let change = change(seen, &step);
    let heals = seen.has_written && seen.is_current && is_heal(&change, found, &step, seen);
    match seen.heals.hold(now).filter(|_| heals) {
        Some(until) => contested(seen, until),
        None => Credentials {
            finding: finding(seen, &change, &step),
            record: record(seen, &step, now),
            state: step.state,
            wake_at: [step.wake_at, kept_until(seen).filter(|until| *until > now)].into_iter().flatten().min(),
            heals,
            change,
        },
    }
}

fn spec(seen: &Seen<'_>) -> SecretSpec {
    let SecretSettings { mode, rotation, reject_issued_before, .. } = seen.wanted.settings;
    SecretSpec {
        mode: if *mode == SecretMode::Adopt { values::Mode::Adopt } else { values::Mode::Create },
        rotation: *rotation,
        reject_issued_before: *reject_issued_before,
        rotate_at: seen.rotate_at,
        paused: seen.paused,
    }
}

fn change(seen: &Seen<'_>, step: &SecretStep) -> SecretChange {
    let kept = || seen.secret.and_then(|secret| entry(secret, &seen.wanted.settings.keys.client_secret));
    let value = match (step.write, kept()) {
        (Some(write), _) => Value::Sign { version: write.version, issued_at: write.issued_at },
        (None, Some(value)) if !seen.paused => Value::Keep(value.to_owned()),
        (None, _) => return SecretChange::Keep,
    };
    let base = seen.secret.cloned();
    let how = match &base {
        None => How::Create,
        Some(secret) if matches!(value, Value::Keep(_)) && seen.wanted.holds(secret) => return SecretChange::Keep,
        Some(secret) if needs_new_object(secret) => How::Recreate,
        Some(_) => How::Update,
    };
    SecretChange::Write { how, base, value }
}

/// Whether the write puts back what somebody else undid, rather than going on by itself.
fn is_heal(change: &SecretChange, found: Found, step: &SecretStep, seen: &Seen<'_>) -> bool {
    match (change, found) {
        (SecretChange::Keep, _) | (_, Found::Foreign) => false,
        // New authorities to trust are nobody's doing.
        (SecretChange::Write { value: Value::Keep(_), .. }, _) => {
            !seen.secret.is_some_and(|secret| seen.wanted.holds_but_for_authorities(secret))
        }
        (SecretChange::Write { .. }, Found::Absent | Found::Damaged) => true,
        // A value older than the newest came back.
        (SecretChange::Write { .. }, Found::Ours { issued_at, .. }) => {
            step.write.is_some() && seen.state.issued_at.is_some_and(|newest| issued_at < newest)
        }
    }
}

fn finding(seen: &Seen<'_>, change: &SecretChange, step: &SecretStep) -> Finding {
    let name = &seen.wanted.settings.name;
    if step.findings.reject_too_far_ahead {
        return Finding::fails(CREDENTIALS_READY, TOO_FAR_AHEAD, "no value is good until rejectIssuedBefore has come");
    }
    if seen.paused && (seen.secret.is_none() || step.state.issued_at.is_none()) {
        let message = format!("Secret {name} is not written while the annotation countersign.dev/paused is there");
        return Finding::fails(CREDENTIALS_READY, "Paused", message);
    }
    let (reason, message) = match change {
        _ if step.findings.overdue => (
            OLD_VALUE_IN_USE,
            format!(
                "Secret {name} holds a newer value, but an older one is still good past maxOverlap: {}",
                last_use(seen, step)
            ),
        ),
        _ if step.findings.rotating => {
            ("Rotating", format!("Secret {name} holds the newest value; older ones are still good"))
        }
        _ => ("Written", format!("Secret {name} holds the credentials")),
    };
    Finding::new(CREDENTIALS_READY, Status::True, reason, message)
}

/// Who saw an older value used, and when.
fn last_use(seen: &Seen<'_>, step: &SecretStep) -> String {
    let Some(used_at) = step.state.previous_last_used_at else {
        return "not every issuer has said that nobody uses it".to_owned();
    };
    let issuer = seen.used_at_issuer.filter(|_| seen.usage.last_used_at == Some(used_at));
    issuer.map_or_else(|| format!("last used {used_at}"), |issuer| format!("last used {used_at}, at {issuer}"))
}

/// The record of the value that was taken over, while it is good.
fn record(seen: &Seen<'_>, step: &SecretStep, now: Timestamp) -> RecordChange {
    let foreign = seen.secret.and_then(|secret| entry(secret, &seen.wanted.settings.keys.client_secret));
    let adopting = seen.wanted.settings.mode == SecretMode::Adopt;
    match step.write.and_then(|write| write.keep_foreign_until).zip(foreign) {
        Some((until, value)) if values::is_hard_to_guess(value) => {
            RecordChange::Set { value: value.to_owned(), until: Some(until) }
        }
        None if adopting && kept_until(seen).is_some_and(|until| until > now) => RecordChange::Keep,
        // The end has come; or the value could be guessed and is not kept good: the new one is there.
        _ => RecordChange::Remove,
    }
}

fn not_owned(seen: &Seen<'_>, now: Timestamp) -> Credentials {
    let (name, client) = (&seen.wanted.settings.name, &seen.wanted.object.name);
    let message = format!(
        "Secret {name} is not this client's and is left alone: choose another secret.name, delete that Secret, or, to have \
         it taken over, use mode Adopt and annotate it {CLIENT}={client}"
    );
    waiting(seen, &Finding::fails(CREDENTIALS_READY, SECRET_NOT_OWNED, message), Some(now + POLL))
}

fn contested(seen: &Seen<'_>, until: Timestamp) -> Credentials {
    let name = &seen.wanted.settings.name;
    let by = seen.heals.writer().unwrap_or("someone");
    let message = format!(
        "{by} keeps deleting or changing Secret {name}: have it leave the Secret alone; it is put back less and less often"
    );
    waiting(seen, &Finding::fails(CREDENTIALS_READY, SECRET_CONTESTED, message), Some(until))
}

/// Nothing is done to the Secret.
fn waiting(seen: &Seen<'_>, finding: &Finding, wake_at: Option<Timestamp>) -> Credentials {
    Credentials { wake_at, ..not_tried(finding.reason, &finding.message, seen.state) }
}

/// Someone else's Secret and value.
fn reference(seen: &Seen<'_>, secret: Option<&Secret>, now: Timestamp) -> Credentials {
    let (name, client) = (&seen.wanted.settings.name, &seen.wanted.object.name);
    let key = &seen.wanted.settings.keys.client_secret;
    let refuse = |reason, message: String| (Finding::fails(CREDENTIALS_READY, reason, message), RecordChange::Remove);
    let (finding, record) = match secret.map(|secret| (secret, entry(secret, key))) {
        None => refuse(
            "SecretNotFound",
            format!("waiting for someone to make Secret {name} with the annotation {CLIENT}={client}"),
        ),
        Some((secret, _))
            if owner(&secret.metadata, seen.wanted.record) == Owner::Another
                || !consents(secret, seen.wanted.object) =>
        {
            refuse(
                SECRET_NOT_OWNED,
                format!("Secret {name} does not let this client refer to it: annotate it {CLIENT}={client}"),
            )
        }
        Some((_, None)) => refuse("KeyNotFound", format!("Secret {name} has no text under the key {key}")),
        Some((_, Some(value))) => match values::check_strength(value) {
            Err(too_weak) => refuse("SecretTooWeak", format!("the value in Secret {name} is refused: {too_weak}")),
            Ok(()) => (
                Finding::new(
                    CREDENTIALS_READY,
                    Status::True,
                    "Referenced",
                    format!("Secret {name} holds a value of someone else's"),
                ),
                RecordChange::Set { value: value.to_owned(), until: None },
            ),
        },
    };
    let record = if seen.paused && record != RecordChange::Remove { RecordChange::Keep } else { record };
    // Should the value be ours again, those that were dead stay so.
    let state = SecretState { accepted_since: seen.state.accepted_since, ..SecretState::default() };
    let untouched = waiting(seen, &finding, Some(now + POLL));
    Credentials { record, state, finding, ..untouched }
}

/// The end of the record there is.
fn kept_until(seen: &Seen<'_>) -> Option<Timestamp> {
    seen.kept_record?.until
}

/// For a client whose Secret is not to be touched, whatever it holds.
pub(super) fn not_tried(reason: &'static str, message: &str, state: SecretState) -> Credentials {
    Credentials {
        change: SecretChange::Keep,
        record: RecordChange::Keep,
        state,
        finding: Finding::fails(CREDENTIALS_READY, reason, message),
        heals: false,
        wake_at: None,
    }
}
