//! The conditions of a client.
//!
//! Flows in: what is wrong, granted and refused, and how its credentials stand. Flows out: one finding a condition.
//! `Reconciling` and `Stalled` are there only while they hold, as tools that wait for objects expect.

use countersign_core::directory::reason;
use countersign_core::names::Audience;
use countersign_core::policy::Problem;

use super::access::SECRET_ACCESS_DENIED;
use super::config_map::{CONFIG_MAP_NOT_OWNED, NO_CLUSTER};
use super::credentials::{CREDENTIALS_READY, SECRET_NOT_OWNED};
use crate::controller::conditions::{ACCEPTED, Finding, READY, Status};

pub(super) const RESOLVED_REFS: &str = "ResolvedRefs";
pub(super) const FULLY_GRANTED: &str = "FullyGranted";
/// The reason of `Ready` where all is in place and no token is issued all the same.
pub(super) const SUSPENDED: &str = "Suspended";
const RECONCILING: &str = "Reconciling";
const STALLED: &str = "Stalled";

/// The most refusals and problems a message names; status has more.
const NAMED: usize = 3;
/// Reasons of `CredentialsReady` that last until somebody changes something.
const STALLING: [&str; 7] = [
    SECRET_ACCESS_DENIED,
    SECRET_NOT_OWNED,
    CONFIG_MAP_NOT_OWNED,
    NO_CLUSTER,
    "SecretTooWeak",
    "KeyNotFound",
    reason::SECRET_NAME_CONFLICT,
];

/// How a client stands.
pub(super) struct Standing<'a> {
    pub(super) problems: &'a [Problem],
    /// Whether it asks for any scope.
    pub(super) asks: bool,
    /// Whether it gets no token, whatever is granted.
    pub(super) suspended: bool,
    /// Whether any is granted.
    pub(super) granted: bool,
    pub(super) refused: &'a [(Audience, String, &'static str)],
    pub(super) refused_count: usize,
    /// The SigningKey it names, where there is none of that name.
    pub(super) signing_key: Option<&'a str>,
    /// `None`: it is not accepted.
    pub(super) credentials: Option<Finding>,
}

/// Every condition.
pub(super) fn all(standing: &Standing<'_>) -> Vec<Finding> {
    let accepted = accepted(standing.problems);
    let credentials = credentials(standing);
    let granted = fully_granted(standing, &accepted);
    let mut all = vec![accepted, resolved_refs(standing), credentials, granted];
    summarize(&mut all, standing.asks && !standing.granted, standing.suspended);
    all
}

/// Puts another finding in the place of the one on credentials.
pub(super) fn replace_credentials(all: &mut Vec<Finding>, finding: &Finding) {
    let suspended = all.iter().any(|finding| finding.kind == READY && finding.reason == SUSPENDED);
    all.retain(|finding| ![READY, RECONCILING, STALLED].contains(&finding.kind));
    for place in all.iter_mut().filter(|place| place.kind == CREDENTIALS_READY) {
        *place = finding.clone();
    }
    let nothing = all.iter().any(|finding| finding.reason == "NothingGranted");
    summarize(all, nothing, suspended);
}

fn accepted(problems: &[Problem]) -> Finding {
    let Some(first) = problems.first() else {
        return Finding::new(
            ACCEPTED,
            Status::True,
            "Accepted",
            "the client is well-formed and within its namespace's bounds",
        );
    };
    Finding::fails(
        ACCEPTED,
        first.reason,
        named(problems.iter().map(|p| format!("{}: {}", p.element, p.message)), problems.len()),
    )
}

fn credentials(standing: &Standing<'_>) -> Finding {
    match &standing.credentials {
        Some(finding) => finding.clone(),
        None => Finding::new(
            CREDENTIALS_READY,
            Status::Unknown,
            "NotAccepted",
            "nothing is written for a client that is not accepted",
        ),
    }
}

