//! Makes key pairs.
//!
//! Flows in: an algorithm. Flows out: the private half as PKCS#8, which goes into its Secret and nowhere else, and the
//! public half.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};
use countersign_core::token::{Algorithm, JwkError, PublicJwk};
use zeroize::Zeroizing;

/// Why no pair was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeError {
    #[error("the cryptography library gave no key")]
    Generate(#[from] Unspecified),
    #[error("write down the public half")]
    Public(#[from] JwkError),
    #[error("the work was broken off")]
    BrokenOff(#[from] tokio::task::JoinError),
}

/// A pair just made. No `Debug`.
pub(super) struct Made {
    pub(super) private: Zeroizing<Vec<u8>>,
    pub(super) jwk: PublicJwk,
}

/// Makes a pair; an RSA pair takes a good part of a second, so not on a thread that serves.
pub(super) async fn make(algorithm: Algorithm) -> Result<Made, MakeError> {
    tokio::task::spawn_blocking(move || generate(algorithm)).await?
}

fn generate(algorithm: Algorithm) -> Result<Made, MakeError> {
    match algorithm {
        Algorithm::ES256 => ecdsa(algorithm, &ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ecdsa(algorithm, &ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate()?;
            made(algorithm, pair.to_pkcs8()?.as_ref(), pair.public_key().as_ref())
        }
        Algorithm::RS256 | Algorithm::PS256 => {
            let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
            let private: Pkcs8V1Der<'_> = pair.as_der()?;
            made(algorithm, private.as_ref(), pair.public_key().as_ref())
        }
    }
}

fn ecdsa(algorithm: Algorithm, kind: &'static EcdsaSigningAlgorithm) -> Result<Made, MakeError> {
    let pair = EcdsaKeyPair::generate(kind)?;
    made(algorithm, pair.to_pkcs8v1()?.as_ref(), pair.public_key().as_ref())
}

fn made(algorithm: Algorithm, private: &[u8], public: &[u8]) -> Result<Made, MakeError> {
    Ok(Made { private: private.to_vec().into(), jwk: PublicJwk::from_public_key(algorithm, public)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::signer::Signer;

    #[tokio::test]
    async fn every_algorithm_gives_a_pair_an_issuer_can_sign_with() {
        for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256] {
            let made = make(algorithm).await.unwrap();
            let signer = Signer::parse(made.jwk.key_id(), algorithm, &made.private).unwrap();
            assert_eq!(signer.key_id(), made.jwk.key_id(), "{algorithm:?}");
        }
    }
}
