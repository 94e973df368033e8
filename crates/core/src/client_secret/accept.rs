//! Whether a presented value is this client's, and still good.

use jiff::Timestamp;

use super::{Presented, VerifyingKeys, message};
use crate::names::{ClientId, IssuerName};

/// Why a presented value is refused. The client hears `invalid_client` whichever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Not the form of a value of ours.
    #[error("the secret is not of a known form")]
    Form,
    /// Signed, it says, with a key that is not known or no longer used.
    #[error("the secret's key version is unknown")]
    UnknownVersion,
    /// The signature does not hold for this client.
    #[error("the secret is not this client's")]
    BadSignature,
    /// Issued before the earliest time still accepted.
    #[error("the secret was issued too early")]
    TooOld,
}

impl Refusal {
    /// A stable name for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Form => "Form",
            Self::UnknownVersion => "UnknownVersion",
            Self::BadSignature => "BadSignature",
            Self::TooOld => "TooOld",
        }
    }
}

/// A value found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The signer's key version.
    pub version: u32,
}

/// Checks a value presented for a client; `not_before` is that of its [`SecretState`](super::SecretState). The
/// signature is checked before the time, so that the refusal of a value that was once good costs what that of a wrong one costs.
pub fn accept(
    presented: &str,
    client: &ClientId,
    issuer: &IssuerName,
    keys: &VerifyingKeys,
    not_before: Timestamp,
) -> Result<Accepted, Refusal> {
    let presented = Presented::parse(presented)?;
    let keys = keys.get(presented.version).ok_or(Refusal::UnknownVersion)?;
    let message = message(issuer, client, presented.version, presented.issued_at);
    if !keys.iter().any(|key| key.verify_sig(&message, &presented.signature).is_ok()) {
        return Err(Refusal::BadSignature);
    }
    if presented.issued_at < not_before {
        return Err(Refusal::TooOld);
    }
    Ok(Accepted { issued_at: presented.issued_at, version: presented.version })
}
