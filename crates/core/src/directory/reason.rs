//! The reasons problems are reported with: a closed set, for conditions and metric labels.

/// The element is malformed, or contradicts another.
pub const INVALID: &str = "Invalid";
/// The choice is part of the API but not of this version.
pub const NOT_IMPLEMENTED: &str = "NotImplemented";
/// A private claim has a name with a registered meaning.
pub const REGISTERED_CLAIM: &str = "RegisteredClaim";
/// What issuers have to note together is noted nowhere.
pub const NEEDS_SHARED_STORE: &str = "NeedsSharedStore";
/// The namespace may not claim this.
pub const NOT_ALLOWED: &str = "NotAllowed";
/// The issuer's or the API server's own.
pub const RESERVED: &str = "Reserved";
/// A condition cannot be compiled.
pub const INVALID_CONDITION: &str = "InvalidCondition";
/// Two rules have the same path and method.
pub const AMBIGUOUS_RULE: &str = "AmbiguousRule";
/// Someone else claims this too, and keeps it.
pub const CONFLICT: &str = "Conflict";
/// An older client of the namespace writes the Secret of this name.
pub const SECRET_NAME_CONFLICT: &str = "SecretNameConflict";
/// No policy defines the scope for this audience.
pub const UNKNOWN_SCOPE: &str = "UnknownScope";
/// No policy of the namespace serves the audience.
pub const UNKNOWN_AUDIENCE: &str = "UnknownAudience";
/// No request can reach the element.
pub const NEVER_REACHED: &str = "NeverReached";
/// Nobody that is known can use the grant.
pub const NO_GRANTEE: &str = "NoGrantee";
/// No token is ever exchanged by the client.
pub const NEVER_EXCHANGES: &str = "NeverExchanges";
/// A condition rests on what the caller says of itself.
pub const CALLERS_WORD: &str = "CallersWord";
/// No policy grants this to the client, for whatever reason.
pub const NOT_GRANTED: &str = "NotGranted";
