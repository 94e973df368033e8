//! Which key signs, and when none does.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use aws_lc_rs::{encoding::AsDer, rsa::KeySize};
use countersign_core::keyring::{KeyState, Keyring, RingKey};
use countersign_core::names::KeyId;
use countersign_core::token::{Algorithm, KeySet, PublicJwk};
use jiff::SignedDuration;

use super::world::{World, at, empty_ring, ring_key};
use crate::issuer::signer::{Signer, SignerError};
use crate::snapshot::PrivateKey;

/// A new key pair: the public half and PKCS#8.
fn generate(algorithm: Algorithm) -> (PublicJwk, Vec<u8>) {
    let (public, private) = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            let curve = if algorithm == Algorithm::ES256 {
                &ECDSA_P256_SHA256_FIXED_SIGNING
            } else {
                &ECDSA_P384_SHA384_FIXED_SIGNING
            };
            let pair = EcdsaKeyPair::generate(curve).unwrap();
            (pair.public_key().as_ref().to_vec(), pair.to_pkcs8v1().unwrap().as_ref().to_vec())
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().unwrap();
            (pair.public_key().as_ref().to_vec(), pair.to_pkcs8().unwrap().as_ref().to_vec())
        }
        Algorithm::RS256 | Algorithm::PS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            (pair.public_key().as_ref().to_vec(), pair.as_der().unwrap().as_ref().to_vec())
        }
    };
    (PublicJwk::from_public_key(algorithm, &public).unwrap(), private)
}

/// The ring with these keys, the private halves of those that come with one.
fn set_ring(world: &World, keys: Vec<(RingKey, Option<Vec<u8>>)>, revoked: Vec<KeyId>) {
    let halves = keys.iter().filter_map(|(key, half)| Some((key.key_id().clone(), PrivateKey::new(half.clone()?))));
    let halves = halves.collect();
    let ring = Keyring { keys: keys.into_iter().map(|(key, _)| key).collect(), ..empty_ring() };
    world.change(|snapshot| {
        snapshot.keys = Arc::new(KeySet::build([&ring], revoked));
        snapshot.rings = Arc::new([(ring.ring.clone(), Arc::new(ring))].into());
        snapshot.private_keys = Arc::new(halves);
    });
}

/// The key a token is verified with.
fn signed_with(world: &World, token: &str) -> KeyId {
    let timings = countersign_core::timings::Timings::default();
    let snapshot = world.live.load_full();
    let issuer = super::world::ISSUER;
    countersign_core::token::verify(token, &snapshot.keys, issuer, world.clock.now(), &timings).unwrap().key_id
}

#[tokio::test]
async fn every_algorithm_signs_what_verifies() {
    let world = World::new();
    for algorithm in Algorithm::ALL {
        let (jwk, half) = generate(algorithm);
        let key_id = jwk.key_id().clone();
        set_ring(&world, vec![(ring_key(1, jwk, KeyState::Active), Some(half))], Vec::new());
        let token = world.access_token().await;
        assert_eq!(signed_with(&world, &token), key_id);
    }
}

#[tokio::test]
async fn only_an_active_key_with_its_private_half_signs() {
    let world = World::new();
    let ((one, half_one), (two, half_two)) = (generate(Algorithm::ES256), generate(Algorithm::ES256));
    let unavailable = (503, "temporarily_unavailable");

    set_ring(&world, vec![(ring_key(1, one.clone(), KeyState::Published), Some(half_one.clone()))], Vec::new());
    assert_eq!(world.token(&[]).await.error(), unavailable, "published only");
    assert_eq!(world.readiness.missing(), ["signing-key"]);

    set_ring(&world, vec![(ring_key(1, one.clone(), KeyState::Active), None)], Vec::new());
    assert_eq!(world.token(&[]).await.error(), unavailable, "no private half");

    set_ring(&world, vec![(ring_key(1, one.clone(), KeyState::Active), Some(half_two.clone()))], Vec::new());
    assert_eq!(world.token(&[]).await.error(), unavailable, "another key's private half");

    let both = vec![
        (ring_key(1, one.clone(), KeyState::Retiring), Some(half_one.clone())),
        (ring_key(2, two.clone(), KeyState::Active), Some(half_two)),
    ];
    set_ring(&world, both, Vec::new());
    assert_eq!(signed_with(&world, &world.access_token().await), *two.key_id());
    assert!(world.readiness.is_ready());

    let revoked = vec![one.key_id().clone()];
    set_ring(&world, vec![(ring_key(1, one, KeyState::Active), Some(half_one))], revoked);
    assert_eq!(world.token(&[]).await.error(), unavailable, "declared dead in the spec");
}

#[tokio::test]
async fn a_ring_that_does_not_exist_signs_nothing() {
    let world = World::new();
    world.change_spec("shop.checkout", |spec| spec.tokens.signing_key = "other".parse().unwrap());
    assert_eq!(world.token(&[]).await.error(), (503, "temporarily_unavailable"));
}

#[tokio::test]
async fn an_issuer_cut_off_for_too_long_stops_signing() {
    let world = World::new();
    world.clock.advance(Duration::from_hours(12));
    assert_eq!(world.token(&[]).await.status.as_u16(), 200);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.token(&[]).await.error(), (503, "temporarily_unavailable"));
    world.keeper.keep();
    assert_eq!(world.readiness.missing(), ["api-server-contact"]);
    world.contact.touch(world.clock.now());
    assert_eq!(world.token(&[]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn an_issuer_whose_clock_is_off_is_not_ready() {
    let world = World::new();
    for (off, ready) in [(29, true), (-31, false), (31, false), (0, true)] {
        world.clock.set_correction(SignedDuration::from_secs(off));
        world.contact.touch(world.clock.now());
        world.keeper.keep();
        assert_eq!(world.readiness.is_ready(), ready, "{off}");
    }
    assert_eq!(world.clock.now(), at(0));
}

#[test]
fn a_private_half_of_another_form_or_key_is_refused() {
    let ((one, half), (two, _)) = (generate(Algorithm::ES256), generate(Algorithm::ES256));
    assert!(Signer::parse(one.key_id(), Algorithm::ES256, &half).is_ok());
    let mismatch = Signer::parse(two.key_id(), Algorithm::ES256, &half);
    assert!(matches!(mismatch, Err(SignerError::Mismatch { .. })));
    for algorithm in [Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256] {
        assert!(matches!(Signer::parse(one.key_id(), algorithm, &half), Err(SignerError::Parse { .. })));
    }
    assert!(!format!("{:?}", Signer::parse(one.key_id(), Algorithm::ES256, &half)).contains("pair"));
}
