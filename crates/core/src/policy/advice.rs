//! What each reason of a verdict means, and what whoever meets it does next: the words of `explain` and of the manual.
//!
//! Flows in: a [`Reason`]. Flows out: its line of the table. A test holds the table against [`Reason::names`], another the
//! manual against the table.

use super::Reason;

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// [`Reason::name`].
    pub reason: &'static str,
    /// What is so.
    pub meaning: &'static str,
    /// What to do about it.
    pub next: &'static str,
}

const fn line(reason: &'static str, meaning: &'static str, next: &'static str) -> Advice {
    Advice { reason, meaning, next }
}

impl Advice {
    /// The table, in the order in which a request is judged.
    pub const ALL: [Self; 53] = [
        line("Public", "the rule is Public", "nothing"),
        line("Preflight", "a CORS preflight, and the policy lets them pass", "nothing"),
        line("Authenticated", "any token for the audience will do, and this is one", "nothing"),
        line("Scoped", "the token has the scopes, and the condition holds", "nothing"),
        line("AmbiguousMethod", "the method is no upper-case token", "send the method in upper case"),
        line(
            "MethodOverride",
            "a header asks for another method than the request's",
            "remove X-HTTP-Method, X-Method-Override and X-HTTP-Method-Override, or send that method itself",
        ),
        line("AmbiguousHost", "the host is no single host name or address", "send one host name"),
        line("HostMismatch", "the request names more than one host", "send Host once, equal to :authority"),
        line("TargetTooLong", "path and query have more than 8192 bytes", "send parameters in the body"),
        line(
            "PathNotAbsolute",
            "the path does not begin with a slash",
            "send a path that does; CONNECT and * are not judged",
        ),
        line(
            "PathCharacter",
            "the path holds a character that readers take differently: ; \\ # or one that is not visible ASCII",
            "escape it, or leave it out; for ; and \\ there is no escape either",
        ),
        line(
            "PathEscape",
            "the path holds a malformed escape, or one of / \\ . % ; ? # or a control character",
            "send the path without it",
        ),
        line(
            "PathSegment",
            "the path holds an empty, . or .. segment",
            "send it normalised, and let the proxy normalise (Envoy: normalize_path, merge_slashes)",
        ),
        line("AmbiguousQuery", "the query holds a fragment, a space or control bytes", "escape them"),
        line(
            "AmbiguousHeader",
            "a header the decision rests on is repeated, malformed or to be dropped by Connection",
            "send it once",
        ),
        line(
            "AmbiguousCredential",
            "several credentials, or one that can be read in two ways",
            "send Authorization once as `Bearer <token>`, one space, and no access_token in the query",
        ),
        line(
            "NoCredential",
            "there is no bearer token",
            "send `Authorization: Bearer <token>`; `countersign token` gets one",
        ),
        line("TooLong", "the token has more than 16384 bytes", "use a token of this issuer"),
        line(
            "Malformed",
            "the token is no compact JWS of three base64url parts",
            "send the access_token of the issuer's answer as it is",
        ),
        line("BadHeader", "the token's header cannot be understood", "use a token of this issuer"),
        line(
            "WrongType",
            "the token is no access token: its typ is not at+jwt",
            "send the access token, not an ID token",
        ),
        line(
            "UnsupportedHeader",
            "the token's header asks for crit, b64, zip, enc or cty",
            "use a token of this issuer",
        ),
        line("WrongAlgorithm", "the algorithm is not that of the key", "use a token of this issuer"),
        line(
            "UnknownKey",
            "no ring has a key with the token's kid",
            "use a token of this issuer; right after a restore, get a new one",
        ),
        line("KeyRetired", "the key that signed it has left service", "get a new token"),
        line("KeyRevoked", "the key that signed it was compromised", "get a new token"),
        line("BadSignature", "the signature does not hold: the token was changed or is another's", "get a new token"),
        line("BadClaims", "the claims cannot be understood", "use a token of this issuer"),
        line("MissingClaim", "a required claim is missing", "use a token of this issuer"),
        line("WrongIssuer", "the token is another issuer's", "get one from this installation's issuer"),
        line(
            "WrongAudience",
            "the token is for another audience",
            "get one for this audience: `resource=<audience>` in the token request",
        ),
        line("Expired", "the token is past its end", "get a new token before the old one ends; expires_in says when"),
        line("NotYetValid", "the token is from the future", "correct the clock that is wrong"),
        line("LivesTooLong", "the token lives longer than the issuer lets any", "get a new token"),
        line("OldEpoch", "the client's tokens were revoked after this one was issued", "get a new token"),
        line("Revoked", "the token was revoked", "get a new token"),
        line(
            "NoCertificate",
            "the token is bound to its client's certificate, and the proxy reports none",
            "call with the certificate, through an Envoy that asks over gRPC with include_peer_certificate",
        ),
        line(
            "WrongCertificate",
            "the token is bound to another certificate than the caller's",
            "call with the certificate the token was got with, or get a new token",
        ),
        line("NoKeys", "this verifier has no keys yet", "look at its /readyz: it waits for the first key of the ring"),
        line(
            "NoPolicyNamed",
            "the proxy's configuration names no policy",
            "name it: countersign.dev/policy in context_extensions, or in the path over HTTP",
        ),
        line(
            "NoSuchPolicy",
            "the policy that is named does not exist, or nobody holds the host",
            "correct the name in the proxy's configuration, or apply the ScopePolicy",
        ),
        line(
            "PolicyUnreadable",
            "a policy that has a say here cannot be read, so that nobody knows what it forbids",
            "correct the object, or upgrade this replica: the log and countersign_objects_left_out name it",
        ),
        line(
            "NotOfPolicy",
            "the policy does not hold the request's host and path",
            "call it by a name it holds, or add the host to spec.routes, or correct which policy the proxy names",
        ),
        line(
            "NoRule",
            "no rule's path matches, and unmatched is Deny",
            "add a rule with this path, or correct the path",
        ),
        line(
            "NoRuleForMethod",
            "the most specific path that matches has no rule for the method",
            "add the method to that rule, or a rule with the same path and this method",
        ),
        line("AmbiguousRule", "two rules have the most specific path and the method, and both deny", "merge them"),
        line(
            "RuleNotUnderstood",
            "the rule that decides could not be understood or compiled, so it denies",
            "correct it: status.problems and `countersign check` say what is wrong",
        ),
        line(
            "InsufficientScope",
            "the token lacks scopes the rule asks for",
            "ask for the scope when getting the token; it must be in the client's spec.access and granted by the policy",
        ),
        line(
            "ConditionFalse",
            "the token has the scopes, and the condition in when is false",
            "compare the condition with the claims and the request",
        ),
        line(
            "ConditionBroken",
            "the condition in when met an error, a missing key, no bool or too large a value",
            "guard with has(…), and compare the condition with the claims and the request",
        ),
        line("NothingAllowed", "the rule allows nobody", "add an entry to its allow"),
        line(
            "UntrustedProxy",
            "the request comes from no proxy that may say what the original request was",
            "name the proxy's addresses with --trusted-proxy",
        ),
        line("NotReady", "this replica does not know its policies yet", "look at its /readyz"),
    ];

    /// The line of a reason.
    pub fn of(reason: Reason) -> Option<&'static Self> {
        const ALL: &[Advice] = &Advice::ALL;
        ALL.iter().find(|advice| advice.reason == reason.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_line_and_no_line_is_without_a_reason() {
        let named: BTreeSet<_> = Advice::ALL.iter().map(|advice| advice.reason).collect();
        assert_eq!((named.len(), named), (Advice::ALL.len(), Reason::names().collect()));
        let silent: Vec<_> = Advice::ALL.into_iter().filter(|a| a.meaning.is_empty() || a.next.is_empty()).collect();
        assert_eq!(silent, []);
        assert_eq!(Advice::of(Reason::NoRule).map(|advice| advice.reason), Some("NoRule"));
    }
}
