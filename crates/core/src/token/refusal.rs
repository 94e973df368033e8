//! Why a token is not acceptable: a closed set, safe to count and to log.

/// Why a token was refused. The client hears `invalid_token` whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefusal {
    /// More bytes than any token of ours has.
    #[error("the token is too long")]
    TooLong,
    /// Not three base64url parts.
    #[error("the token is not a compact JWS")]
    Malformed,
    /// The header is not strict JSON with the members and types required.
    #[error("the header cannot be understood")]
    BadHeader,
    /// The `typ` is not that of an access token.
    #[error("the token is not an access token")]
    WrongType,
    /// A header member asks for something that is not done here: `crit`, `b64`, `zip`, `enc`, `cty`.
    #[error("the header asks for an unsupported extension")]
    UnsupportedHeader,
    /// The algorithm is unknown, or not that of the key.
    #[error("the algorithm is not that of the key")]
    WrongAlgorithm,
    /// The `kid` has the form of a thumbprint, but no ring has such a key.
    #[error("the key is unknown")]
    UnknownKey,
    /// The key has left service.
    #[error("the key is no longer in use")]
    KeyRetired,
    /// The key was compromised.
    #[error("the key was revoked")]
    KeyRevoked,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    BadSignature,
    /// The claims are not strict JSON with the types required, or bind the token to what is not checked here.
    #[error("the claims cannot be understood")]
    BadClaims,
    /// A required claim is missing.
    #[error("a required claim is missing")]
    MissingClaim,
    /// Another issuer's token.
    #[error("the issuer is another")]
    WrongIssuer,
    /// The audience is not the one asked for.
    #[error("the audience is another")]
    WrongAudience,
    /// Past its end.
    #[error("the token has expired")]
    Expired,
    /// Before its beginning, or issued in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its life is longer than any the issuer gives.
    #[error("the token lives too long")]
    LivesTooLong,
    /// Its client's, or its subject's, epoch has passed.
    #[error("the token was issued under an earlier epoch")]
    OldEpoch,
    /// The token itself was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// It is bound to a certificate, and none is known to have been shown.
    #[error("the token is bound to a certificate that was not shown")]
    NoCertificate,
    /// It is bound to another certificate.
    #[error("the token is bound to another certificate")]
    WrongCertificate,
    /// There are no keys yet: this is the verifier's fault, not the caller's.
    #[error("there are no keys to check the token with")]
    NoKeys,
}

closed_names!(TokenRefusal {
    TooLong => "TooLong",
    Malformed => "Malformed",
    BadHeader => "BadHeader",
    WrongType => "WrongType",
    UnsupportedHeader => "UnsupportedHeader",
    WrongAlgorithm => "WrongAlgorithm",
    UnknownKey => "UnknownKey",
    KeyRetired => "KeyRetired",
    KeyRevoked => "KeyRevoked",
    BadSignature => "BadSignature",
    BadClaims => "BadClaims",
    MissingClaim => "MissingClaim",
    WrongIssuer => "WrongIssuer",
    WrongAudience => "WrongAudience",
    Expired => "Expired",
    NotYetValid => "NotYetValid",
    LivesTooLong => "LivesTooLong",
    OldEpoch => "OldEpoch",
    Revoked => "Revoked",
    NoCertificate => "NoCertificate",
    WrongCertificate => "WrongCertificate",
    NoKeys => "NoKeys",
});
