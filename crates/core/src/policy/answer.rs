//! What is answered, and why, as data the wires render.
//!
//! Flows in: what [`super::decide`] found. Flows out: status, challenge (RFC 6750 section 3), identity, and reasons from
//! a closed set.

use std::fmt;
use std::sync::Arc;

use super::set::Selected;
use crate::names::ObjectRef;
use crate::request::Ambiguity;
use crate::scope::ScopeSet;
use crate::token::{AccessToken, TokenRefusal};

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict<'s> {
    /// What is answered.
    pub answer: Answer,
    /// The rule that decided, where one did.
    pub rule: Option<RuleRef<'s>>,
    /// What would have been answered, had the policy not been in Shadow mode.
    pub not_enforced: Option<Refusal>,
    /// What a Shadow rule would have answered.
    pub shadow_rule: Option<ShadowRule<'s>>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The request passes.
    Allow {
        /// Why.
        reason: Reason,
        /// As whom; absent where no credential was read.
        identity: Option<Arc<AccessToken>>,
    },
    /// It does not.
    Deny(Refusal),
}

/// A rule and the policy it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleRef<'s> {
    /// The policy.
    pub policy: &'s ObjectRef,
    /// The rule's name.
    pub rule: &'s str,
}

/// What a Shadow rule would have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowRule<'s> {
    /// The rule.
    pub rule: RuleRef<'s>,
    /// Why it would have refused; absent when it would have let pass.
    pub refusal: Option<Reason>,
}

/// A refusal a client may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: Status,
    /// The error code of the challenge; absent where RFC 6750 section 3.1 wants none.
    pub error: Option<BearerError>,
    /// The scopes that were needed, with `insufficient_scope`.
    pub scope: Option<ScopeSet>,
    /// Why, for the operator.
    pub reason: Reason,
}

/// The statuses a refusal may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The request or its credential can be read in two ways.
    BadRequest,
    /// There is no good token.
    Unauthorized,
    /// The token does not open this.
    Forbidden,
    /// This replica cannot tell.
    Unavailable,
}

/// The error codes of RFC 6750 section 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BearerError {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_token`
    InvalidToken,
    /// `insufficient_scope`
    InsufficientScope,
}

/// Why a request passes or not: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The rule is Public.
    Public,
    /// A CORS preflight, where the policy lets them pass.
    Preflight,
    /// Any token for the audience will do.
    Authenticated,
    /// The token has the scopes and the condition holds.
    Scoped,
    /// The request can be read in two ways.
    Request(Ambiguity),
    /// The request carries several credentials, or one that can be read in two ways.
    AmbiguousCredential,
    /// There is no credential.
    NoCredential,
    /// The token is not acceptable.
    Token(TokenRefusal),
    /// The proxy's configuration names no policy.
    NoPolicyNamed,
    /// The policy named does not exist.
    NoSuchPolicy,
    /// A policy that has a say here cannot be read: what it forbids is not known.
    PolicyUnreadable,
    /// The host or path is not one the policy holds.
    NotOfPolicy,
    /// No rule's path matches.
    NoRule,
    /// The most specific path has no rule for the method.
    NoRuleForMethod,
    /// Several rules have the most specific path and the method.
    AmbiguousRule,
    /// The rule could not be understood or compiled.
    RuleNotUnderstood,
    /// The rule asks for scopes the token lacks.
    InsufficientScope,
    /// The scopes hold, the condition does not.
    ConditionFalse,
    /// The scopes hold, the condition could not be judged.
    ConditionBroken,
    /// The rule allows nobody.
    NothingAllowed,
    /// The request comes from no proxy that may say what the original request was.
    UntrustedProxy,
    /// This replica does not know its policies and keys yet.
    NotReady,
}

// === impl Verdict ===

impl<'s> Verdict<'s> {
    pub(super) fn passed(reason: Reason, identity: Option<Arc<AccessToken>>, rule: Option<RuleRef<'s>>) -> Self {
        Self { answer: Answer::Allow { reason, identity }, rule, not_enforced: None, shadow_rule: None }
    }

    /// A refusal.
    pub fn refused(refusal: Refusal, rule: Option<RuleRef<'s>>) -> Self {
        Self { answer: Answer::Deny(refusal), rule, not_enforced: None, shadow_rule: None }
    }