fn resolved_refs(standing: &Standing<'_>) -> Finding {
    if let Some(name) = standing.signing_key {
        let message =
            format!("there is no SigningKey {name} in the system namespace: name another in tokens.signingKey");
        return Finding::fails(RESOLVED_REFS, "UnknownSigningKey", message);
    }
    let unknown = |reason: &str| reason == reason::UNKNOWN_AUDIENCE || reason == reason::UNKNOWN_SCOPE;
    let dangling: Vec<_> = standing.refused.iter().filter(|(_, _, reason)| unknown(reason)).collect();
    let Some((_, _, reason)) = dangling.first() else {
        return Finding::new(RESOLVED_REFS, Status::True, "ResolvedRefs", "everything it names exists");
    };
    let names = dangling.iter().map(|(audience, scope, _)| format!("{scope} of {audience}"));
    let message = format!(
        "no ScopePolicy of this namespace defines {}: correct the name, or write the policy",
        named(names, dangling.len())
    );
    Finding::fails(RESOLVED_REFS, reason, message)
}

fn fully_granted(standing: &Standing<'_>, accepted: &Finding) -> Finding {
    if !accepted.is_true() {
        return Finding::new(FULLY_GRANTED, Status::Unknown, "NotAccepted", "grants count for accepted clients only");
    }
    if standing.refused_count == 0 {
        let (reason, message) = if standing.asks {
            ("Granted", "every scope it asks for is granted")
        } else {
            ("NothingAsked", "it asks for no scope: name audiences and scopes in spec.access")
        };
        return Finding::new(FULLY_GRANTED, Status::True, reason, message);
    }
    let names = standing.refused.iter().map(|(audience, scope, reason)| format!("{scope} of {audience} ({reason})"));
    let reason = if standing.granted { "SomeRefused" } else { "NothingGranted" };
    let message = format!("not granted: {}; status.refused says what to do", named(names, standing.refused_count));
    Finding::fails(FULLY_GRANTED, reason, message)
}

/// Adds `Ready`, and `Stalled` or `Reconciling` while one of them holds.
fn summarize(all: &mut Vec<Finding>, nothing_granted: bool, suspended: bool) {
    let needed = |kind: &&Finding| kind.kind == ACCEPTED || kind.kind == CREDENTIALS_READY;
    let missing = all.iter().filter(needed).find(|finding| !finding.is_true()).cloned();
    let ready = match &missing {
        Some(missing) => Finding::fails(READY, missing.reason, missing.message.clone()),
        None if nothing_granted => {
            Finding::fails(READY, "NothingGranted", "none of the scopes it asks for is granted: see status.refused")
        }
        None if suspended => {
            let message = "all is in place, but spec.state is Suspended: it gets no token until that is Active";
            Finding::new(READY, Status::True, SUSPENDED, message)
        }
        None => Finding::new(READY, Status::True, "Ready", "the client can get tokens"),
    };
    if let Some(missing) = missing {
        let stalls = missing.kind == ACCEPTED || STALLING.contains(&missing.reason);
        let kind = if stalls { STALLED } else { RECONCILING };
        all.push(Finding::new(kind, Status::True, missing.reason, missing.message));
    }
    all.insert(0, ready);
}

/// What to do about a refusal.
pub(super) fn refusal(reason: &str) -> &'static str {
    match reason {
        reason::UNKNOWN_AUDIENCE => {
            "no ScopePolicy of this namespace serves this audience: correct the name, or write the policy"
        }
        reason::UNKNOWN_SCOPE => {
            "the audience's policies define no such scope: correct the name, or add it to spec.scopes there"
        }
        _ => {
            "no policy grants this scope to this client: ask the audience's owner to add it to spec.grants of the ScopePolicy"
        }
    }
}

fn named(texts: impl Iterator<Item = String>, count: usize) -> String {
    let mut named: Vec<_> = texts.take(NAMED).collect();
    if count > named.len() {
        named.push(format!("{} more", count - named.len()));
    }
    named.join("; ")
}

impl Standing<'_> {
    /// `1 of 2`.
    pub(super) fn summary(&self, granted: usize) -> String {
        format!("{granted} of {}", granted + self.refused_count)
    }
}
