//! The headers that tell a backend who calls.
//!
//! Flows in: the verified token, if one was read, and the names of the headers that came with the request. Flows out:
//! headers to set, and every other spelling of them to remove, so that a backend never sees the caller's own.

use std::borrow::Cow;
use std::sync::Arc;

use countersign_core::request::{Headers, is_identity_header};
use countersign_core::token::AccessToken;

pub(super) const SUBJECT: &str = "x-countersign-subject";
pub(super) const CLIENT: &str = "x-countersign-client";
pub(super) const SCOPE: &str = "x-countersign-scope";
pub(super) const DECISION: &str = "x-countersign-decision";

/// All of them, and the spelling frameworks that read environment variables cannot tell from it.
const NAMES: [(&str, &str); 4] = [
    (SUBJECT, "x_countersign_subject"),
    (CLIENT, "x_countersign_client"),
    (SCOPE, "x_countersign_scope"),
    (DECISION, "x_countersign_decision"),
];

/// As whom a request passes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pass {
    /// Absent where no credential was read.
    pub(super) token: Option<Arc<AccessToken>>,
    /// How it came to pass, in one word.
    pub(super) decision: &'static str,
}

// === impl Pass ===

impl Pass {
    /// The headers to set.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let of_token = self.token.as_ref().map(|token| {
            [
                (SUBJECT, Cow::Borrowed(&*token.subject)),
                (CLIENT, Cow::Borrowed(token.client_id.as_str())),
                (SCOPE, Cow::Owned(token.scope.to_string())),
            ]
        });
        of_token.into_iter().flatten().chain([(DECISION, Cow::Borrowed(self.decision))])
    }

    /// The headers to remove: all spellings but those that are set.
    pub(super) fn removals(&self, headers: &dyn Headers) -> Vec<Cow<'static, str>> {
        let is_set =
            |name: &str| name == DECISION || (self.token.is_some() && NAMES.iter().any(|(set, _)| *set == name));
        let known = NAMES.iter().flat_map(|(name, alias)| [*name, *alias]);
        let mut names: Vec<_> = known.filter(|name| !is_set(name)).map(Cow::Borrowed).collect();
        headers.visit(&mut |name, _| {
            if is_identity_header(name.as_bytes()) {
                let name = name.to_ascii_lowercase();
                if !is_set(&name) && !names.iter().any(|known| *known == name) {
                    names.push(Cow::Owned(name));
                }
            }
        });
        names
    }
}
