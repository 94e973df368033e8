//! Client secrets: values the controller signs and any issuer can check without a registry.
//!
//! ```text
//! cs1_ base64url( key version, 4 bytes | issue time in seconds, 8 bytes | Ed25519 signature, 64 bytes )
//! ```
//!
//! Flows in: a presented value, the client id it is presented for, the signer's public keys. Flows out: when it was
//! issued, or a refusal from a closed set. [`step`] decides when a client gets a new value and when older ones end.

mod accept;
mod reference;
mod rotation;
mod signer;
#[cfg(test)]
mod tests;
mod value;

pub use accept::{Accepted, Refusal, accept};
pub use reference::{KeptRecord, NoRecord, Record, RecordKey, TooWeak, check_strength, is_hard_to_guess};
pub use rotation::{
    AtDeadline, Found, Mode, Observed, Retirement, Rotation, SecretFindings, SecretSpec, SecretState, SecretStep,
    Usage, Write, step,
};
pub use signer::{SignerHalf, SignerKeyring, SignerObserved, SignerStep, SignerVersion, VerifyingKeys, VersionState};
pub use value::{Presented, message, value};
