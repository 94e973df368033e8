//! Access tokens: what the issuer signs and what makes one acceptable.
//!
//! Flows in: the text of a token, the public keys of the rings, the revocations, the time. Flows out: an
//! [`AccessToken`], or a [`TokenRefusal`] from a closed set.
//!
//! ```text
//! text ── length ── three parts ── header ── key by kid ── signature ── claims ── times ──► AccessToken
//!                                                                                              │ check, on every request:
//!                                                                                              ▼ times, key state, epoch, deny list
//! ```
//!
//! Nothing is decoded before its length is known to be small, and no claim is read before the signature holds.

mod access_token;
mod algorithm;
mod claims;
mod client_assertion;
mod confirmation;
mod earlier;
mod header;
mod json;
mod jwk;
mod key_set;
mod keys;
mod refusal;
mod service_account;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

pub use access_token::AccessToken;
pub use algorithm::Algorithm;
pub use claims::{Claims, REGISTERED_CLAIMS, compact_header};
pub use client_assertion::{ClientAssertion, ClientKey, claimed_issuer, verify_client_assertion};
pub use confirmation::{Confirmation, Thumbprint};
pub use earlier::{Delegation, Earlier, MAX_EXCHANGES};
pub use json::strict_json;
pub use jwk::{JwkError, Jwks, PublicJwk};
pub use key_set::{KeySetError, read_key_set};
pub use keys::{KeySet, VerificationKey};
pub use refusal::TokenRefusal;
pub use service_account::{ClusterIssuer, ClusterKeysError, ServiceAccountToken};
pub use verify::{MAX_TOKEN, read_without_checking_signature, verify};