    pub(super) fn let_pass(refusal: Refusal, identity: Option<Arc<AccessToken>>, rule: Option<RuleRef<'s>>) -> Self {
        let answer = Answer::Allow { reason: refusal.reason, identity };
        Self { answer, rule, not_enforced: Some(refusal), shadow_rule: None }
    }

    /// Why, whichever way it went.
    pub fn reason(&self) -> Reason {
        match &self.answer {
            Answer::Allow { reason, .. } => *reason,
            Answer::Deny(refusal) => refusal.reason,
        }
    }
}

// === impl Selected ===

impl<'s> Selected<'s> {
    pub(super) fn reference(&self) -> RuleRef<'s> {
        RuleRef { policy: self.member.policy.object(), rule: &self.rule.name }
    }
}

// === impl Refusal ===

impl Refusal {
    /// 400, for a request that can be read in two ways.
    pub fn ambiguous(ambiguity: Ambiguity) -> Self {
        Self::bad_request(Reason::Request(ambiguity))
    }

    /// 400.
    pub fn bad_request(reason: Reason) -> Self {
        Self { status: Status::BadRequest, error: Some(BearerError::InvalidRequest), scope: None, reason }
    }

    /// 401 without an error code, since no credential was sent.
    pub(super) fn no_credential() -> Self {
        Self { status: Status::Unauthorized, error: None, scope: None, reason: Reason::NoCredential }
    }

    /// 401, or 503 where the fault is not the caller's.
    pub(super) fn token(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::NoKeys => Self::unavailable(Reason::Token(refusal)),
            _ => Self {
                status: Status::Unauthorized,
                error: Some(BearerError::InvalidToken),
                scope: None,
                reason: Reason::Token(refusal),
            },
        }
    }

    /// 403 without an error code.
    pub fn forbidden(reason: Reason) -> Self {
        Self { status: Status::Forbidden, error: None, scope: None, reason }
    }

    pub(super) fn insufficient_scope(needed: &ScopeSet) -> Self {
        Self {
            status: Status::Forbidden,
            error: Some(BearerError::InsufficientScope),
            scope: Some(needed.clone()),
            reason: Reason::InsufficientScope,
        }
    }

    /// 503: this replica cannot tell.
    pub fn unavailable(reason: Reason) -> Self {
        Self { status: Status::Unavailable, error: None, scope: None, reason }
    }

    /// The value of `WWW-Authenticate`: with every 401, and wherever there is an error code.
    pub fn challenge(&self, realm: &str) -> Option<String> {
        if self.status != Status::Unauthorized && self.error.is_none() {
            return None;
        }
        let mut challenge = format!("Bearer realm=\"{realm}\"");
        if let Some(error) = self.error {
            challenge.push_str(", error=\"");
            challenge.push_str(error.code());
            challenge.push('"');
        }
        if let Some(scope) = &self.scope {
            challenge.push_str(", scope=\"");
            challenge.push_str(&scope.to_string());
            challenge.push('"');
        }
        Some(challenge)
    }
}

impl Status {
    /// As a number.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::Unavailable => 503,
        }
    }
}

impl BearerError {
    /// As RFC 6750 spells it.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

closed_names!(Reason {
    Public => "Public",
    Preflight => "Preflight",
    Authenticated => "Authenticated",
    Scoped => "Scoped",
    AmbiguousCredential => "AmbiguousCredential",
    NoCredential => "NoCredential",
    NoPolicyNamed => "NoPolicyNamed",
    NoSuchPolicy => "NoSuchPolicy",
    PolicyUnreadable => "PolicyUnreadable",
    NotOfPolicy => "NotOfPolicy",
    NoRule => "NoRule",
    NoRuleForMethod => "NoRuleForMethod",
    AmbiguousRule => "AmbiguousRule",
    RuleNotUnderstood => "RuleNotUnderstood",
    InsufficientScope => "InsufficientScope",
    ConditionFalse => "ConditionFalse",
    ConditionBroken => "ConditionBroken",
    NothingAllowed => "NothingAllowed",
    UntrustedProxy => "UntrustedProxy",
    NotReady => "NotReady",
}, Request(Ambiguity), Token(TokenRefusal));

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
