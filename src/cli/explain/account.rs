//! The account of one request: all that is told of it, ready to be printed.
//!
//! The members are an interface (docs/reference/explain.md): they are added to, never renamed.

use std::collections::BTreeMap;

use countersign_core::policy::{Advice, Reason};
use serde::Serialize;
use serde_json::Value;

use super::culprit::Culprit;
use crate::objects::folder::manifests::Place;

/// Everything there is to tell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    /// What is wrong with manifests of which nothing is in force until they are corrected.
    pub(super) not_in_force: Vec<NotInForce>,
    pub(super) allowed: bool,
    /// What nobody checked and `allowed` rests on.
    pub(super) only_if: Vec<Assumed>,
    /// What the client sees; 200 stands for whatever the service answers.
    pub(super) status: u16,
    /// The verifier's, or the issuer's where it gives the client no token.
    pub(super) reason: String,
    pub(super) meaning: String,
    pub(super) www_authenticate: Option<String>,
    /// Why it would be refused, were the policy not in Shadow mode.
    pub(super) not_enforced: Option<String>,
    pub(super) request: Request,
    pub(super) caller: Caller,
    pub(super) policy: Policy,
    /// The rule that decides.
    pub(super) rule: Option<Rule>,
    /// The rules nearest to it, or to what may have been meant.
    pub(super) other_rules: Vec<Rule>,
    /// How many rules were considered.
    pub(super) rules: usize,
    /// What to change so that the request is allowed, also once the policy is enforced; empty where it is.
    pub(super) next: Vec<String>,
}

/// One thing for which an object is not in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotInForce {
    pub(super) file: String,
    /// 0 is the file as a whole.
    pub(super) line: usize,
    /// Empty where it is the whole.
    pub(super) field: String,
    pub(super) message: String,
}

impl NotInForce {
    pub(super) fn new(place: &Place, field: String, message: String) -> Self {
        Self { file: place.file.display().to_string(), line: place.line, field, message }
    }

    /// `file:line: field: message`.
    pub(super) fn line(&self) -> String {
        let Self { file, line, field, message } = self;
        let line = if *line == 0 { String::new() } else { format!(":{line}") };
        let field = if field.is_empty() { String::new() } else { format!(" {field}:") };
        format!("{file}{line}:{field} {message}")
    }
}

/// What may not be so, for all that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Assumed {
    SignatureHolds,
    ClientExists,
    NotRevoked,
    CertificateShown,
}

/// The request in its one canonical reading.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) url: String,
    /// Absent where the request can be read in two ways: then nobody looks at caller, policies and rules.
    pub(super) read: Option<Reading>,
    /// For what it can be read in two ways.
    pub(super) culprit: Option<Culprit>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reading {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
    pub(super) segments: Vec<String>,
    pub(super) query: String,
    pub(super) preflight: bool,
}

/// Who calls.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Caller {
    /// `nobody`, `token` or `client`, also where nobody looks at it.
    pub(super) kind: &'static str,
    pub(super) client: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) key_id: Option<String>,
    /// Seconds until the token ends; negative once it has.
    pub(super) seconds_left: Option<i64>,
    /// What stands in the token, whether or not it is good. Never its signature.
    pub(super) claims: Option<Value>,
    /// Which check of the token failed.
    pub(super) refusal: Option<Failure>,
    /// Absent where there is no token to check.
    pub(super) signature_checked: Option<bool>,
    /// What was not checked, and what to give so that it is.
    pub(super) unchecked: Vec<&'static str>,
    /// What the issuer answers instead of a token.
    pub(super) issuer: Option<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) meaning: String,
}

/// The policies that were asked.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    /// As a proxy's configuration would name it.
    pub(super) named: String,
    /// Those that hold the host and path.
    pub(super) holding: Vec<String>,
    pub(super) audiences: Vec<String>,
    /// `Enforce` or `Shadow`.
    pub(super) mode: Option<&'static str>,
    /// What happens where no rule's path matches.
    pub(super) unmatched: Option<&'static str>,
}

/// One match of one rule.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) policy: String,
    pub(super) name: String,
    /// `spec.rules[3].matches[0]`.
    pub(super) element: String,
    /// `file:line`; absent where it comes from a cluster.
    pub(super) place: Option<String>,
    /// Empty: every method.
    pub(super) methods: Vec<&'static str>,
    pub(super) path: String,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) protection: &'static str,
    pub(super) allow: Vec<Allow>,
    /// How it stands to the request.
    pub(super) standing: &'static str,
}

/// One way to be let in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Allow {
    pub(super) scopes: Vec<String>,
    /// Absent where nobody judged them, since the token is refused.
    pub(super) missing: Option<Vec<String>>,
    pub(super) when: Option<String>,
    /// `true`, `false` or `broken`; absent where it is not judged.
    pub(super) outcome: Option<&'static str>,
}

// === impl Caller ===

impl Caller {
    /// Name and meaning of a reason. That there is no token says less than why the issuer gives none.
    pub(super) fn reason(&self, reason: Reason) -> (String, String) {
        match (&self.issuer, &self.client) {
            (Some(failure), Some(client)) if reason == Reason::NoCredential => {
                let Failure { reason, meaning } = failure;
                (reason.clone(), format!("the issuer gives {client} no token: {reason}: {meaning}"))
            }
            _ => {
                let meaning = Advice::of(reason).map_or_else(String::new, |advice| advice.meaning.to_owned());
                (reason.name().to_owned(), meaning)
            }
        }
    }
}
