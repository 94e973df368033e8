//! The form of a signed value, and what exactly is signed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;

use super::Refusal;
use crate::names::{ClientId, IssuerName};

const PREFIX: &str = "cs1_";
const CONTEXT: &[u8] = b"countersign client secret v1";
const SIGNATURE: usize = 64;
/// Version, issue time and signature, in base64url without padding.
const ENCODED: usize = 102;

/// What a value says, before anyone checked the signature. `Debug` leaves the signature out.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    /// The signer's key version.
    pub version: u32,
    /// When it says it was issued.
    pub issued_at: Timestamp,
    pub(super) signature: [u8; SIGNATURE],
}

impl Presented {
    /// Reads the form: one spelling for each value.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let encoded = text.strip_prefix(PREFIX).filter(|encoded| encoded.len() == ENCODED).ok_or(Refusal::Form)?;
        let bytes = BASE64URL.decode(encoded).map_err(|_| Refusal::Form)?;
        let (version, rest) = bytes.split_first_chunk::<4>().ok_or(Refusal::Form)?;
        let (issued_at, signature) = rest.split_first_chunk::<8>().ok_or(Refusal::Form)?;
        Ok(Self {
            version: u32::from_be_bytes(*version),
            issued_at: Timestamp::from_second(i64::from_be_bytes(*issued_at)).map_err(|_| Refusal::Form)?,
            signature: signature.try_into().map_err(|_| Refusal::Form)?,
        })
    }
}

impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presented")
            .field("version", &self.version)
            .field("issued_at", &self.issued_at)
            .finish_non_exhaustive()
    }
}

/// What is signed. Each name is preceded by its length, so that no two different messages have the same bytes.
pub fn message(issuer: &IssuerName, client: &ClientId, version: u32, issued_at: Timestamp) -> Vec<u8> {
    let mut message = CONTEXT.to_vec();
    for name in [issuer.as_str(), client.as_str()] {
        // Both kinds of name are bounded well below this.
        message.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
        message.extend(name.as_bytes());
    }
    message.extend(version.to_be_bytes());
    message.extend(issued_at.as_second().to_be_bytes());
    message
}

/// The value made of a signature over [`message`].
pub fn value(version: u32, issued_at: Timestamp, signature: &[u8; SIGNATURE]) -> String {
    let mut bytes = Vec::with_capacity(12 + SIGNATURE);
    bytes.extend(version.to_be_bytes());
    bytes.extend(issued_at.as_second().to_be_bytes());
    bytes.extend(signature);
    format!("{PREFIX}{}", BASE64URL.encode(bytes))
}
