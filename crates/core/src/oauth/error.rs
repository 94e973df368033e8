//! The errors an OAuth endpoint answers with: a closed set, each with its RFC's status.

/// The errors of the token, introspection and revocation endpoints, and of resource servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OAuthError {
    /// RFC 6749 section 5.2.
    #[error("invalid_request")]
    InvalidRequest,
    /// RFC 6749 section 5.2.
    #[error("invalid_client")]
    InvalidClient,
    /// RFC 6749 section 5.2.
    #[error("invalid_grant")]
    InvalidGrant,
    /// RFC 6749 section 5.2.
    #[error("unauthorized_client")]
    UnauthorizedClient,
    /// RFC 6749 section 5.2.
    #[error("unsupported_grant_type")]
    UnsupportedGrantType,
    /// RFC 6749 section 5.2.
    #[error("invalid_scope")]
    InvalidScope,
    /// RFC 8707 section 2.
    #[error("invalid_target")]
    InvalidTarget,
    /// RFC 7009 section 2.2.1.
    #[error("unsupported_token_type")]
    UnsupportedTokenType,
    /// RFC 6750 section 3.1.
    #[error("invalid_token")]
    InvalidToken,
    /// RFC 6750 section 3.1.
    #[error("insufficient_scope")]
    InsufficientScope,
    /// RFC 6749 section 4.1.2.1.
    #[error("server_error")]
    ServerError,
    /// RFC 6749 section 4.1.2.1.
    #[error("temporarily_unavailable")]
    TemporarilyUnavailable,
}

/// A refusal, with what the client is told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}: {description}")]
pub struct Denied {
    /// The error code.
    pub error: OAuthError,
    /// `error_description`.
    pub description: &'static str,
}

// === impl OAuthError ===

impl OAuthError {
    /// The `error` of the answer.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status it comes with.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }

    pub(super) const fn because(self, description: &'static str) -> Denied {
        Denied { error: self, description }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_prints_its_code_and_has_the_status_of_its_rfc() {
        for (error, code, status) in [
            (OAuthError::InvalidRequest, "invalid_request", 400),
            (OAuthError::InvalidClient, "invalid_client", 401),
            (OAuthError::UnauthorizedClient, "unauthorized_client", 400),
            (OAuthError::InvalidTarget, "invalid_target", 400),
            (OAuthError::InsufficientScope, "insufficient_scope", 403),
            (OAuthError::TemporarilyUnavailable, "temporarily_unavailable", 503),
        ] {
            assert_eq!((error.code(), error.to_string().as_str(), error.status()), (code, code, status));
        }
    }
}
